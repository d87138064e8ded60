"""Text classification: its loss, rates by layer and averaged weights against slow ones; published weights and data."""

import dataclasses
import math
import re

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import torch
import transformers
from torch import nn

from trainers.data.labelled_texts import labelled_texts
from trainers.engine import DeepSpeedEngine
from trainers.errors import SettingsError
from trainers.loop import Finished, Measured, train
from trainers.workloads import load_workload
from trainers.workloads.layer_decay import layer_depths

from .helpers import BareEngine, run_settings

SMALL = {"hidden_size": 16, "layers": 1, "sequence_length": 16, "validation_examples": 64, "tokens": "characters"}


@pytest.fixture
def workload():
    return load_workload("bert-classify", SMALL)


def test_a_text_is_its_tokens_and_an_end(workload):
    train_rows, texts = workload.data.train, workload.data.train.texts
    assert len(texts) == len(train_rows.labels) == len(train_rows.lengths) > 10_000
    assert train_rows.lengths.min() >= 1
    assert train_rows.tokens.shape[1] == train_rows.lengths.max() == 16
    for row in range(20):
        own = train_rows.tokens[row, : train_rows.lengths[row]].tolist()
        assert own[-1] == 1, "the separator ends it"
        shown = "".join(" abcdefghijklmnopqrstuvwxyz .,'-"[i - 1] for i in own[:-1])
        assert texts[row].lower().startswith(shown) or not texts[row].isascii() or any(map(str.isdigit, texts[row]))
        assert (train_rows.tokens[row, train_rows.lengths[row] :] == 1).all()


def test_the_rows_are_shuffled_so_that_the_first_stand_for_all(workload):
    labels = workload.data.validation.labels.numpy()
    share, first = labels.mean(), labels[:400].mean()
    assert first == pytest.approx(share, abs=3 * math.sqrt(share * (1 - share) / 400))
    assert abs(np.corrcoef(labels[1:], labels[:-1])[0, 1]) < 3 / math.sqrt(len(labels))


@pytest.mark.parametrize("model", ["roformer", "bert"])
def test_the_loss_is_that_of_each_text_alone_computed_by_numpy(model):
    workload = load_workload("bert-classify", {**SMALL, "model": model, "sequence_length": 200, "layers": 2})
    built = workload.build_model(seed=0)
    batch = next(workload.train_batches(batch_size=6, seed=0))
    assert len(set(batch["lengths"].tolist())) > 1, "padding must be there to be ignored"
    total = 0.0
    with torch.no_grad():
        loss = workload.loss(built, batch).item()
        weight, bias = (p.double().numpy() for p in (built.classifier.weight, built.classifier.bias))
        for tokens, length, label in zip(
            *(batch[key].tolist() for key in ("tokens", "lengths", "labels")), strict=True
        ):
            states = built.body(input_ids=torch.tensor([tokens[:length]])).last_hidden_state[0].double().numpy()
            logits = weight @ states.mean(axis=0) + bias
            total += np.log(np.exp(logits).sum()) - logits[label]
    assert loss == pytest.approx(total / 6, rel=1e-5)


def test_every_weight_takes_part(workload):
    model = workload.build_model(seed=0)
    workload.loss(model, next(workload.train_batches(batch_size=8, seed=0))).backward()
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_the_baselines_are_the_commonest_class_and_a_linear_model_of_words(workload):
    baselines = load_workload("bert-classify", {**SMALL, "validation_examples": 5000}).baselines()
    labels = workload.data.validation.labels
    assert baselines["majority"] == pytest.approx(max((labels == k).float().mean().item() for k in (0, 1)))
    # 7,403 of the file's 12,808 verdicts are fresh; three binomial standard deviations for another split.
    assert baselines["majority"] == pytest.approx(7403 / 12808, abs=3 * math.sqrt(0.25 / len(labels)))
    assert baselines["TF-IDF and logistic regression"] > baselines["majority"] + 0.08


def weighted_words(texts, rarity):
    """TF-IDF by loops: counts of words of two letters or more, times rarity, in rows of length one."""
    rows = np.zeros((len(texts), len(rarity)))
    for row, text in zip(rows, texts, strict=True):
        for place, (word, weight) in enumerate(rarity.items()):
            row[place] = weight * words_of(text).count(word)
        row /= max(np.linalg.norm(row), 1e-12)
    return rows


def words_of(text):
    return re.findall(r"\b\w\w+\b", text.lower())


