"""Rates that differ inside a model, and what a workload does after a step."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from trainers.engine import DeepSpeedEngine
from trainers.errors import SettingsError
from trainers.loop import Finished, Measured, Probed, train
from trainers.optimizers import OPTIMIZERS
from trainers.reading import Settings
from trainers.settings import TrainSettings
from trainers.workload import Batch, Target, Workload

from .helpers import BareEngine, run_settings

HALVES, FIXED = 0.5, 0.01


class NoSettings(Settings):
    pass


class Parts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.whole = nn.Parameter(torch.ones(2, 2))
        self.slow = nn.Parameter(torch.ones(2, 2))
        self.fixed = nn.Parameter(torch.ones(3))
        self.register_buffer("average", torch.zeros(2, 2))
        self.seen: list[int] = []


class Slopes(Workload):
    """A loss of slope one in every weight, so that a step of SGD is the rate itself."""

    name, summary = "slopes", "slopes of one"
    Settings, metrics = NoSettings, ("height",)

    def __init__(self, settings: NoSettings, *, everywhere: float | None = None) -> None:
        self.settings, self.everywhere = settings, everywhere
        self.target = Target(metric="height", mode="min")

    def build_model(self, *, seed: int) -> nn.Module:
        return Parts()

    def train_batches(self, *, batch_size: int, seed: int) -> Iterator[Batch]:
        while True:
            yield torch.ones(batch_size, 1)

    def loss(self, model: Parts, batch: torch.Tensor) -> torch.Tensor:
        return sum(p.sum() for p in model.parameters()) * batch.mean()

    def evaluate(self, model: Parts) -> dict[str, float]:
        return {name: float(p.flatten()[0]) for name, p in model.named_parameters()} | {
            "height": float(model.whole[0, 0])
        }

    def peak_rate(self, parameter: str, learning_rate: float) -> float:
        if self.everywhere is not None:
            return self.everywhere
        return {"whole": learning_rate, "slow": HALVES * learning_rate, "fixed": FIXED}[parameter]

    def after_step(self, model: Parts, *, step: int) -> None:
        model.seen.append(step)
        model.average.lerp_(model.whole.detach(), 0.5)


class Watched(Slopes):
    """Reports all that a test wants to see."""

    metrics = ("height", "whole", "slow", "fixed", "average", "steps")

    def evaluate(self, model: Parts) -> dict[str, float]:
        seen = {"average": float(model.average[0, 0]), "steps": float(len(model.seen))}
        assert model.seen == list(range(1, len(model.seen) + 1))
        return super().evaluate(model) | seen


@pytest.mark.parametrize("engine", [BareEngine, DeepSpeedEngine])
def test_every_parameter_has_the_rate_that_the_workload_gives_it(engine: type) -> None:
    settings = run_settings(learning_rate=0.1, budget={"steps": 4}, evaluation={"points": 4})
    values = [e.values for e in train(Watched(NoSettings()), settings, build_engine=engine) if isinstance(e, Measured)]
    for step, measured in enumerate(values):
        assert measured["whole"] == pytest.approx(1 - 0.1 * step)
        assert measured["slow"] == pytest.approx(1 - HALVES * 0.1 * step)
        assert measured["fixed"] == pytest.approx(1 - FIXED * step)
        assert measured["steps"] == step
    assert values[2]["average"] == pytest.approx(0.5 * (0.5 * 0.9) + 0.5 * 0.8)


def test_the_schedule_moves_all_rates_alike() -> None:
    schedule = {"name": "constant", "warmup": {"steps": 4}}
    settings = run_settings(learning_rate=0.1, schedule=schedule, budget={"steps": 4}, evaluation={"points": 1})
    *_, last = [e.values for e in train(Watched(NoSettings()), settings) if isinstance(e, Measured)]
    assert 1 - last["whole"] == pytest.approx(0.1 * 2.5)
    assert 1 - last["fixed"] == pytest.approx(FIXED * 2.5)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimiser_takes_the_factors(optimizer: str) -> None:
    """A parameter moves by its factor as far as in a run where all have the study's rate.

    Over ten steps; one with LAMB, whose later steps are as long as the weights, which then differ.
    """
    changes = {"optimizer": optimizer, "optimizer_settings": {"weight_decay": 0.0}, "evaluation": {"points": 1}}
    settings = run_settings(learning_rate=0.1, budget={"steps": 1 if optimizer == "lamb" else 10}, **changes)

    def moved(workload: Watched) -> dict[str, float]:
        *_, last = [e.values for e in train(workload, settings) if isinstance(e, Measured)]
        return {name: 1 - last[name] for name in ("whole", "slow", "fixed")}

    own, alike = moved(Watched(NoSettings())), moved(Watched(NoSettings(), everywhere=0.1))
    assert all(length > 0.0 for length in alike.values())
    assert own["whole"] == pytest.approx(alike["whole"], rel=1e-3)
    assert own["slow"] == pytest.approx(HALVES * alike["slow"], rel=1e-3)
    assert own["fixed"] == pytest.approx(FIXED / 0.1 * alike["fixed"], rel=1e-3)


def test_a_probes_direction_has_the_factors_and_a_probe_is_no_step() -> None:
    probes = {"steps": [2], "quantities": ["one_step"], "draws": 1, "small_batch_size": 1, "large_batch_size": 8}
    plain = run_settings(learning_rate=0.1, budget={"steps": 4}, evaluation={"points": 4})
    settings = TrainSettings.from_dict({**plain.model_dump(mode="json"), "probes": {**probes, "per_layer": True}})
    events = list(train(Watched(NoSettings()), settings))
    without = list(train(Watched(NoSettings()), plain))
    measured = [[e.values for e in run if isinstance(e, Measured)] for run in (events, without)]
    assert measured[0] == measured[1]
    (probed,) = [e for e in events if isinstance(e, Probed)]
    squares = {r.scope: r.total for r in probed.rows if r.name == "update_square" and r.batch_size == 8}
    assert squares["whole"] == pytest.approx(4.0)
    assert squares["slow"] == pytest.approx(4.0 * HALVES**2)
    assert squares["fixed"] == pytest.approx(3.0 * (FIXED / 0.1) ** 2)


@pytest.mark.parametrize("wrong", [-0.1, math.nan, math.inf])
def test_a_rate_that_is_none_is_refused(wrong: float) -> None:
    with pytest.raises(SettingsError, match="slopes: the peak rate of a parameter must be finite and not negative"):
        list(train(Slopes(NoSettings(), everywhere=wrong), run_settings()))


def test_a_part_may_stand_still() -> None:
    events = list(train(Watched(NoSettings(), everywhere=0.0), run_settings()))
    assert isinstance(events[-1], Finished)
    assert events[-1].value == 1.0
    assert dataclasses.asdict(events[-1])["status"] == "exhausted"
