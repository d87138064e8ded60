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
from .outcomes import Outcomes


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

    def __init__(self, design: Design, outcomes: Outcomes) -> None:
        """Begin with what is stored already. ``outcomes`` may be shared with who adds to it what is stored later."""
        self._design = design
        self._outcomes = outcomes
        self._cost = CostModel(outcomes.values())
        self._running: dict[str, tuple[PlannedTrial, float]] = {}
        self._most_running = 1

    def started(self, trial: PlannedTrial) -> None:
        """Count ``trial`` as running."""
        self._running[trial.trial_id] = (trial, 0.0)
        self._most_running = max(self._most_running, len(self._running))

    def advanced(self, trial: PlannedTrial, step: int) -> None:
        """Note how far a running trial is."""
        self._running[trial.trial_id] = (trial, min(1.0, step / max(trial.steps, 1.0)))

    def lost(self, trial: PlannedTrial) -> None:
        """Count ``trial`` as waiting: its worker is gone."""
        self._running.pop(trial.trial_id, None)

    def stored(self, row: Mapping[str, Any]) -> None:
        """Count a trial as ended."""
        self._running.pop(row["trial_id"], None)
        self._outcomes.add(row)
        self._cost.add(row)

    def snapshot(self) -> Snapshot:
        """Return the numbers of this moment."""
        found = [(lane, *lane.missing(self._outcomes)) for lane in self._design.lanes]
        total = sum(trials for _, trials, _ in found)
        return Snapshot(
            trials=total,
            stored=total - sum(len(places) for _, _, places in found),
            running=len(self._running),
            # Trials of one lane cost the same, and a probe run waits alone.
            seconds_left=self._seconds_left([(lane.at(places[0]), len(places)) for lane, _, places in found if places]),
            batches=tuple(
                batch_progress(sweep, batch_size, self._outcomes)
                for sweep in self._design.sweeps
                for batch_size in sweep.lanes
            ),
        )

    def _seconds_left(self, missing: list[tuple[PlannedTrial, int]]) -> float | None:
        """Return seconds for ``missing``: trials, each with how many there are of its kind."""
        done = ((trial, -share) for trial, share in self._running.values())
        total = 0.0
        for trial, count in (*missing, *done):
            seconds = self._cost.seconds(trial)
            if seconds is None:
                return None
            total += seconds * count
        return total / self._most_running


def batch_progress(sweep: SweepDesign, batch_size: int, rows: Mapping[str, Mapping[str, Any]]) -> BatchProgress:
    """Return where one batch size of a sweep stands; cells count with the seeds that are stored."""
    best_rate, best = None, math.inf
    trials = stored = diverged = failed = 0
    lane = sweep.lanes[batch_size]
    for index in lane.span(rows):
        ids = [lane.trial_id(index, seed) for seed in sweep.sweep.seeds]
        cell = [rows[trial_id] for trial_id in ids if trial_id in rows]
        trials += len(ids)
        stored += len(cell)
        diverged += sum(row["status"] == Status.DIVERGED for row in cell)
        failed += sum(row["status"] == Status.FAILED for row in cell)
        score = score_cell(cell, outcome=sweep.sweep.outcome, mode=str(sweep.sweep.target.mode)).score
        if score < best:
            best_rate, best = lane.lattice.rate(index), score
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
