"""What every workload promises, run over the registry. A new workload is covered by adding its small settings here."""

import itertools
import math

import pytest
import torch

from trainers.batching import map_tensors
from trainers.engine import DeepSpeedEngine
from trainers.errors import DataError, SettingsError
from trainers.loop import Measured, Probed, train
from trainers.workload import Workload
from trainers.workloads import WORKLOADS, find_workload, load_workload

from .helpers import BareEngine, prepared, run_settings

SMALL = {
    "quadratic": {"dimensions": 10},
    "bert-mlm": {"hidden_size": 16, "layers": 1, "sequence_length": 16, "validation_examples": 64},
    # The std lets it begin with confident mistakes: from a uniform guess, 30 steps are too few for the loss to fall.
    "bert-classify": {
        "hidden_size": 16,
        "layers": 1,
        "sequence_length": 16,
        "validation_examples": 64,
        "initial_std": 1.0,
    },
    "simsiam": {"width": 4, "projection_size": 8, "predictor_size": 4},
    "byol": {"width": 4, "hidden_size": 8, "projection_size": 8},
    "cosent": {"width": 8, "sequence_length": 64},
    "cross-encoder": {"hidden_size": 16, "sequence_length": 24},
    "gru-am-softmax": {"width": 16, "sequence_length": 12, "classes": 30},
    "triples": {"hidden_size": 16, "layers": 1, "heads": 2, "sequence_length": 32, "validation_texts": 32},
    # The sum of two players' losses falls where one of them stands still.
    "gan": {
        "objective": "hinge",
        "latent_size": 4,
        "generator_width": 4,
        "discriminator_width": 4,
        "generator_rate": 0.0,
    },
}

RATES = {"gan": 0.005}
"""Of the short run, where the usual one is too high."""


@pytest.fixture(params=sorted(WORKLOADS))
def workload(request):
    return prepared(request.param, SMALL[request.param])


@pytest.mark.parametrize("name", sorted(WORKLOADS))
def test_what_is_listed_of_a_workload_is_so(name):
    workload = prepared(name, {})
    trained = [p.numel() for p in workload.build_model(seed=0).parameters() if p.requires_grad]
    assert workload.parameters == sum(trained)
    assert workload.data_set == getattr(workload.settings, "dataset", "drawn")
    assert workload.source


def tensors(batch):
    found = []
    map_tensors(lambda t: found.append(t) or t, batch)
    return found


def test_batches_have_exactly_the_size_asked_for(workload):
    for batch_size in (1, 3, 700):
        for batch in itertools.islice(workload.train_batches(batch_size=batch_size, seed=0), 3):
            assert {len(t) for t in tensors(batch)} == {batch_size}


def test_every_batch_size_cuts_the_same_stream(workload):
    def stream(batch_size, count):
        batches = itertools.islice(workload.train_batches(batch_size=batch_size, seed=3), count)
        return [torch.cat(part) for part in zip(*map(tensors, batches), strict=True)]

    for one, other in zip(stream(6, 200), stream(400, 3), strict=True):
        assert torch.equal(one, other)


def test_seeds_decide_the_stream_and_the_weights(workload):
    def first(seed):
        return tensors(next(workload.train_batches(batch_size=8, seed=seed)))

    assert all(torch.equal(a, b) for a, b in zip(first(0), first(0), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first(0), first(1), strict=True))
    weights = [torch.cat([p.flatten() for p in workload.build_model(seed=s).parameters()]) for s in (0, 0, 1)]
    assert torch.equal(weights[0], weights[1])
    if workload.name != "quadratic":  # its start is part of the problem
        assert not torch.equal(weights[0], weights[2])


def test_drawing_batches_leaves_torchs_global_state_alone(workload):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    workload.build_model(seed=5)
    batch = next(workload.train_batches(batch_size=4, seed=5))
    assert torch.equal(torch.rand(3), expected)
    assert torch.is_grad_enabled()
    assert workload.loss(workload.build_model(seed=0), batch).requires_grad


def test_the_loss_is_the_mean_over_examples_where_they_are_independent(workload):
    model, batch = workload.build_model(seed=0), next(workload.train_batches(batch_size=6, seed=0))
    whole = workload.loss(model, batch).item()
    if not workload.examples_are_independent:
        halves = [workload.loss(model, map_tensors(lambda t, s=s: t[s], batch)).item() for s in (slice(3), slice(3, 6))]
        assert abs(sum(halves) / 2 - whole) > 1e-6, "the declaration that examples are coupled is wrong"
        return
    singles = [workload.loss(model, map_tensors(lambda t, k=k: t[k : k + 1], batch)).item() for k in range(6)]
    assert sum(singles) / 6 == pytest.approx(whole, rel=1e-5)


def test_evaluation_reports_its_metrics_and_depends_on_the_model_alone(workload):
    model = workload.build_model(seed=0).eval()
    with torch.no_grad():
        first, second = workload.evaluate(model), workload.evaluate(model)
    assert set(first) == set(workload.metrics)
    assert workload.target.metric in workload.metrics
    assert first == second
    assert all(isinstance(v, float) and math.isfinite(v) for v in first.values())


def test_a_short_run_lowers_the_loss_and_repeats_bit_for_bit(workload):
    settings = run_settings(
        batch_size=16,
        learning_rate=RATES.get(workload.name, 0.05),
        optimizer="momentum",
        budget={"steps": 30},
        evaluation={"points": 3},
    )
    runs = [[e.values for e in train(workload, settings) if isinstance(e, Measured)] for _ in range(2)]
    assert runs[0] == runs[1]
    assert runs[0][-1]["train_loss"] < runs[0][1]["train_loss"]


