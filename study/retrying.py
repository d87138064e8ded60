"""Failed trials: stored, fitted nowhere, and run again only when somebody asks."""

from __future__ import annotations

from results import ResultStore, Status

from .design import Rows
from .folder import stored_rows


def rows_that_count(store: ResultStore, *, retry_failed: bool) -> Rows:
    """Return the stored rows by trial id, without those that are to be run again.

    What is left out stays in the store until the trial has ended once more, so nothing is lost by stopping early.
    """
    rows = stored_rows(store)
    if not retry_failed:
        return rows
    return {trial_id: row for trial_id, row in rows.items() if row["status"] != Status.FAILED}
