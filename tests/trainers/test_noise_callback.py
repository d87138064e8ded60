"""The callback in transformers' own Trainer, on a tiny BERT-like model with masked tokens, against plain autograd."""

import math

import pytest
import torch

pytest.importorskip("accelerate")

from transformers import BertConfig, BertForMaskedLM, LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from trainers.errors import SettingsError
from trainers.noise_callback import NoiseCallback

LENGTH, EXAMPLES, VOCABULARY = 8, 40, 11


def bert():
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    quiet = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return BertForMaskedLM(BertConfig(vocab_size=VOCABULARY, max_position_embeddings=LENGTH, **sizes, **quiet)).double()


def llama():
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    special = {"bos_token_id": 0, "eos_token_id": 1}
    return LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, **sizes, **special)).double()


def data(*, uneven):
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(VOCABULARY, (EXAMPLES, LENGTH), generator=generator)
    labels = tokens.clone()
    for at in range(EXAMPLES):
        labels[at, (1 + at % 6 if uneven else 4) :] = -100  # 1 to 6 items an example, or 4
    return [{"input_ids": i, "labels": y} for i, y in zip(tokens, labels, strict=True)]


def train(tmp_path, model, dataset, callback, **changes):
    settings = {
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 3,
        "num_train_epochs": 2,
        "learning_rate": 0.0,
        "max_grad_norm": 0.01,
        "logging_steps": 4,
        "train_sampling_strategy": "sequential",
        "use_cpu": True,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }
    trainer = Trainer(
        model,
        TrainingArguments(output_dir=str(tmp_path), **(settings | changes)),
        train_dataset=dataset,
        eval_dataset=dataset[:4],
        callbacks=[callback],
    )
    trainer.train()
    return trainer


def slow_steps(model, dataset, *, weighted, items_of, pieces=3, steps=3):
    """|g|² and tr Σ of the first steps, each of some micro-batches of 4 examples, from plain backward passes."""
    found = []
    size = 4 * pieces
    for first in range(0, steps * size, size):
        parts, items = [], []
        for start in range(first, first + size, 4):
            batch = {key: torch.stack([row[key] for row in dataset[start : start + 4]]) for key in dataset[0]}
            loss = model(**batch).loss
            gradient = torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad])
            parts.append(torch.cat([g.flatten() for g in gradient]))
            items.append(int(items_of(batch["labels"]).ne(-100).sum()))
        weights = [n / sum(items) if weighted else 1 / pieces for n in items]
        shares = [w * part for w, part in zip(weights, parts, strict=True)]
        whole, p = sum(shares), sum(w**2 for w in weights)
        apart = sum(float(share.square().sum()) for share in shares)
        total = float(whole.square().sum())
        found.append(((total - apart) / (1 - p), (apart - p * total) / ((1 - p) / size)))
    return [sum(values) / len(values) for values in zip(*found, strict=True)]


@pytest.mark.parametrize(
    ("build", "uneven", "items_of", "scale"),
    # BERT's loss ignores the number of items, so that the Trainer trains the sum of three means.
    [(bert, False, lambda y: y, 3.0), (llama, True, lambda y: y[:, 1:], 1.0)],
)
def test_the_trainers_steps_are_measured_before_clipping(tmp_path, build, uneven, items_of, scale):
    model, dataset, callback = build(), data(uneven=uneven), NoiseCallback(every=1)
    grad_sq, grad_var = slow_steps(model, dataset, weighted=uneven, items_of=items_of)
    train(tmp_path, model, dataset, callback)
    got = callback.estimate()
    assert (got.steps, got.skipped_steps) == (6, 2)  # the last step of an epoch has one micro-batch
    assert got.grad_sq == pytest.approx(scale**2 * grad_sq, rel=1e-6)
    assert got.grad_var == pytest.approx(scale**2 * grad_var, rel=1e-6)


def test_training_is_not_changed_and_the_logs_have_the_noise_scale(tmp_path):
    dataset = data(uneven=True)
    watched, free = llama(), llama()
    changes = {"learning_rate": 0.01, "num_train_epochs": 4, "eval_strategy": "steps", "eval_steps": 3}
    trainer = train(tmp_path, watched, dataset, callback := NoiseCallback(every=1), **changes)
    train(tmp_path, free, dataset, NoiseCallback(every=1000), **changes)
    for one, other in zip(watched.parameters(), free.parameters(), strict=True):
        assert torch.equal(one, other)
        assert not one._backward_hooks
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert {"grad_sq", "grad_var"} <= set(logs[-1])
    assert math.isfinite(logs[-1]["grad_var"])
    assert ("b_simple" in logs[-1]) == (callback.estimate(half_life_steps=100.0).status == "ok")


def test_what_cannot_be_measured_is_refused_before_training(tmp_path):
    with pytest.raises(SettingsError, match="gradient_accumulation_steps=2"):
        train(tmp_path, bert(), data(uneven=False), NoiseCallback(), gradient_accumulation_steps=1)
    with pytest.raises(RuntimeError, match="after training has begun"):
        NoiseCallback().estimate()
