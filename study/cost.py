"""How long a trial will take, judged by those that are stored."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

from results import Status

from .design import PlannedTrial


class CostModel:
    """Seconds of one worker for a trial, from trials of the same workload. A guess, and never more than that."""

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Learn from ``rows``, columns as in ``results.TRIAL_COLUMNS``."""
        self._trial_seconds: dict[tuple[str, str, int], list[float]] = defaultdict(list)
        self._step_seconds: dict[tuple[str, int], list[float]] = defaultdict(list)
        for row in rows:
            seconds = row["train_seconds"] + row["evaluate_seconds"] + row["setup_seconds"]
            if not math.isfinite(seconds) or row["status"] == Status.FAILED or row["steps"] < 1:
                continue
            self._trial_seconds[row["workload"], row["optimizer"], row["batch_size"]].append(seconds)
            self._step_seconds[row["workload"], row["batch_size"]].append(seconds / row["steps"])

    def seconds(self, trial: PlannedTrial) -> float | None:
        """Return the seconds that ``trial`` is expected to take; ``None`` where nothing comparable is stored.

        Trials at the same batch size give their median. Else the nearest batch size of the workload gives the time of
        a step; a larger batch is taken to cost in proportion, a smaller one as much.
        """
        spec = trial.spec
        same = self._trial_seconds.get((spec.workload, spec.optimizer, spec.batch_size))
        if same:
            return median(same)
        sizes = [size for workload, size in self._step_seconds if workload == spec.workload]
        if not sizes:
            return None
        nearest = min(sizes, key=lambda size: abs(math.log(size / spec.batch_size)))
        step_seconds = median(self._step_seconds[spec.workload, nearest])
        return trial.steps * step_seconds * max(1.0, spec.batch_size / nearest)
