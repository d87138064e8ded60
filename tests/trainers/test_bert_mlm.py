import logging
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
import transformers
import yaml
from torch import nn

from trainers.data.hub import quiet_hub
from trainers.errors import SettingsError
from trainers.loop import Measured, Probed, train
from trainers.workloads import load_workload
from trainers.workloads.bert_encoders import CUT_STD

from .helpers import BareEngine, run_settings

REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "quick" / "study.yaml"
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


def test_a_normal_distribution_cut_at_two_stds_is_narrower_by_the_known_constant():
    assert pytest.approx(scipy.stats.truncnorm(-2, 2).std(), rel=1e-12) == CUT_STD
    assert pytest.approx(1.1368, abs=1e-4) == 1 / CUT_STD


@pytest.mark.parametrize("model", ["roformer", "bert"])
@pytest.mark.parametrize("std", [0.02, 0.125])
def test_truncated_weights_have_the_std_asked_for_and_end_at_two_stds_of_the_whole_distribution(model, std):
    settings = {"model": model, "initial_std": std, "initial_distribution": "truncated_normal"}
    built = load_workload("bert-mlm", settings).build_model(seed=0)
    drawn = torch.cat([p.detach().flatten() for n, p in built.named_parameters() if p.ndim == 2 and p.requires_grad])
    weights = drawn.double().numpy()
    # The relative error of a std from n draws is below 1/sqrt(2n), the normal distribution's; three of them.
    assert weights.std() == pytest.approx(std, rel=3 / math.sqrt(2 * len(weights)))
    assert np.abs(weights).max() <= 2 * 1.1369 * std
    law = scipy.stats.truncnorm(-2, 2, scale=1.1368 * std)
    assert scipy.stats.kstest(weights, law.cdf).pvalue > 1e-3
    assert scipy.stats.kstest(weights, scipy.stats.norm(scale=std).cdf).pvalue < 1e-9


def test_truncation_changes_neither_biases_nor_norms_nor_rotary_positions():
    normal, truncated = (
        load_workload("bert-mlm", {**SMALL, "initial_distribution": name}).build_model(seed=0)
        for name in ("normal", "truncated_normal")
    )
    for (name, one), other in zip(normal.named_parameters(), truncated.parameters(), strict=True):
        assert torch.equal(one, other) == (one.ndim == 1 or not one.requires_grad), name


def as_published_pre_norm(model):
    """Transformers' own pre-norm BERT with the weights of ours."""
    own = model.config
    published = transformers.RobertaPreLayerNormModel(
        transformers.RobertaPreLayerNormConfig(
            vocab_size=own.vocab_size,
            hidden_size=own.hidden_size,
            num_hidden_layers=own.num_hidden_layers,
            num_attention_heads=own.num_attention_heads,
            intermediate_size=own.intermediate_size,
            max_position_embeddings=own.max_position_embeddings,
            type_vocab_size=own.type_vocab_size,
        ),
        add_pooling_layer=False,
    )
    last = own.num_hidden_layers - 1
    names = {
        ".attention.self.norm.": ".attention.LayerNorm.",
        ".attention.self.inner.": ".attention.self.",
        ".intermediate.norm.": ".intermediate.LayerNorm.",
        ".intermediate.inner.": ".intermediate.",
        f"encoder.layer.{last}.output.LayerNorm.": "LayerNorm.",
    }
    weights = {}
    for name, value in model.base_model.state_dict().items():
        for ours, theirs in names.items():
            name = name.replace(ours, theirs)
        weights[name] = value
    published.load_state_dict(weights)
    return published.eval()


def test_the_pre_norm_model_is_the_published_one():
    workload = load_workload("bert-mlm", {**SMALL, "model": "bert", "layers": 3, "norm_placement": "pre"})
    model = workload.build_model(seed=0).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # norms that differ from each other, so that none stands for another
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel()))
        tokens = next(workload.train_batches(batch_size=5, seed=0))["tokens"]
        positions = torch.arange(tokens.shape[1]).expand_as(tokens)
        expected = as_published_pre_norm(model)(input_ids=tokens, position_ids=positions).last_hidden_state
        found = model.base_model(input_ids=tokens).last_hidden_state
    assert torch.allclose(found, expected, atol=1e-5)
    post = load_workload("bert-mlm", {**SMALL, "model": "bert", "layers": 3}).build_model(seed=0)
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in post.parameters()) + 2 * 16