def test_the_linear_baseline_is_the_minimum_of_its_penalised_likelihood(monkeypatch):
    monkeypatch.setattr("trainers.data.labelled_tokens.labelled_texts", few_texts)
    workload = load_workload("bert-classify", {**SMALL, "sequence_length": 14})
    train_rows, judged = workload.data.train, workload.data.validation
    every = sorted({word for text in train_rows.texts for word in words_of(text)})
    times = {word: sum(word in words_of(text) for text in train_rows.texts) for word in every}
    rarity = {word: math.log((1 + len(train_rows.texts)) / (1 + count)) + 1 for word, count in times.items()}
    known, asked = (weighted_words(rows.texts, rarity) for rows in (train_rows, judged))
    signs = 2.0 * train_rows.labels.numpy() - 1.0

    def objective(weights):
        margins = signs * (known @ weights[1:] + weights[0])
        slopes = -signs * scipy.special.expit(-margins)
        gradient = np.concatenate([[slopes.sum()], known.T @ slopes + weights[1:]])
        return 0.5 * weights[1:] @ weights[1:] + np.logaddexp(0.0, -margins).sum(), gradient

    weights = scipy.optimize.minimize(objective, np.zeros(len(rarity) + 1), jac=True, tol=1e-10).x
    said = asked @ weights[1:] + weights[0]
    assert np.abs(said).min() > 1e-4, "no text lies on the boundary"
    found = workload.baselines()["TF-IDF and logistic regression"]
    assert found == pytest.approx(np.mean((said > 0) == judged.labels.numpy()))


def run(workload, build_engine=BareEngine, **settings):
    events = train(workload, run_settings(**settings), build_engine=build_engine)
    *measured, last = [event for event in events if not_progress(event)]
    return [e.values for e in measured], last


def not_progress(event):
    return isinstance(event, Measured | Finished)


LEARNS = {"optimizer": "adamw", "batch_size": 32, "budget": {"steps": 150}, "evaluation": {"points": 1}}


def test_it_learns_from_scratch():
    workload = load_workload("bert-classify", {"hidden_size": 32, "layers": 1})
    measured, last = run(workload, learning_rate=5e-3, **LEARNS)
    assert last.status == "exhausted"
    assert measured[-1]["accuracy"] > workload.baselines()["majority"] + 0.08
    assert measured[-1]["largest_predicted_share"] < 0.8


def test_too_high_a_rate_ends_in_one_class_for_all_and_that_is_seen():
    """The usual failure of fine-tuning (Mosbach et al. 2021): the run ends well and the text is ignored."""
    workload = load_workload("bert-classify", {**SMALL, "validation_examples": 5000})
    measured, last = run(workload, learning_rate=0.1, **{**LEARNS, "budget": {"steps": 40}})
    assert last.status == "exhausted"
    assert measured[-1]["largest_predicted_share"] == 1.0
    share = float((workload.data.validation.labels == 1).float().mean())
    assert measured[-1]["accuracy"] in (pytest.approx(share), pytest.approx(1 - share))


# ---- rates by layer


@pytest.mark.parametrize(
    ("configuration", "first", "last", "after"),
    [
        ("BertConfig", "encoder.layer.0.output.dense.weight", "encoder.layer.2.attention.self.query.bias", None),
        ("RoFormerConfig", "encoder.layer.0.output.dense.weight", "encoder.layer.2.attention.self.query.bias", None),
        ("DistilBertConfig", "transformer.layer.0.ffn.lin1.weight", "transformer.layer.2.attention.q_lin.bias", None),
        ("ModernBertConfig", "layers.0.attn.Wqkv.weight", "layers.2.mlp.Wi.weight", "final_norm.weight"),
    ],
)
def test_depth_counts_layers_from_the_top_in_any_architecture(configuration, first, last, after):
    sizes = {"n_layers": 3} if configuration == "DistilBertConfig" else {"num_hidden_layers": 3}
    with torch.device("meta"):
        body = transformers.AutoModel.from_config(getattr(transformers, configuration)(**sizes))
    names = [f"body.{name}" for name, _ in body.named_parameters()] + ["classifier.weight", "classifier.bias"]
    depths = layer_depths(names, head="classifier.")
    assert depths["classifier.weight"] == depths["classifier.bias"] == 0
    assert (depths[f"body.{last}"], depths[f"body.{first}"]) == (1, 3)
    assert {depths[name] for name in names if "embeddings" in name} == {4}
    assert after is None or depths[f"body.{after}"] == 0
    assert set(depths.values()) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("placement", ["post", "pre"])
def test_a_step_of_sgd_moves_each_layer_by_its_own_rate(placement):
    workload = load_workload("bert-classify", {**SMALL, "layers": 2, "norm_placement": placement, "layer_decay": 0.5})
    engine = BareEngine(workload, run_settings(learning_rate=0.3, batch_size=8))
    batch = next(workload.train_batches(batch_size=8, seed=0))
    before = {name: p.detach().clone() for name, p in engine.model.named_parameters()}
    workload.loss(engine.model, batch).backward()
    gradients = {name: p.grad.clone() for name, p in engine.model.named_parameters() if p.requires_grad}
    engine.model.zero_grad()
    engine.step(batch, rate_factor=1.0)
    for name, gradient in gradients.items():
        depth = 0 if name.startswith("classifier") else 3 if "embeddings" in name else 2 - int(name.split(".")[3])
        if placement == "pre" and name.startswith("body.encoder.layer.1.output.LayerNorm"):
            depth = 0  # the norm that ends the stack
        moved = before[name] - engine.model.get_parameter(name).detach()
        assert torch.allclose(moved, 0.3 * 0.5**depth * gradient, atol=1e-6), name


