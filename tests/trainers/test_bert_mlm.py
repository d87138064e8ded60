import logging
import math

import numpy as np
import pytest
import torch
import transformers
from torch import nn

from trainers.data.hub import quiet_hub
from trainers.errors import SettingsError
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
