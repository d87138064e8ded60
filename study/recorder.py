"""The driver's side of a running study: every finished trial is stored at once, by this one writer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from ray import tune
from ray.tune.experiment import Trial

from results import ResultStore

from .design import PlannedTrial
from .lost_worker import cause_of_loss
from .resolve import Arithmetic
from .rows import failed, trial_row


class Observer(Protocol):
    """What wants to know how the study goes on, such as a progress display."""

    def started(self, trial: PlannedTrial) -> None:
        """``trial`` began, perhaps once more."""

    def advanced(self, trial: PlannedTrial, step: int) -> None:
        """``trial`` has taken ``step`` steps."""

    def stored(self, row: Mapping[str, Any]) -> None:
        """A trial ended and ``row`` is stored."""

    def tick(self) -> None:
        """Some time has passed; called several times a second."""


class Recorder(tune.Callback):
    """Turns the reports of Ray's trials into stored rows."""

    def __init__(
        self,
        *,
        store: ResultStore,
        rows: dict[str, Mapping[str, Any]],
        planned: Callable[[str], PlannedTrial],
        study: str,
        code_version: str,
        arithmetic: Arithmetic,
        observer: Observer,
    ) -> None:
        """Write to ``store`` and, after that, to ``rows``, which the sampler reads; ``planned`` finds a trial by id."""
        self._store = store
        self._rows = rows
        self._planned = planned
        self._study = study
        self._code_version = code_version
        self._arithmetic = arithmetic
        self._observer = observer
        self._points: dict[str, list[Mapping[str, Any]]] = {}
        self._probes: dict[str, list[Mapping[str, Any]]] = {}
        self.storage_error: OSError | None = None
        """Set when the storage refuses a row; the study must stop."""

    def __getstate__(self) -> dict[str, Any]:
        """Keep nothing: Ray pickles its callbacks for a restore that is never asked for."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:  # noqa: ARG002
        """Forget what an earlier attempt at the trial reported."""
        planned = self._trial(trial)
        self._points[planned.trial_id], self._probes[planned.trial_id] = [], []
        self._observer.started(planned)

    def on_trial_result(
        self,
        iteration: int,  # noqa: ARG002
        trials: list[Trial],  # noqa: ARG002
        trial: Trial,
        result: dict[str, Any],
        **info: Any,  # noqa: ARG002
    ) -> None:
        """Collect rows of curves and probes; at the end, store."""
        planned = self._trial(trial)
        # Ray keeps the last result of every trial for as long as the study runs.
        self._points[planned.trial_id] += result.pop("points", ())
        self._probes[planned.trial_id] += result.pop("probes", ())
        outcome = result.pop("outcome", None)
        if outcome is None:
            self._observer.advanced(planned, result["step"])
        else:
            self._end(planned, outcome)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:  # noqa: ARG002
        """Store a trial whose actor was lost more often than is retried."""
        self._end(self._trial(trial), failed(_cause(trial)))

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:  # noqa: ARG002
        """Let the display move."""
        self._observer.tick()

    def _trial(self, trial: Trial) -> PlannedTrial:
        return self._planned(trial.config["trial_id"])

    def _end(self, trial: PlannedTrial, outcome: Mapping[str, Any]) -> None:
        row = trial_row(
            trial,
            study=self._study,
            code_version=self._code_version,
            arithmetic=self._arithmetic[trial.sweep, trial.spec.batch_size],
            outcome=outcome,
        )
        try:
            self._store.append(row, self._points.pop(trial.trial_id, ()), self._probes.pop(trial.trial_id, ()))
        except OSError as error:
            # Raised here it would be taken for a failure of the trial. The launcher stops the study and raises it.
            self.storage_error = error
            return
        self._rows[trial.trial_id] = row
        self._observer.stored(row)


def _cause(trial: Trial) -> str:
    """Return why Ray gave ``trial`` up, as type and first line."""
    path = trial.error_file  # on this machine; Tune's own accessor looks in the experiment's storage
    return cause_of_loss(None if path is None else Path(path))