PROBES = {
    "steps": [1],
    "draws": 1,
    "small_batch_size": 4,
    "large_batch_size": 8,
    "curvature_batch_size": 8,
    "reference_batch_size": 8,
    "ladder": [8],
}


def test_a_probe_finds_every_quantity_and_an_examples_own_only_where_examples_are_independent(workload):
    probes = {**PROBES, "quantities": ["two_batch", "per_example", "curvature", "one_step"]}
    settings = run_settings(learning_rate=1e-3, budget={"steps": 2}, evaluation={"points": 1}, probes=probes)
    (probed,) = [e for e in train(workload, settings) if isinstance(e, Probed)]
    assert all(math.isfinite(row.total) and row.count > 0 for row in probed.rows)
    names = {row.name for row in probed.rows if row.total != 0.0}
    assert names >= {"gradient_square", "curvature_gradient", "hessian_trace", "update_gradient", "update_curvature"}
    assert ("example_square" in names) == workload.examples_are_independent
    if workload.examples_are_independent:
        # The large batch's gradient is the mean of its halves', and theirs of their examples': squares shrink.
        mean = {(row.name, row.batch_size): row.total / row.count for row in probed.rows}
        assert mean["example_square", 1] > mean["gradient_square", 4] > mean["gradient_square", 8] > 0.0


def test_nonsense_rates_end_as_data_not_as_exceptions(workload):
    settings = run_settings(learning_rate=1e8, budget={"steps": 40}, evaluation={"points": 2})
    *_, last = train(workload, settings, build_engine=BareEngine)
    assert last.status in {"diverged", "exhausted"}


def test_unknown_settings_are_refused_with_the_allowed_ones(workload):
    with pytest.raises(SettingsError, match=r"workload_settings.hiden is not a setting;.*allowed: "):
        load_workload(workload.name, {"hiden": 3})


def test_an_unknown_workload_names_the_known_ones():
    with pytest.raises(
        SettingsError, match=r"'bert-mln' is unknown; did you mean bert-mlm\? known: .*bert-mlm, .*quadratic"
    ):
        find_workload("bert-mln")


USER_FILE = '''
"""A user's own workload."""
import torch
from torch import nn
from trainers.reading import Settings
from trainers.workload import Target, Workload


class Line(Settings):
    noise: float = 0.1


class Regression(Workload):
    name, summary, metrics, Settings = "regression", "a straight line", ("error",), Line

    def __init__(self, settings):
        self.settings, self.target = settings, Target(metric="error", mode="min", value=0.05)

    def build_model(self, *, seed):
        return nn.Linear(1, 1)

    def train_batches(self, *, batch_size, seed):
        generator = torch.Generator().manual_seed(seed)
        while True:
            x = torch.randn(batch_size, 1, generator=generator)
            yield x, 2 * x + self.settings.noise * torch.randn(batch_size, 1, generator=generator)

    def loss(self, model, batch):
        x, y = batch
        return ((model(x) - y) ** 2).mean()

    def evaluate(self, model):
        return {"error": abs(float(model.weight) - 2.0)}


class Unfinished(Workload):
    name, summary, metrics = "unfinished", "", ()


not_a_workload = 3
'''


def test_a_users_own_file_is_a_workload(tmp_path):
    (tmp_path / "mine.py").write_text(USER_FILE)
    mine = load_workload(f"{tmp_path}/mine.py:Regression", {"noise": 0.01})
    assert isinstance(mine, Workload)
    settings = run_settings(learning_rate=0.1, budget={"steps": 200, "stop_at_target": True}, evaluation={"points": 40})
    *_, last = train(mine, settings, build_engine=DeepSpeedEngine)
    assert last.status == "reached"


def test_a_users_file_may_define_what_looks_its_own_module_up(tmp_path):
    extra = "\nimport dataclasses\n@dataclasses.dataclass\nclass Kept:\n    number: int = 0\n"
    (tmp_path / "mine.py").write_text("from __future__ import annotations\n" + USER_FILE + extra)
    assert isinstance(load_workload(f"{tmp_path}/mine.py:Regression", {}), Workload)


@pytest.mark.parametrize(
    ("raised", "said"),
    [("ValueError('no such\\nsize')", "ValueError: no such"), ("KeyError()", "KeyError: KeyError")],
)
def test_a_users_constructor_that_raises_is_one_line(tmp_path, raised, said):
    broken = USER_FILE.replace(
        "        self.settings, self.target", f"        raise {raised}\n        self.settings, self.target"
    )
    (tmp_path / "mine.py").write_text(broken)
    with pytest.raises(SettingsError) as error:
        load_workload(f"{tmp_path}/mine.py:Regression", {})
    assert str(error.value) == f"workload_settings: Regression can't be built from them: {said}"


def test_a_users_constructor_without_its_data_is_no_fault_of_the_settings(tmp_path):
    lacking = USER_FILE.replace(
        "        self.settings, self.target",
        "        from trainers.errors import DataError\n        raise DataError('the archive is gone')\n"
        "        self.settings, self.target",
    )
    (tmp_path / "mine.py").write_text(lacking)
    with pytest.raises(DataError, match=r"^the archive is gone$"):
        load_workload(f"{tmp_path}/mine.py:Regression", {})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine.py:Regresion", r"defines no Regresion; its workloads: Regression, Unfinished"),
        ("mine.py:Unfinished", "must implement build_model, evaluate, loss, train_batches"),
        ("mine.py:not_a_workload", "must be a class derived from"),
        ("nowhere.py:Regression", "there is no file"),
        ("broken.py:Regression", r"does not import: SyntaxError"),
    ],
)
def test_what_is_wrong_with_a_users_file_is_said(tmp_path, monkeypatch, name, message):
    (tmp_path / "mine.py").write_text(USER_FILE)
    (tmp_path / "broken.py").write_text("def (:")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=message):
        load_workload(name, {})
