"""The driver's side of a running study: every finished trial is stored at once, by this one writer."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from results import ResultStore

from .lane import PlannedTrial
from .outcomes import Outcomes
from .resolve import Arithmetic
from .rows import trial_row

COMPACT_TRIALS = 1000
COMPACT_SECONDS = 600.0
"""Parts are moved into tables after so many trials or so long, so that neither folders nor what a crash leaves grow."""


class Observer(Protocol):
    """What wants to know how the study goes on, such as a progress display."""

    def started(self, trial: PlannedTrial) -> None:
        """``trial`` began, perhaps once more."""

    def advanced(self, trial: PlannedTrial, step: int) -> None:
        """``trial`` has taken ``step`` steps."""

    def lost(self, trial: PlannedTrial) -> None:
        """The worker of ``trial`` is gone; it will begin once more."""

    def stored(self, row: Mapping[str, Any]) -> None:
        """A trial ended and ``row`` is stored."""

    def tick(self) -> None:
        """Some time has passed; called several times a second."""


class Listener(Protocol):
    """What hears of every stored trial with its curves. It raises nothing and takes no time."""

    def stored(self, row: Mapping[str, Any], points: Sequence[Mapping[str, Any]]) -> None:
        """A trial ended and ``row`` is stored with ``points`` (``results.CURVE_COLUMNS`` but the id)."""


class Recorder:
    """Turns what the crews tell into stored rows."""

    def __init__(
        self,
        *,
        store: ResultStore,
        outcomes: Outcomes,
        study: str,
        code_version: str,
        arithmetic: Arithmetic,
        observer: Observer,
        listener: Listener | None = None,
    ) -> None:
        """Write to ``store`` and, after that, to ``outcomes``."""
        self._store = store
        self._outcomes = outcomes
        self._study = study
        self._code_version = code_version
        self._arithmetic = arithmetic
        self._observer = observer
        self._listener = listener
        self._parts = 0
        self._compacted = time.monotonic()
        self.trials = 0
        """Trials stored."""
        self.train_seconds = 0.0
        """Time inside optimiser steps, over the trials stored."""

    def begun(self, trial: PlannedTrial) -> None:
        """Take note that ``trial`` began, perhaps once more."""
        self._observer.started(trial)

    def advanced(self, trial: PlannedTrial, step: int) -> None:
        """Take note that ``trial`` has taken ``step`` steps."""
        self._observer.advanced(trial, step)

    def lost(self, trial: PlannedTrial) -> None:
        """Take note that ``trial`` must begin once more."""
        self._observer.lost(trial)

    def ended(
        self,
        trial: PlannedTrial,
        outcome: Mapping[str, Any],
        points: Sequence[Mapping[str, Any]] = (),
        probes: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Store ``trial``.

        Args:
            trial: what was run.
            outcome: see ``trial_row``.
            points: rows of its curves, with ``results.CURVE_COLUMNS`` but the id.
            probes: rows of its probes, with ``results.PROBE_COLUMNS`` but the id.

        Raises:
            OSError: the storage refuses the row; the trial is not stored.
        """
        row = trial_row(
            trial,
            study=self._study,
            code_version=self._code_version,
            arithmetic=self._arithmetic[trial.sweep, trial.spec.batch_size],
            outcome=outcome,
        )
        self._store.append(row, points, probes)
        self._outcomes.add(row)
        self.trials += 1
        if row["train_seconds"] >= 0:  # NaN where a trial failed before it could tell
            self.train_seconds += row["train_seconds"]
        self._observer.stored(row)
        if self._listener is not None:
            self._listener.stored(row, points)
        self._compact_now_and_then()

    def _compact_now_and_then(self) -> None:
        self._parts += 1
        if self._parts >= COMPACT_TRIALS or time.monotonic() - self._compacted >= COMPACT_SECONDS:
            self._store.compact()
            self._parts, self._compacted = 0, time.monotonic()
