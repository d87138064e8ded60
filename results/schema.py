"""What a trial is and what is stored about it: the vocabulary every other package shares."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

SCHEMA_VERSION = 1


SWEEP, PROBE = "sweep", "probe"
"""What a trial is for (column ``purpose``)."""


class Status(StrEnum):
    """How a trial ended. Bad luck is data; only ``FAILED`` is kept out of every fit."""

    REACHED = "reached"
    """The target was met within the budget (the run may have gone on to spend the budget)."""
    EXHAUSTED = "exhausted"
    """The budget ended first: steps to target are right-censored, the loss at the budget is valid."""
    DIVERGED = "diverged"
    """The loss became non-finite or passed the workload's limit: bounds the optimum from above."""
    FAILED = "failed"
    """An exception, a lost machine, or a target met before training. The message is kept; the row is never fitted."""


def round_rate(learning_rate: float) -> float:
    """Return ``learning_rate`` to six significant digits, so that the same cell has the same id everywhere.

    Grids are built from powers and roots whose last bits differ between C libraries.
    """
    return float(f"{learning_rate:.6g}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrialSpec:
    """Everything that decides a trial's outcome, and nothing else.

    The mappings hold plain JSON values. ``batch_size`` counts global examples per optimiser step;
    ``learning_rate`` is the peak value given to the optimiser.
    """

    workload: str
    workload_settings: Mapping[str, Any]
    optimizer: str
    optimizer_settings: Mapping[str, Any]
    schedule: Mapping[str, Any]
    batch_size: int
    learning_rate: float
    seed: int
    budget: Mapping[str, Any]
    target: Mapping[str, Any] | None
    evaluation: Mapping[str, Any]
    engine: Mapping[str, Any]
    probes: Mapping[str, Any] | None = None
    """What is measured inside the run (``trainers.probes``). Its losses are those of the run without."""

    def __post_init__(self) -> None:
        """Round the rate to the shared grid, so that equality and id agree."""
        object.__setattr__(self, "learning_rate", round_rate(self.learning_rate))

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as plain JSON values, in the order of the fields; without ``probes`` where there are none."""
        values = {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}
        return values if self.probes is not None else {k: v for k, v in values.items() if k != "probes"}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrialSpec:
        """Build a spec from ``to_dict``'s output."""
        return cls(**values)

    @property
    def trial_id(self) -> str:
        """Sixteen hexadecimal digits: a hash of the content, the same on every machine.

        A study is the set of its ids. Running it again, extending its grid, resuming it after a crash
        and merging two clusters are therefore one operation: run the ids that are missing.
        """
        return hashlib.sha256(canonical_json(self.to_dict()).encode()).hexdigest()[:16]


def canonical_json(value: Any) -> str:
    """Return one text per content: sorted keys, no spaces.

    Raises:
        ValueError: for NaN and infinities, which have no place in a specification.
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """A stored column: its pandas type, its unit (empty when it has none) and its meaning.

    ``default`` is what rows hold that were stored before there was such a column; None where there are no such rows.
    """

    dtype: str
    unit: str
    meaning: str
    default: str | float | None = None


def _column(dtype: str, unit: str, meaning: str, default: str | float | None = None) -> Column:
    return Column(dtype=dtype, unit=unit, meaning=meaning, default=default)


TRIAL_COLUMNS: Mapping[str, Column] = {
    "trial_id": _column("str", "", "hash of the specification"),
    "study": _column("str", "", "name of the study that ran it"),
    "sweep": _column("str", "", "name of the sweep inside the study; laws are fitted per sweep"),
    "workload": _column("str", "", "workload name"),
    "optimizer": _column("str", "", "optimiser name"),
    "schedule": _column("str", "", "learning-rate schedule name"),
    "batch_size": _column("int64", "examples/step", "global examples per optimiser step"),
    "learning_rate": _column("float64", "", "peak rate given to the optimiser"),
    "seed": _column("int64", "", "seed of initialisation and data order"),
    "status": _column("str", "", "reached | exhausted | diverged | failed"),
    "metric": _column("str", "", "metric that the target is about"),
    "mode": _column("str", "", "min or max: which direction of the metric is better"),
    "target": _column("float64", "metric", "target value; NaN when the study sets none"),
    "value": _column("float64", "metric", "metric at the last evaluation"),
    "steps": _column("int64", "steps", "optimiser steps taken"),
    "examples": _column("int64", "examples", "examples consumed"),
    "steps_to_target": _column("float64", "steps", "interpolated steps to the target; NaN when not reached"),
    "examples_to_target": _column("float64", "examples", "steps_to_target x batch_size"),
    "train_seconds": _column("float64", "s", "time inside optimiser steps; evaluation excluded"),
    "evaluate_seconds": _column("float64", "s", "time inside evaluations"),
    "setup_seconds": _column("float64", "s", "model, data and engine construction"),
    "probe_seconds": _column("float64", "s", "time inside probes; in none of the other times", 0.0),
    "examples_per_second": _column("float64", "examples/s", "examples / train_seconds"),
    "world_size": _column("int64", "", "data-parallel workers"),
    "micro_batch_size": _column("int64", "examples", "examples per forward pass on one worker, at the end"),
    "accumulation_steps": _column("int64", "", "forward passes per optimiser step on one worker"),
    "device_batch_size": _column("int64", "examples", "examples a BatchNorm layer sees at once"),
    "dtype": _column("str", "", "arithmetic type of the forward pass"),
    "zero_stage": _column("int64", "", "DeepSpeed ZeRO stage"),
    "code_version": _column("str", "", "batchlaw version and git revision when known"),
    "hardware": _column("str", "", "processor or accelerator name"),
    "message": _column("str", "", "why a trial failed or diverged; empty otherwise"),
    "started_at": _column("str", "UTC", "ISO 8601 time at which the trial began"),
    "spec": _column("str", "JSON", "the whole specification"),
    "purpose": _column("str", "", "sweep, or probe: a cell's run once more with probes, part of no fit", SWEEP),
    "halvings": _column("int64", "", "how often the micro-batch was halved for want of memory", 0),
    "resumes": _column("int64", "", "how often the trial went on from a checkpoint", 0),
}

CURVE_COLUMNS: Mapping[str, Column] = {
    "trial_id": _column("str", "", "hash of the specification"),
    "step": _column("int64", "steps", "optimiser steps before the measurement"),
    "examples": _column("int64", "examples", "examples before the measurement"),
    "name": _column("str", "", "quantity, such as train_loss or a workload metric"),
    "value": _column("float64", "", "its value"),
}

PROBE_COLUMNS: Mapping[str, Column] = {
    "trial_id": _column("str", "", "hash of the specification of the probe run"),
    "step": _column("int64", "steps", "optimiser steps before the probe"),
    "examples": _column("int64", "examples", "examples before the probe"),
    "name": _column("str", "", "raw quantity, such as gradient_square"),
    "scope": _column("str", "", "all, or the name of a parameter tensor"),
    "batch_size": _column("int64", "examples", "examples behind each item; 0 where no batch is drawn"),
    "rate": _column("float64", "", "learning rate along a line; NaN elsewhere"),
    "draw": _column("int64", "", "rows of one step and draw are made from the same random batches"),
    "total": _column("float64", "", "sum of the quantity over the items"),
    "count": _column("int64", "", "items"),
}


_TRIAL_ID = re.compile("[0-9a-f]{16}")


def validate_trial(row: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` unless ``row`` has exactly the columns of ``TRIAL_COLUMNS`` and sane values."""
    missing = sorted(TRIAL_COLUMNS.keys() - row.keys())
    unknown = sorted(row.keys() - TRIAL_COLUMNS.keys())
    if missing or unknown:
        raise ValueError(f"a trial row has the columns of TRIAL_COLUMNS, but got missing {missing}, unknown {unknown}")
    if not _TRIAL_ID.fullmatch(str(row["trial_id"])):
        # Ids name files, also those read from files that somebody else wrote.
        raise ValueError(f"trial_id must be sixteen hexadecimal digits, but got {row['trial_id']!r}")
    if row["status"] not in set(Status):
        raise ValueError(f"status must be one of {[str(s) for s in Status]}, but got {row['status']!r}")
    if row["purpose"] not in (SWEEP, PROBE):
        raise ValueError(f"purpose must be {SWEEP} or {PROBE}, but got {row['purpose']!r}")
    if row["mode"] not in ("min", "max"):
        raise ValueError(f"mode must be min or max, but got {row['mode']!r}")
    if not (row["batch_size"] >= 1 and math.isfinite(row["learning_rate"]) and row["learning_rate"] > 0):
        raise ValueError(
            "a trial needs batch_size >= 1 and a positive finite learning_rate, but got "
            f"{row['batch_size']} and {row['learning_rate']}"
        )
