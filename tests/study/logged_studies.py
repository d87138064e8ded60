"""Stored studies for the tools that show runs, made without training: their curves and optima are known in advance."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from results import ResultStore
from study.config import StudyConfig
from study.design import Design, PlannedTrial
from study.folder import write_study
from study.resolve import BatchArithmetic
from study.rows import trial_row

from .studies import SWEEP

BATCHES = (16, 64, 256)
RATES = [0.01 * 2.0**k for k in range(-3, 4)]
DIVERGED_FROM = 0.05
"""Rates above it diverge at the smallest batch size."""


def best_rate(batch_size: int) -> float:
    """Return the optimum of the losses of ``bowls``: the square-root law through 0.01 at 64."""
    return 0.01 * math.sqrt(batch_size / 64)


def config(loggers: dict[str, Any] | None = None) -> StudyConfig:
    """Return a study of two sweeps: ``loss`` to a budget, ``steps`` to a target."""
    common = {
        **SWEEP,
        "batch_sizes": list(BATCHES),
        "learning_rates": RATES,
        "seeds": [0, 1],
        "engine": {"dtype": "float32", "zero_stage": 0},
    }
    target = {"metric": "loss", "mode": "min"}
    loss = {**common, "name": "loss", "outcome": "value_at_budget", "target": {**target, "value": None}}
    steps = {**common, "name": "steps", "optimizer": "adamw", "seeds": [0], "target": {**target, "value": 2.2}}
    return StudyConfig.model_validate({"name": "bowls", "loggers": loggers or {}, "sweeps": [loss, steps]})


def outcome(trial: PlannedTrial) -> dict[str, Any]:
    """Return how ``trial`` ended: a bowl in the logarithm of the rate, with a little of its own for every seed."""
    spec = trial.spec
    bowl = 0.1 * math.log(spec.learning_rate / best_rate(spec.batch_size)) ** 2
    loss = 2.0 + bowl + 0.004 * math.sin(97.0 * spec.learning_rate + spec.batch_size + 5.0 * spec.seed)
    steps = 1000.0 * math.exp(bowl + 0.01 * math.cos(31.0 * spec.learning_rate + spec.batch_size + 3.0 * spec.seed))
    status = "exhausted"
    if spec.batch_size == BATCHES[0] and spec.learning_rate > DIVERGED_FROM:
        status = "diverged"
    elif trial.sweep == "steps" and bowl < 0.5:
        status = "reached"
    return {
        "status": status,
        "message": "loss above 100" if status == "diverged" else "",
        "steps": 40,
        "examples": 40 * spec.batch_size,
        "steps_to_target": steps if status == "reached" else None,
        "value": math.nan if status == "diverged" else loss,
        "train_seconds": 2.0,
        "evaluate_seconds": 0.5,
        "setup_seconds": 0.25,
        "probe_seconds": 0.0,
        "started_at": "2026-01-01T00:00:00+00:00",
    }


def points(trial: PlannedTrial) -> list[dict[str, Any]]:
    """Return the curve: the validation loss at four steps, and a training loss that is never NaN at three."""
    end = outcome(trial)
    last = end["value"]
    losses = [(0, 9.0), (10, 5.0), (20, 3.0), (40, last)]
    batch = trial.spec.batch_size
    measured = [("loss", step, value) for step, value in losses]
    measured += [("train_loss", step, 8.0 / (1 + step)) for step in (10, 20, 30)]
    return [{"name": n, "step": step, "examples": step * batch, "value": value} for n, step, value in measured]


def row(trial: PlannedTrial) -> dict[str, Any]:
    batch = trial.spec.batch_size
    split = BatchArithmetic(batch_size=batch, steps=40, world_size=1, micro_batch_size=batch, accumulation_steps=1)
    return trial_row(trial, study="bowls", code_version="0", arithmetic=split, outcome=outcome(trial))


def store_study(folder: Path, study: StudyConfig, *, trials: int | None = None) -> list[PlannedTrial]:
    """Store ``study`` and its first trials in ``folder``, and return these."""
    store = ResultStore(folder)
    write_study(store, study)
    planned = Design(study).trials({})[:trials]
    for trial in planned:
        store.append(row(trial), points(trial))
    store.compact()
    return planned
