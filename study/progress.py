"""What there is to say about a study while it runs: numbers only, drawn by ``display``."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from results import Status

from .cost import CostModel
from .design import Design, PlannedTrial, SweepDesign
from .extension import score_cell


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchProgress:
    """One batch size of one sweep."""

    sweep: str
    outcome: str
    batch_size: int
    trials: int
    stored: int
    diverged: int
    failed: int
    best_rate: float | None
    """The best rate so far; ``None`` while no cell has a score."""
    best_outcome: float | None
    """Its mean steps to the target, or its mean value at the budget."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The whole study at one moment."""

    trials: int
    stored: int
    running: int
    seconds_left: float | None
    """``None`` while nothing comparable has been measured."""
    batches: tuple[BatchProgress, ...]

    @property
    def waiting(self) -> int:
        """Trials that have not begun."""
        return self.trials - self.stored - self.running

    @property
    def diverged(self) -> int:
        """Stored trials that diverged."""
        return sum(batch.diverged for batch in self.batches)

    @property
    def failed(self) -> int:
        """Stored trials that failed."""
        return sum(batch.failed for batch in self.batches)


class Progress:
    """Follows a study; an ``Observer`` of the recorder."""

    def __init__(self, design: Design, rows: Mapping[str, Mapping[str, Any]]) -> None:
        """Begin with the rows that are stored already."""
        self._design = design
        self._rows = dict(rows)
        self._running: dict[str, float] = {}
        self._most_running = 1

    def started(self, trial: PlannedTrial) -> None:
        """Count ``trial`` as running."""
        self._running[trial.trial_id] = 0.0
        self._most_running = max(self._most_running, len(self._running))

    def advanced(self, trial: PlannedTrial, step: int) -> None:
        """Note how far a running trial is."""
        self._running[trial.trial_id] = min(1.0, step / max(trial.steps, 1.0))

    def stored(self, row: Mapping[str, Any]) -> None:
        """Count a trial as ended."""
        self._running.pop(row["trial_id"], None)
        self._rows[row["trial_id"]] = row

    def snapshot(self) -> Snapshot:
        """Return the numbers of this moment."""
        trials = self._design.trials(self._rows)
        return Snapshot(
            trials=len(trials),
            stored=sum(trial.trial_id in self._rows for trial in trials),
            running=len(self._running),
            seconds_left=self._seconds_left(trials),
            batches=tuple(
                batch_progress(sweep, batch_size, self._rows)
                for sweep in self._design.sweeps
                for batch_size in sweep.lattices
            ),
        )

    def _seconds_left(self, trials: list[PlannedTrial]) -> float | None:
        cost = CostModel(self._rows.values())
        total = 0.0
        for trial in trials:
            if trial.trial_id in self._rows:
                continue
            seconds = cost.seconds(trial)
            if seconds is None:
                return None
            total += seconds * (1.0 - self._running.get(trial.trial_id, 0.0))
        return total / self._most_running


def batch_progress(sweep: SweepDesign, batch_size: int, rows: Mapping[str, Mapping[str, Any]]) -> BatchProgress:
    """Return where one batch size of a sweep stands; cells count with the seeds that are stored."""
    best_rate, best = None, math.inf
    trials = stored = diverged = failed = 0
    for index in sweep.span(batch_size, rows):
        ids = [sweep.trial(batch_size, index, seed).trial_id for seed in sweep.sweep.seeds]
        cell = [rows[trial_id] for trial_id in ids if trial_id in rows]
        trials += len(ids)
        stored += len(cell)
        diverged += sum(row["status"] == Status.DIVERGED for row in cell)
        failed += sum(row["status"] == Status.FAILED for row in cell)
        score = score_cell(cell, outcome=sweep.sweep.outcome, mode=str(sweep.sweep.target.mode)).score
        if score < best:
            best_rate, best = sweep.lattices[batch_size].rate(index), score
    negated = sweep.sweep.outcome == "value_at_budget" and sweep.sweep.target.mode == "max"
    return BatchProgress(
        sweep=sweep.name,
        outcome=sweep.sweep.outcome,
        batch_size=batch_size,
        trials=trials,
        stored=stored,
        diverged=diverged,
        failed=failed,
        best_rate=best_rate,
        best_outcome=None if best_rate is None else (-best if negated else best),
    )
