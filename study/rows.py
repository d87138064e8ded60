"""From what a worker reports to the row that is stored."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from typing import Any

from results import Status
from results.schema import canonical_json

from .design import PlannedTrial
from .resolve import BatchArithmetic


def trial_row(
    trial: PlannedTrial, *, study: str, code_version: str, arithmetic: BatchArithmetic, outcome: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the row of ``trial``, with exactly ``results.TRIAL_COLUMNS``.

    Args:
        trial: what was to be run.
        study: name of the study.
        code_version: see ``version``.
        arithmetic: the planned split of the batch; stands in where a failed trial reports none.
        outcome: the fields of ``trainers.loop.Finished`` and ``started_at``; of a failed trial at least
            ``status`` and ``message``. What is not known is NaN, and zero for counts.
    """
    spec = trial.spec
    target = spec.target or {}
    steps_to_target = outcome.get("steps_to_target")
    steps_to_target = math.nan if steps_to_target is None else float(steps_to_target)
    train_seconds = outcome.get("train_seconds", math.nan)
    examples = outcome.get("examples", 0)
    return {
        "trial_id": trial.trial_id,
        "study": study,
        "sweep": trial.sweep,
        "workload": spec.workload,
        "optimizer": spec.optimizer,
        "schedule": spec.schedule["name"],
        "batch_size": spec.batch_size,
        "learning_rate": spec.learning_rate,
        "seed": spec.seed,
        "status": str(outcome["status"]),
        "metric": target["metric"],
        "mode": target["mode"],
        "target": math.nan if target["value"] is None else target["value"],
        "value": outcome.get("value", math.nan),
        "steps": outcome.get("steps", 0),
        "examples": examples,
        "steps_to_target": steps_to_target,
        "examples_to_target": steps_to_target * spec.batch_size,
        "train_seconds": train_seconds,
        "evaluate_seconds": outcome.get("evaluate_seconds", math.nan),
        "setup_seconds": outcome.get("setup_seconds", math.nan),
        "probe_seconds": outcome.get("probe_seconds", math.nan),
        "examples_per_second": examples / train_seconds if train_seconds > 0 else math.nan,
        "world_size": outcome.get("world_size", arithmetic.world_size),
        "micro_batch_size": outcome.get("micro_batch_size", arithmetic.micro_batch_size),
        "accumulation_steps": outcome.get("accumulation_steps", arithmetic.accumulation_steps),
        "device_batch_size": outcome.get("device_batch_size", arithmetic.micro_batch_size),
        "dtype": spec.engine["dtype"],
        "zero_stage": spec.engine["zero_stage"],
        "code_version": code_version,
        "hardware": outcome.get("hardware", ""),
        "message": outcome["message"],
        "started_at": outcome.get("started_at", _now()),
        "spec": canonical_json(spec.to_dict()),
        "purpose": trial.purpose,
        "halvings": outcome.get("halvings", 0),
        "resumes": outcome.get("resumes", 0),
    }


def failed(message: str) -> dict[str, Any]:
    """Return the outcome of a trial of which nothing but a message is known."""
    return {"status": str(Status.FAILED), "message": message}


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
