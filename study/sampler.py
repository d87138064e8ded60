"""Hands Ray Tune the trials that are not stored yet, among them those that the results so far ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ray.tune.search import Searcher

from results.schema import canonical_json

from .design import Design, PlannedTrial, Rows


class MissingTrials(Searcher):
    """A Tune searcher over a design. ``rows`` is live: the recorder adds what it has stored.

    The stored rows are the only state, so Tune's own saving and restoring of searchers does nothing.
    """

    def __init__(self, design: Design, rows: Rows, *, settings: Callable[[PlannedTrial], Mapping[str, Any]]) -> None:
        """Begin with what ``rows`` lacks; ``settings`` adds what a worker needs beyond the specification."""
        super().__init__()
        self._design = design
        self._rows = rows
        self._settings = settings
        self._handed_out: dict[str, PlannedTrial] = {}
        self._missing: list[PlannedTrial] = []
        self._rows_seen = -1

    def planned(self, trial_id: str) -> PlannedTrial:
        """Return a trial that was handed out."""
        return self._handed_out[trial_id]

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]  # noqa: ARG002
        """Return the next trial, ``None`` while a running one may ask for more, or ``FINISHED``."""
        if self._rows_seen != len(self._rows):
            self._rows_seen = len(self._rows)
            self._missing = self._design.missing(self._rows)
        trial = next((trial for trial in self._missing if trial.trial_id not in self._handed_out), None)
        if trial is not None:
            self._handed_out[trial.trial_id] = trial
            spec = canonical_json(trial.spec.to_dict())
            return {"trial_id": trial.trial_id, "spec": spec, **self._settings(trial)}
        return None if self._missing else Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Do nothing: the recorder has stored the trial."""

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the stored rows are the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: the stored rows are the state."""
