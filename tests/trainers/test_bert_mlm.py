import math

import numpy as np
import pytest
import torch

from trainers.workloads import load_workload

SMALL = {"hidden_size": 16, "layers": 1, "sequence_length": 20, "validation_examples": 64}


@pytest.fixture
def workload():
    return load_workload("bert-mlm", SMALL)


def test_each_window_hides_the_same_number_of_tokens_by_berts_rule(workload):
    batch = next(workload.train_batches(batch_size=4000, seed=0))
    hidden = workload.masked_tokens
    assert hidden == 3
    assert batch["places"].shape == batch["answers"].shape == (4000, hidden)
    assert all(len(set(places)) == hidden for places in batch["places"].tolist()), "no place is hidden twice"
    shown = batch["tokens"].gather(1, batch["places"])
    masked = (shown == workload.windows.mask_id).float().mean()
    kept = (shown == batch["answers"]).float().mean()
    # 80 % mask, 10 % kept and of the 10 % random ones about 1/31 by chance; 12,000 draws, three standard errors.
    assert float(masked) == pytest.approx(0.80, abs=3 * math.sqrt(0.8 * 0.2 / 12_000))
    assert float(kept) == pytest.approx(0.10 + 0.1 / 31, abs=3 * math.sqrt(0.1 * 0.9 / 12_000))
    assert not (batch["answers"] == workload.windows.mask_id).any()


def test_the_loss_is_the_cross_entropy_of_the_whole_models_logits_at_the_hidden_places(workload):
    model = workload.build_model(seed=0)
    batch = next(workload.train_batches(batch_size=5, seed=0))
    with torch.no_grad():
        loss = float(workload.loss(model, batch))
    # The slow way: transformers' own forward over all places, its own loss over labels of -100 elsewhere.
    labels = torch.full_like(batch["tokens"], -100).scatter(1, batch["places"], batch["answers"])
    assert loss == pytest.approx(model(input_ids=batch["tokens"], labels=labels).loss.item(), rel=1e-5)
    logits = model(input_ids=batch["tokens"]).logits.detach().double().numpy()
    total = 0.0
    for example, (places, answers) in enumerate(zip(batch["places"].tolist(), batch["answers"].tolist(), strict=True)):
        for place, answer in zip(places, answers, strict=True):
            row = logits[example, place]
            total += np.log(np.exp(row - row.max()).sum()) + row.max() - row[answer]
    assert loss == pytest.approx(total / batch["answers"].numel(), rel=1e-5)


def test_training_and_validation_windows_do_not_overlap(workload):
    train = {tuple(row) for row in workload.windows.train.tolist()}
    validation = [tuple(row) for row in workload.windows.validation.tolist()]
    # Windows of 20 characters repeat now and then by common phrases; a leaked review would repeat all of its own.
    assert sum(row in train for row in validation) / len(validation) < 5e-3


def test_the_trivial_baselines_are_the_entropies(workload):
    baselines = workload.baselines()
    size = workload.windows.vocabulary_size
    assert baselines["uniform guess"] == pytest.approx(math.log(size))
    answers = np.bincount(workload._validation["answers"].flatten().numpy(), minlength=size)
    frequencies = answers[answers > 0] / answers.sum()
    entropy = -(frequencies * np.log(frequencies)).sum()
    # The cross-entropy with the training text's frequencies exceeds the entropy of the answers, a little.
    assert entropy < baselines["token frequencies"] < entropy + 0.2


@pytest.mark.parametrize("model", ["roformer", "bert"])
@pytest.mark.parametrize("std", [0.02, 0.125])
def test_the_initial_std_is_a_setting(model, std):
    built = load_workload("bert-mlm", {**SMALL, "model": model, "initial_std": std, "hidden_size": 64}).build_model(
        seed=0
    )
    weights = torch.cat([p.flatten() for name, p in built.named_parameters() if name.endswith("query.weight")])
    assert weights.std().item() == pytest.approx(std, rel=0.05)


def test_sizes_are_settings():
    small, large = (
        load_workload("bert-mlm", {**SMALL, "layers": layers, "hidden_size": hidden}).build_model(seed=0)
        for layers, hidden in ((1, 16), (3, 32))
    )
    assert small.config.num_hidden_layers == 1
    assert large.config.num_hidden_layers == 3
    assert sum(p.numel() for p in large.parameters()) > 5 * sum(p.numel() for p in small.parameters())


def test_a_published_size_is_loaded_by_name_with_fresh_weights(tmp_path):
    """A folder in the hub's format stands for the hub: the same call loads either."""
    from transformers import BertConfig

    BertConfig(hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48).save_pretrained(
        tmp_path
    )
    workload = load_workload("bert-mlm", {**SMALL, "model": str(tmp_path), "initial_std": None})
    model = workload.build_model(seed=0)
    assert model.config.hidden_size == 24
    assert model.config.vocab_size == workload.windows.vocabulary_size
    assert torch.isfinite(workload.loss(model, next(workload.train_batches(batch_size=2, seed=0))))