def last_layers_gradient(layers, **settings):
    """The norm of a batch's gradient at initialisation in the last layer's last matrix, a quadratic mean over seeds."""
    sizes = {"hidden_size": 32, "sequence_length": 16, "initial_std": 32**-0.5, "layers": layers}
    workload = load_workload("bert-mlm", {**sizes, **settings})
    batch = next(workload.train_batches(batch_size=32, seed=0))
    squares = []
    for seed in range(6):
        model = workload.build_model(seed=seed)
        workload.loss(model, batch).backward()
        squares.append(float(model.base_model.encoder.layer[-1].output.dense.weight.grad.square().sum()))
    return math.sqrt(sum(squares) / len(squares))


@pytest.mark.parametrize("model", ["roformer", "bert"])
@pytest.mark.parametrize(("placement", "expected"), [("pre", math.sqrt(2 / 12)), ("post", 1.0)])
def test_depth_shrinks_the_last_layers_gradient_at_the_start_with_pre_norm_alone(model, placement, expected):
    """Xiong et al. 2020, theorem 1: it falls like 1/√layers with pre-norm and stays with post-norm.

    One seed's norm scatters by 40 %, so six of them leave a ratio 25 %; the two answers differ by 150 %.
    """
    shallow, deep = (last_layers_gradient(layers, model=model, norm_placement=placement) for layers in (2, 12))
    assert deep / shallow == pytest.approx(expected, rel=0.4)


def test_a_probe_at_the_start_gives_the_gradient_norm_of_each_layer():
    """The rows per tensor are the squares of plain autograd's norms, on the batches that the probe draws."""
    workload = load_workload("bert-mlm", {**SMALL, "layers": 2, "norm_placement": "pre"})
    drawn, batches = [], workload.train_batches

    def recorded(*, batch_size, seed):
        for batch in batches(batch_size=batch_size, seed=seed):
            drawn.append(batch)
            yield batch

    workload.train_batches = recorded
    probes = {"steps": [0, 3], "quantities": ["two_batch"], "draws": 1, "small_batch_size": 4, "large_batch_size": 8}
    settings = run_settings(batch_size=16, budget={"steps": 3}, probes={**probes, "per_layer": True})
    probed = [event for event in train(workload, settings) if isinstance(event, Probed)]
    assert [event.step for event in probed] == [0, 3]
    names = {name for name, p in workload.build_model(seed=0).named_parameters() if p.requires_grad}
    for event in probed:
        rows = {r.scope: r.total for r in event.rows if r.name == "gradient_square" and r.batch_size == 8}
        assert rows.keys() == names | {"all"}
        assert sum(rows[name] for name in names) == pytest.approx(rows["all"])
        assert all(rows[name] > 0 for name in names if "weight" in name)
    model = workload.build_model(seed=0)  # as the run's was at step 0
    workload.loss(model, next(batch for batch in drawn if len(batch["tokens"]) == 8)).backward()
    at_start = {r.scope: r.total for r in probed[0].rows if r.name == "gradient_square" and r.batch_size == 8}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert at_start[name] == pytest.approx(float(parameter.grad.square().sum()), rel=1e-4, abs=1e-12), name


FEW_STEPS = {"hidden_size": 32, "layers": 1, "sequence_length": 16}


def course(workload, **settings):
    *events, last = train(workload, run_settings(optimizer="adamw", **settings), build_engine=BareEngine)
    return [event.values for event in events if isinstance(event, Measured)], last


def test_it_learns_more_than_how_frequent_tokens_are():
    """Of 1,024 hidden tokens, whose losses scatter by 1.5, a mean has a standard error of 0.05."""
    workload = load_workload("bert-mlm", FEW_STEPS)
    measured, last = course(
        workload, learning_rate=5e-3, batch_size=64, budget={"steps": 150}, evaluation={"points": 1}
    )
    assert last.value < workload.baselines()["token frequencies"] - 0.3
    assert measured[-1]["masked_accuracy"] > share_of_the_commonest(workload) + 0.06
    assert measured[0]["validation_loss"] > workload.baselines()["uniform guess"]


def test_at_too_high_a_rate_the_same_token_is_said_everywhere_or_the_run_diverges():
    """A plateau that no status tells of: the loss is finite, and no better than the tokens' frequencies."""
    workload = load_workload("bert-mlm", FEW_STEPS)
    changes = {"batch_size": 16, "budget": {"steps": 40}, "evaluation": {"points": 1}}
    measured, last = course(workload, learning_rate=0.1, **changes)
    assert last.status == "exhausted"
    assert last.value < measured[0]["validation_loss"] - 0.3, "it did train"
    assert last.value > workload.baselines()["token frequencies"]
    assert measured[-1]["masked_accuracy"] == pytest.approx(share_of_the_commonest(workload))
    _, last = course(workload, learning_rate=10.0, **changes)
    assert last.status == "diverged"