def test_without_decay_all_rates_are_the_studys(workload):
    assert workload.peak_rate("anything", 0.7) == 0.7


# ---- averaged weights


@dataclasses.dataclass
class Recorded:
    """Keeps the weights after each step."""

    workload: object
    weights: list

    def __getattr__(self, name):
        return getattr(self.workload, name)

    def after_step(self, model, *, step):
        self.workload.after_step(model, step=step)
        self.weights.append({name: p.detach().double().numpy().copy() for name, p in model.named_parameters()})


@pytest.mark.parametrize("engine", [BareEngine, DeepSpeedEngine])
def test_the_average_is_the_one_over_all_steps_and_is_what_is_judged(engine):
    decay = 0.6
    workload = load_workload("bert-classify", {**SMALL, "average_decay": decay})
    start = {name: p.detach().double().numpy() for name, p in workload.build_model(seed=0).named_parameters()}
    recorded = Recorded(workload, [])
    built = []
    measured, _ = run(
        recorded,
        build_engine=lambda w, s: built.append(engine(w, s)) or built[-1],
        learning_rate=0.5,
        budget={"steps": 12},
        evaluation={"points": 1},
    )
    model = built[0].model
    assert len(recorded.weights) == 12
    slow = start
    for step, weights in enumerate(recorded.weights, start=1):
        kept = min(decay, (1 + step) / (10 + step))
        slow = {name: kept * slow[name] + (1 - kept) * weights[name] for name in slow}
    own = {name: p.detach().clone() for name, p in model.named_parameters()}
    plain = load_workload("bert-classify", SMALL)
    judged = plain.build_model(seed=0).eval()
    with torch.no_grad():
        for name, parameter in judged.named_parameters():
            parameter.copy_(torch.from_numpy(slow[name]))
        expected = plain.evaluate(judged)
        now = plain.evaluate(model.eval())
        found = workload.evaluate(model)
    assert found == pytest.approx(expected, rel=1e-4)
    assert found["validation_loss"] == measured[-1]["validation_loss"]
    assert found["validation_loss"] != pytest.approx(now["validation_loss"], rel=1e-3)
    assert all(torch.equal(p, own[name]) for name, p in model.named_parameters()), "judging changes no weight"


def test_the_average_belongs_to_the_models_buffers_and_changes_no_training():
    with_average, without = (load_workload("bert-classify", {**SMALL, "average_decay": decay}) for decay in (0.9, 0.0))
    one, other = with_average.build_model(seed=0), without.build_model(seed=0)
    assert sum(b.numel() for b in one.average.buffers()) == sum(
        p.numel() for p in other.parameters() if p.requires_grad
    )
    assert other.average is None
    settings = {"learning_rate": 0.3, "budget": {"steps": 8}, "evaluation": {"points": 4}}
    losses = [[m.get("train_loss") for m in run(w, **settings)[0]] for w in (with_average, without)]
    assert losses[0] == losses[1]


# ---- published models


SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "the", "a", "film", "good", "bad", "##s")


def few_texts(dataset, split, **columns):
    whole = labelled_texts(dataset, split, **columns)
    return dataclasses.replace(whole, texts=whole.texts[:40], labels=whole.labels[:40])


