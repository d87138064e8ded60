"""A run with probes is bit for bit the run without them."""

import random

import numpy as np
import pytest
import torch

from trainers.engine import DeepSpeedEngine
from trainers.loop import Finished, Measured, Probed, train
from trainers.workloads import load_workload

from .helpers import run_settings
from .probe_cases import EVERYTHING, TINY_BERT, TINY_SIMSIAM, SmallCNN

PROBES = {"steps": [0, 2, 5], "quantities": EVERYTHING, "draws": 1, "ladder": [4, 8], "line_rate_factors": [1.0]}
SHORT = {"batch_size": 8, "learning_rate": 0.01, "budget": {"steps": 5}, "evaluation": {"points": 1}}


def course(workload, settings):
    """Everything that a run leaves: values at evaluations, weights, buffers, optimiser state, random state."""
    engines = []

    def build(*args):
        engines.append(DeepSpeedEngine(*args))
        return engines[0]

    np.random.seed(0)
    random.seed(0)
    events = list(train(workload, settings, build_engine=build))
    engine = engines[0]
    state = [
        {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in engine.optimizer.state[p].items()}
        for p in engine.model.parameters()
    ]
    counters = [group.get("step") for group in engine.optimizer.param_groups]
    chance = torch.rand(3), np.random.rand(3), random.random()
    assert engine.model.training
    assert all(p.grad is None or not p.grad.any() for p in engine.model.parameters())
    return (
        [e.values for e in events if isinstance(e, Measured)],
        engine.model.state_dict(),
        state,
        counters,
        chance,
        events,
    )


def assert_equal(one, other):
    if isinstance(one, torch.Tensor | np.ndarray):
        assert np.array_equal(np.asarray(one), np.asarray(other))
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key, value in one.items():
            assert_equal(value, other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_equal(a, b)
    else:
        assert one == other


def assert_unchanged(workload, changes, probes=PROBES):
    next(workload.train_batches(batch_size=1, seed=0))  # what it imports may draw from Python's generator, once
    *without, _ = course(workload, run_settings(**changes))
    *with_probes, events = course(workload, run_settings(**changes, probes=probes))
    assert_equal(without, with_probes)
    probed = [event for event in events if isinstance(event, Probed)]
    assert [event.step for event in probed] == probes["steps"]
    assert all(np.isfinite([row.total for row in event.rows]).all() for event in probed)
    return events


@pytest.mark.parametrize(
    ("optimizer", "settings", "engine"),
    [
        ("sgd", {"weight_decay": 0.1}, {}),
        ("momentum", {}, {"gradient_clipping": 0.5}),
        ("ema-momentum", {}, {}),
        ("adamw", {"weight_decay": 0.1}, {"micro_batch_size": 4}),
        ("sign-sgd", {"momentum": 0.9}, {}),
        ("lamb", {}, {}),
        ("muon", {}, {}),
        ("lion", {}, {}),
    ],
)
def test_a_transformer_with_dropout_trains_as_without_probes(optimizer, settings, engine):
    workload = load_workload("bert-mlm", TINY_BERT | {"dropout": 0.1})
    assert_unchanged(workload, SHORT | {"optimizer": optimizer, "optimizer_settings": settings, "engine": engine})


@pytest.mark.parametrize(("optimizer", "micro_batch_size"), [("momentum", None), ("adamw", 4)])
def test_siamese_networks_with_batchnorm_train_as_without_probes(optimizer, micro_batch_size):
    workload = load_workload("simsiam", TINY_SIMSIAM)
    changes = SHORT | {"batch_size": 16, "optimizer": optimizer, "engine": {"micro_batch_size": micro_batch_size}}
    events = assert_unchanged(workload, changes)
    names = {row.name for event in events if isinstance(event, Probed) for row in event.rows}
    assert {"gradient_square", "curvature_gradient", "update_curvature", "line_loss"} <= names
    assert "example_square" not in names, "coupled examples have no gradients of their own"


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "lion"])
def test_the_quadratic_trains_as_without_probes(optimizer):
    workload = load_workload("quadratic", {"dimensions": 10})
    assert_unchanged(workload, SHORT | {"optimizer": optimizer}, PROBES | {"warm_steps": 2})


def test_losses_that_draw_from_numpy_and_python_draw_the_same():
    class Chancy(SmallCNN):
        def loss(self, model, batch):
            return super().loss(model, batch) * (1.0 + np.random.rand() + random.random() + torch.rand(()))

    assert_unchanged(Chancy(), SHORT | {"optimizer": "momentum"})


def test_a_run_tells_its_probes_seconds_apart():
    *_, events = course(SmallCNN(), run_settings(**SHORT, probes=PROBES))
    last = events[-1]
    assert isinstance(last, Finished)
    probed = [event for event in events if isinstance(event, Probed)]
    assert last.probe_seconds == pytest.approx(sum(event.seconds for event in probed))
    assert all(event.seconds > 0 for event in probed)
    assert [event.examples for event in probed] == [0, 16, 40]


def test_probes_of_one_seed_and_step_repeat_and_others_differ():
    def rows(seed):
        *_, events = course(SmallCNN(), run_settings(**SHORT | {"learning_rate": 1e-30}, seed=seed, probes=PROBES))
        return [
            [row.total for row in event.rows if row.name == "gradient_square"]
            for event in events
            if isinstance(event, Probed)
        ]

    first = rows(0)
    assert first == rows(0)
    assert len({tuple(values) for values in first + rows(1)}) == 6, "each probe draws examples of its own"


def test_a_run_that_diverges_between_readings_is_probed_without_an_exception():
    changes = SHORT | {"learning_rate": 1e30, "budget": {"steps": 20}}
    settings = run_settings(**changes, probes={"steps": [3], "quantities": EVERYTHING, "draws": 1})
    *_, events = course(load_workload("quadratic", {"dimensions": 10}), settings)
    assert [event.step for event in events if isinstance(event, Probed)] == [3]
    assert events[-1].status == "diverged"