def share_of_the_commonest(workload):
    """Of the hidden tokens of validation: the accuracy of always saying the one that training text has most."""
    commonest = workload.windows.train.flatten().bincount().argmax()
    return float((workload._validation["answers"] == commonest).float().mean())


def test_the_head_may_be_the_embeddings_product_alone():
    with_transform, without = (load_workload("bert-mlm", {**SMALL, "head_transform": value}) for value in (True, False))
    full, bare = with_transform.build_model(seed=0), without.build_model(seed=0)
    gone = {name for name, _ in full.named_parameters()} - {name for name, _ in bare.named_parameters()}
    assert gone == {
        f"cls.predictions.transform.{part}.{kind}" for part in ("dense", "LayerNorm") for kind in ("weight", "bias")
    }
    batch = next(without.train_batches(batch_size=3, seed=0))
    with torch.no_grad():
        for parameter in bare.parameters():
            parameter += 0.1
        loss = without.loss(bare, batch).item()
        states = bare.base_model(input_ids=batch["tokens"]).last_hidden_state.double()
        logits = states @ bare.get_input_embeddings().weight.double().T + bare.cls.predictions.bias.double()
    chosen = torch.stack([logits[i, batch["places"][i]] for i in range(3)])
    log_sums = torch.logsumexp(chosen, dim=-1)
    answers = chosen.gather(-1, batch["answers"][..., None])[..., 0]
    assert loss == pytest.approx((log_sums - answers).mean().item(), rel=1e-5)


NEW_AND_AS_BEFORE = {"initial_distribution": "normal", "norm_placement": "post", "head_transform": True}


def test_settings_that_came_later_are_not_written_where_they_are_as_before():
    """The ids of stored trials are hashes of what is written."""
    written = load_workload("bert-mlm", {}).settings.model_dump(mode="json")
    assert not written.keys() & NEW_AND_AS_BEFORE.keys()
    assert load_workload("bert-mlm", NEW_AND_AS_BEFORE).settings.model_dump(mode="json") == written
    stored = yaml.safe_load(REFERENCE.read_text(encoding="utf-8"))["sweeps"][0]
    assert stored["workload"] == "bert-mlm"
    assert load_workload("bert-mlm", stored["workload_settings"]).settings.model_dump() == stored["workload_settings"]
    changed = {"initial_distribution": "truncated_normal", "norm_placement": "pre", "head_transform": False}
    settings = load_workload("bert-mlm", changed).settings
    assert settings.model_dump(mode="json") == {**written, **changed}
    assert load_workload("bert-mlm", settings.model_dump(mode="json")).settings == settings


def test_sizes_are_settings():
    small, large = (
        load_workload("bert-mlm", {**SMALL, "layers": layers, "hidden_size": hidden}).build_model(seed=0)
        for layers, hidden in ((1, 16), (3, 32))
    )
    assert small.config.num_hidden_layers == 1
    assert large.config.num_hidden_layers == 3
    assert sum(p.numel() for p in large.parameters()) > 5 * sum(p.numel() for p in small.parameters())


HUB = {"sequence_length": 20, "validation_examples": 64}
SIZES = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}


@pytest.fixture(params=["BertConfig", "RobertaConfig", "ElectraConfig", "ModernBertConfig", "RoFormerConfig"])
def published(request, tmp_path):
    """A folder in the hub's format stands for the hub: the same call loads either."""
    getattr(transformers, request.param)(**SIZES).save_pretrained(tmp_path)
    return str(tmp_path)


def test_a_published_architecture_is_loaded_by_name_with_fresh_weights(published):
    workload = load_workload("bert-mlm", {**HUB, "model": published})
    workload.prepare()
    model = workload.build_model(seed=0)
    assert model.config.hidden_size == 24
    assert model.config.vocab_size == workload.windows.vocabulary_size
    batch = next(workload.train_batches(batch_size=3, seed=0))
    loss = workload.loss(model, batch)
    # The slow way: transformers' own loss, whose places count from 0 as ours do.
    labels = torch.full_like(batch["tokens"], -100).scatter(1, batch["places"], batch["answers"])
    positions = torch.arange(20).expand(3, 20)
    slow = model(input_ids=batch["tokens"], labels=labels, position_ids=positions).loss
    assert loss.item() == pytest.approx(slow.item(), rel=1e-5)


