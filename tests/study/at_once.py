"""A launcher without a cluster: each missing trial ends at once, and goes the way of any other into the store."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from results import ResultStore
from study.agenda import Agenda
from study.design import Design
from study.launch import RunSummary
from study.outcomes import Outcomes
from study.recorder import Listener, Observer, Recorder
from study.resolve import ResolvedStudy


def run_at_once(
    study: ResolvedStudy,
    design: Design,
    store: ResultStore,
    *,
    observer: Observer,
    outcomes: Outcomes,
    listener: Listener | None = None,
    address: str | None = None,
    before_each: Callable[[int], object] = lambda number: None,
) -> RunSummary:
    recorder = Recorder(
        store=store,
        outcomes=outcomes,
        study=study.config.name,
        code_version="0",
        arithmetic=study.arithmetic,
        observer=observer,
        listener=listener,
    )
    agenda = Agenda(design, outcomes)
    while (trial := agenda.next()) is not None:
        before_each(recorder.trials)
        recorder.begun(trial)
        steps = 10 + 4 * math.log2(trial.spec.learning_rate / 0.25) ** 2 + trial.spec.seed
        outcome = {"status": "reached", "message": "", "steps": 30, "steps_to_target": steps, "value": 0.004}
        seconds = {"train_seconds": 1.0, "evaluate_seconds": 0.1, "setup_seconds": 0.1, "started_at": ""}
        points: list[dict[str, Any]] = [{"step": 5, "examples": 10, "name": "loss", "value": trial.spec.learning_rate}]
        recorder.ended(trial, {**outcome, **seconds}, points)
        agenda.stored(trial.trial_id)
    store.compact()
    once: dict[str, Any] = {"seconds": 1.0, "concurrency": 1, "worker_seconds": 1.0, "train_seconds": 1.0}
    return RunSummary(trials=recorder.trials, interrupted=False, **once)
