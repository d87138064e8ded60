"""How long a trial will take, judged by those that are stored."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

from results import PROBE, Status

from .design import PlannedTrial


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Measured:
    """One stored trial: seconds before the first step, and seconds a step with its share of the evaluations."""

    workload: str
    optimizer: str
    batch_size: int
    diverged: bool
    setup_seconds: float
    step_seconds: float
    probe_seconds: float


class CostModel:
    """Seconds of one worker for a trial, from trials of the same workload. A guess, and never more than that."""

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Learn from ``rows``, columns as in ``results.TRIAL_COLUMNS``."""
        self._measured = [
            _Measured(
                workload=row["workload"],
                optimizer=row["optimizer"],
                batch_size=row["batch_size"],
                diverged=row["status"] == Status.DIVERGED,
                setup_seconds=row["setup_seconds"],
                step_seconds=(row["train_seconds"] + row["evaluate_seconds"]) / row["steps"],
                probe_seconds=row["probe_seconds"],
            )
            for row in rows
            if row["status"] != Status.FAILED
            and row["steps"] >= 1
            and math.isfinite(row["setup_seconds"] + row["train_seconds"] + row["evaluate_seconds"])
        ]
        self._rates: dict[tuple[str, str, int], tuple[float, float]] = {}

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
            seconds += self._probe_seconds(spec.workload, spec.optimizer)
        return seconds if math.isfinite(seconds) else None

    def _probe_seconds(self, workload: str, optimizer: str) -> float:
        known = [row for row in self._measured if row.workload == workload and row.probe_seconds > 0]
        known = [row for row in known if row.optimizer == optimizer] or known
        return median(row.probe_seconds for row in known) if known else 0.0

    def _judge(self, workload: str, optimizer: str, batch_size: int) -> tuple[float, float]:
        """Return the seconds of the set-up and of a step; NaN where nothing comparable is stored."""
        known = [row for row in self._measured if row.workload == workload]
        if not known:
            return math.nan, math.nan
        nearest = min((row.batch_size for row in known), key=lambda size: abs(math.log(size / batch_size)))
        known = [row for row in known if row.batch_size == nearest]
        known = [row for row in known if row.optimizer == optimizer] or known
        known = [row for row in known if not row.diverged] or known
        step_seconds = median(row.step_seconds for row in known) * max(1.0, batch_size / nearest)
        return median(row.setup_seconds for row in known), step_seconds