def test_no_token_of_ours_is_taken_for_the_published_models_padding(published):
    """An embedding's padding entry is zero and stays so; here every id stands for text or hides it."""
    model = load_workload("bert-mlm", {**HUB, "model": published}).build_model(seed=0)
    embedding = model.get_input_embeddings()
    assert embedding.padding_idx is None
    assert (embedding.weight.abs().sum(dim=1) > 0).all()


def test_dropout_is_a_setting_of_every_architecture(published):
    batch = next(load_workload("bert-mlm", HUB).train_batches(batch_size=2, seed=0))
    for model_name in ("roformer", "bert", published):
        for dropout in (0.0, 0.5):
            workload = load_workload("bert-mlm", {**HUB, "model": model_name, "dropout": dropout})
            model = workload.build_model(seed=0)
            fractions = {m.p for m in model.modules() if isinstance(m, nn.Dropout)}
            assert fractions <= {dropout}
            with torch.no_grad():
                training = [workload.loss(model.train(), batch).item() for _ in range(2)]
                evaluating = [workload.loss(model.eval(), batch).item() for _ in range(2)]
            assert (training[0] == training[1]) == (dropout == 0.0)
            assert evaluating[0] == evaluating[1]


def test_the_std_of_a_published_architecture_is_its_own_unless_given(tmp_path):
    transformers.BertConfig(**{**SIZES, "hidden_size": 64}, initializer_range=0.5).save_pretrained(tmp_path)
    for given, expected in (({}, 0.5), ({"initial_std": 0.125}, 0.125)):
        workload = load_workload("bert-mlm", {**HUB, "model": str(tmp_path), **given})
        assert workload.settings.initial_std == given.get("initial_std")
        weights = [p for name, p in workload.build_model(seed=0).named_parameters() if name.endswith("query.weight")]
        assert weights[0].std().item() == pytest.approx(expected, rel=0.05)


def test_settings_written_out_read_back_as_they_were(tmp_path):
    transformers.BertConfig(**SIZES).save_pretrained(tmp_path)
    for given in ({}, {"model": "bert", "heads": 4}, {"model": str(tmp_path)}):
        settings = load_workload("bert-mlm", given).settings
        assert load_workload("bert-mlm", settings.model_dump(mode="json")).settings == settings
    assert load_workload("bert-mlm", {}).settings.model_dump()["hidden_size"] == 64


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"heads": 3}, "hidden_size must be a multiple of 6 with 3 heads of the model roformer, but is 64"),
        ({"heads": 2, "hidden_size": 6}, "nearest: 4 or 8"),
        ({"model": "bert", "heads": 3}, "multiple of 3 with 3 heads of the model bert, but is 64; nearest: 63 or 66"),
        ({"layers": None}, "the model roformer needs hidden_size, layers and heads"),
        ({"model": "some/model", "layers": 2}, "layers must be left out where the model some/model brings its own"),
        (
            {"model": "some/model", "norm_placement": "pre"},
            "norm_placement is a choice for the models roformer and bert",
        ),
        ({"model": "some/model", "initial_distribution": "truncated_normal"}, "initial_distribution is a choice for"),
        ({"model": "some/model", "head_transform": False}, "but the model is some/model; leave it out"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_by_the_settings(settings, message):
    with pytest.raises(SettingsError, match=message):
        load_workload("bert-mlm", settings)


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        (transformers.BertConfig(**SIZES, max_position_embeddings=19), "sequence_length must be at most 19"),
        (transformers.ResNetConfig(), "must be a masked language model, but .* is a resnet"),
        (None, "must be roformer, bert or a model on the hub, but got"),
    ],
)
def test_a_published_model_that_cannot_serve_is_told_when_data_are_read(configuration, message, tmp_path, caplog):
    if configuration is not None:
        configuration.save_pretrained(tmp_path)
    workload = load_workload("bert-mlm", {**HUB, "model": str(tmp_path)})
    with pytest.raises(SettingsError, match=message) as error:
        workload.prepare()
    assert "\n" not in str(error.value)


def test_the_hubs_client_does_not_tell_of_its_retries(caplog):
    quiet_hub()
    logging.getLogger("huggingface_hub.utils._http").warning("Retrying in 1s [Retry 1/5].")
    assert not logging.getLogger("huggingface_hub.utils._http").isEnabledFor(logging.WARNING)
