"""Failed trials: stored, fitted nowhere, and run again only when somebody asks."""

from __future__ import annotations

from results import ResultStore, Status

from .folder import stored_outcomes
from .outcomes import Outcomes


def outcomes_that_count(store: ResultStore, *, retry_failed: bool) -> Outcomes:
    """Return what is stored, without the trials that are to be run again.

    What is left out stays in the store until the trial has ended once more, so nothing is lost by stopping early.
    """
    outcomes = stored_outcomes(store)
    if not retry_failed:
        return outcomes
    return Outcomes.of({trial_id: row for trial_id, row in outcomes.items() if row["status"] != Status.FAILED})