@pytest.fixture(params=["BertConfig", "RobertaConfig", "ElectraConfig", "ModernBertConfig", "DistilBertConfig"])
def published(request, tmp_path, monkeypatch):
    """A folder in the hub's format stands for the hub: weights, configuration and tokeniser. A few texts are enough."""
    monkeypatch.setattr("trainers.data.labelled_tokens.labelled_texts", few_texts)
    sizes = {"dim": 24, "n_layers": 2, "n_heads": 2, "hidden_dim": 48} if request.param == "DistilBertConfig" else SIZES
    special = {"pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}
    configuration = getattr(transformers, request.param)(vocab_size=len(PIECES), **sizes, **special)
    torch.manual_seed(0)
    transformers.AutoModelForMaskedLM.from_config(configuration).save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES))
    transformers.BertTokenizerFast(vocab=str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    return str(tmp_path)


HUB = {"sequence_length": 20, "validation_examples": 64}


def test_a_published_model_starts_from_its_weights_with_its_own_tokens(published, capfd):
    workload = load_workload("bert-classify", {**HUB, "model": published})
    assert workload.settings.tokens == published
    workload.prepare()
    model, other = workload.build_model(seed=0), workload.build_model(seed=1)
    expected = transformers.AutoModel.from_pretrained(published)
    weights = dict(expected.named_parameters())
    capfd.readouterr()
    workload.build_model(seed=0)
    assert capfd.readouterr() == ("", ""), "loading is silent"
    for name, parameter in model.body.named_parameters():
        assert torch.equal(parameter, weights[name]), name
    assert not torch.equal(model.classifier.weight, other.classifier.weight)
    tokens = workload.data.train.tokens
    assert (tokens[:, 0] == 2).all()
    assert (tokens.gather(1, workload.data.train.lengths[:, None] - 1) == 3).all()
    assert tokens.max() < len(PIECES)
    batch = next(workload.train_batches(batch_size=5, seed=0))
    longest = batch["lengths"].max()
    mask = (torch.arange(longest) < batch["lengths"][:, None]).long()
    with torch.no_grad():
        states = expected.eval()(input_ids=batch["tokens"][:, :longest], attention_mask=mask).last_hidden_state
        pooled = (states * mask[..., None]).sum(dim=1) / batch["lengths"][:, None]
        slow = nn.functional.cross_entropy(model.classifier(pooled), batch["labels"]).item()
        assert workload.loss(model.eval(), batch).item() == pytest.approx(slow, rel=1e-5)


def test_a_published_model_is_fine_tuned_with_rates_by_layer_an_average_and_dropout(published):
    settings = {**HUB, "model": published, "layer_decay": 0.8, "average_decay": 0.9, "dropout": 0.3}
    workload = load_workload("bert-classify", settings)
    model = workload.build_model(seed=0)
    rates = {workload.peak_rate(name, 1.0) for name, p in model.named_parameters() if p.requires_grad}
    assert sorted(rates, reverse=True) == pytest.approx([0.8**depth for depth in (0, 1, 2, 3)])
    assert {m.p for m in model.modules() if isinstance(m, nn.Dropout)} <= {0.3}
    measured, last = run(workload, learning_rate=0.05, budget={"steps": 4}, evaluation={"points": 1})
    assert last.status == "exhausted"
    assert math.isfinite(measured[-1]["validation_loss"])


@pytest.mark.parametrize(
    ("configuration", "settings", "message"),
    [
        (transformers.BertConfig(**SIZES, max_position_embeddings=19), {}, "sequence_length must be at most 19"),
        (transformers.ResNetConfig(), {}, "must be an encoder of text, but .* is a resnet"),
        (transformers.T5Config(), {}, "must be an encoder of text, but .* is a t5"),
        (transformers.BertConfig(**SIZES, vocab_size=9), {}, "must have at most the 9 ids .*, but characters has 33"),
        (None, {}, "must be roformer, bert, minilm or a model on the hub, but got"),
    ],
)
def test_a_published_model_that_cannot_serve_is_told_when_data_are_read(configuration, settings, message, tmp_path):
    if configuration is not None:
        configuration.save_pretrained(tmp_path)
    workload = load_workload("bert-classify", {**HUB, "model": str(tmp_path), "tokens": "characters", **settings})
    with pytest.raises(SettingsError, match=message) as error:
        workload.prepare()
    assert "\n" not in str(error.value)


def test_a_configuration_without_weights_is_told(tmp_path):
    transformers.BertConfig(**SIZES).save_pretrained(tmp_path)
    workload = load_workload("bert-classify", {**HUB, "model": str(tmp_path), "tokens": "characters"})
    with pytest.raises(SettingsError, match=r"the weights of .* can't be loaded") as error:
        workload.build_model(seed=0)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "minilm", "hidden_size": 8}, "hidden_size must be left out where the model minilm brings its own"),
        ({"model": "minilm", "initial_std": 0.1}, "initial_std must be left out where training starts from"),
        ({"model": "minilm", "norm_placement": "pre"}, "norm_placement is a choice for the models roformer and bert"),
        ({"layer_decay": 1.2}, "layer_decay"),
        ({"average_decay": 1.0}, "average_decay"),
        ({"tokens": None}, "tokens"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(SettingsError, match=message):
        load_workload("bert-classify", settings)


def test_settings_written_out_read_back_as_they_were():
    for given in ({}, {"model": "bert"}, {"model": "minilm"}, {"model": "owner/name", "tokens": "characters"}):
        settings = load_workload("bert-classify", given).settings
        assert load_workload("bert-classify", settings.model_dump(mode="json")).settings == settings
    assert load_workload("bert-classify", {"model": "minilm"}).settings.tokens == "minilm"
    assert load_workload("bert-classify", {}).settings.tokens == "words"
