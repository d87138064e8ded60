"""A stored trial as tools that log runs take it."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from results import Status

_CONFIG = ("sweep", "workload", "optimizer", "schedule", "batch_size", "learning_rate", "seed")
_OUTCOME = ("steps_to_target", "train_seconds", "examples_per_second")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoggedTrial:
    """A trial that ended.

    Attributes:
        row: columns as in ``results.TRIAL_COLUMNS``.
        curve: step -> quantity -> value, steps ascending.
    """

    row: Mapping[str, Any]
    curve: Mapping[int, Mapping[str, float]]

    @classmethod
    def of(cls, row: Mapping[str, Any], points: Iterable[Mapping[str, Any]]) -> LoggedTrial:
        """Return the trial of ``row`` with ``points`` of its curves (``results.CURVE_COLUMNS``)."""
        curve: dict[int, dict[str, float]] = {}
        for point in points:
            values = curve.setdefault(int(point["step"]), {"examples": float(point["examples"])})
            values[str(point["name"])] = float(point["value"])
        return cls(row=row, curve=dict(sorted(curve.items())))

    @property
    def key(self) -> str:
        """What a tool knows the trial by: a failed one may be followed by another of the same id."""
        return trial_key(self.row)

    @property
    def failed(self) -> bool:
        """Whether it says nothing about its rate."""
        return bool(self.row["status"] == Status.FAILED)

    @property
    def name(self) -> str:
        """What is read on a screen, fit for a file: its cell, how it ended if badly, its key."""
        row = self.row
        ending = "-diverged" if row["status"] == Status.DIVERGED else ""
        return f"b{row['batch_size']}-lr{row['learning_rate']:g}-seed{row['seed']}{ending}-{self.key}"

    @property
    def config(self) -> dict[str, Any]:
        """What distinguishes it, plain values, with ``ending``: its status."""
        return {**{name: self.row[name] for name in _CONFIG}, "ending": str(self.row["status"])}

    def results(self) -> list[dict[str, Any]]:
        """Return what Ray Tune's callbacks take: a result for each step, the last with the outcome."""
        last = max(self.curve, default=int(self.row["steps"]))
        outcome = {name: float(self.row[name]) for name in _OUTCOME if math.isfinite(self.row[name])}
        steps = {**self.curve, last: {**self.curve.get(last, {}), **outcome}}
        return [{"training_iteration": step, **values} for step, values in steps.items()]


def trial_key(row: Mapping[str, Any]) -> str:
    """Return ``LoggedTrial.key`` of a row that has at least the id and the status."""
    return f"{row['trial_id']}-failed" if row["status"] == Status.FAILED else str(row["trial_id"])


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class StandIn:
    """What Ray Tune's logger callbacks read of a Tune trial: Tune itself never sees ours, only the crews.

    Attributes:
        trial_id: the trial's key.
        name: see ``LoggedTrial.name``.
        config: see ``LoggedTrial.config``.
        local_path: folder of this trial's files; made by ``init_local_path``.
        experiment_dir_name: what the trials have in common: the sweep.
    """

    trial_id: str
    name: str
    config: Mapping[str, Any]
    local_path: str
    experiment_dir_name: str

    @classmethod
    def of(cls, trial: LoggedTrial, folder: Path) -> StandIn:
        """Return the stand-in of ``trial``, with its files in ``folder``."""
        return cls(
            trial_id=trial.key,
            name=trial.name,
            config=trial.config,
            local_path=str(folder),
            experiment_dir_name=str(trial.row["sweep"]),
        )

    @property
    def evaluated_params(self) -> dict[str, Any]:
        """The configuration, once more."""
        return dict(self.config)

    def init_local_path(self) -> None:
        """Make the folder."""
        os.makedirs(self.local_path, exist_ok=True)

    def __str__(self) -> str:
        return self.name
