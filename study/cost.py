"""How long a trial will take, judged by those that are stored."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any, NamedTuple

from results import PROBE, Status

from .lane import PlannedTrial

REMEMBERED = 64
"""Trials of one kind that are remembered, the latest: enough for a median, however long a study."""


class _Kind(NamedTuple):
    workload: str
    optimizer: str
    batch_size: int
    diverged: bool


class _Measured(NamedTuple):
    setup_seconds: float
    step_seconds: float
    """A step with its share of the evaluations."""


class CostModel:
    """Seconds of one worker for a trial, from trials of the same workload. A guess, and never more than that."""

    def __init__(self, rows: Iterable[Mapping[str, Any]] = ()) -> None:
        """Learn from ``rows``, columns as in ``results.TRIAL_COLUMNS``."""
        self._measured: dict[_Kind, deque[_Measured]] = {}
        self._probe_seconds: dict[tuple[str, str], deque[float]] = {}
        self._rates: dict[tuple[str, str, int], tuple[float, float]] = {}
        for row in rows:
            self.add(row)

    def add(self, row: Mapping[str, Any]) -> None:
        """Learn from one more row."""
        seconds = row["setup_seconds"] + row["train_seconds"] + row["evaluate_seconds"]
        if row["status"] == Status.FAILED or row["steps"] < 1 or not math.isfinite(seconds):
            return
        diverged = row["status"] == Status.DIVERGED
        kind = _Kind(row["workload"], row["optimizer"], row["batch_size"], diverged)
        step_seconds = (row["train_seconds"] + row["evaluate_seconds"]) / row["steps"]
        remembered = self._measured.setdefault(kind, deque(maxlen=REMEMBERED))
        remembered.append(_Measured(row["setup_seconds"], step_seconds))
        if row["probe_seconds"] > 0:
            key = (row["workload"], row["optimizer"])
            self._probe_seconds.setdefault(key, deque(maxlen=REMEMBERED)).append(row["probe_seconds"])
        self._rates.clear()

    def seconds(self, trial: PlannedTrial) -> float | None:
        """Return the seconds of ``trial``'s whole budget; ``None`` where nothing comparable is stored.

        That is the median set-up and, for each step, the median of trials at the same batch size, of the same optimiser
        where there are some. Else those at the nearest batch size stand in: a larger batch is taken to cost in
        proportion, a smaller one as much. Trials that diverged, whose few steps say little, count where there are no
        others. A probe run costs more by the median of what probes took in such runs, once there are some.
        """
        spec = trial.spec
        key = (spec.workload, spec.optimizer, spec.batch_size)
        if key not in self._rates:
            self._rates[key] = self._judge(*key)
        setup_seconds, step_seconds = self._rates[key]
        seconds = setup_seconds + trial.steps * step_seconds
        if trial.purpose == PROBE:
            seconds += self._judge_probes(spec.workload, spec.optimizer)
        return seconds if math.isfinite(seconds) else None

    def _judge_probes(self, workload: str, optimizer: str) -> float:
        known = {key: seconds for key, seconds in self._probe_seconds.items() if key[0] == workload}
        known = {key: seconds for key, seconds in known.items() if key[1] == optimizer} or known
        return median(value for seconds in known.values() for value in seconds) if known else 0.0

    def _judge(self, workload: str, optimizer: str, batch_size: int) -> tuple[float, float]:
        """Return the seconds of the set-up and of a step; NaN where nothing comparable is stored."""
        known = [kind for kind in self._measured if kind.workload == workload]
        if not known:
            return math.nan, math.nan
        nearest = min((kind.batch_size for kind in known), key=lambda size: abs(math.log(size / batch_size)))
        known = [kind for kind in known if kind.batch_size == nearest]
        known = [kind for kind in known if kind.optimizer == optimizer] or known
        known = [kind for kind in known if not kind.diverged] or known
        rows = [row for kind in known for row in self._measured[kind]]
        step_seconds = median(row.step_seconds for row in rows) * max(1.0, batch_size / nearest)
        return median(row.setup_seconds for row in rows), step_seconds
