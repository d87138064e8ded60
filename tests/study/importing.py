"""The best rates of a study as our own importers see it where it was written to, beside those of its stored rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from analysis.columns import choose_columns
from analysis.sources import RunTable, read_source
from analysis.stored_sweeps import stored_curves, stored_sweeps
from analysis.study_analysis import analyse
from analysis.sweeps import SweepTable, loss_sweeps

CELLS = ["batch_size", "learning_rate", "status", "outcome"]


def optima(table: RunTable, *, groups: Sequence[str] = (), **given: str) -> pd.DataFrame:
    """Return what ``batchlaw fit`` finds in a table, with these columns named."""
    columns = choose_columns(
        table,
        given=given,
        roles=("batch_size", "learning_rate", "loss"),
        optional=("seed", "status", "steps", "run"),
        groups=groups,
    )
    return _analysed(table, loss_sweeps(table, columns))


def stored_optima(folder: Path, sweep: str) -> pd.DataFrame:
    """Return the best rates of one sweep of a folder of results."""
    table = read_source(folder)
    found = _analysed(table, stored_sweeps(table))
    return found[found["sweep"] == sweep]


def assert_same_optima(one: pd.DataFrame, other: pd.DataFrame) -> None:
    assert set(one["status"]) == {"interior"}
    pd.testing.assert_frame_equal(*(table[CELLS].reset_index(drop=True) for table in (one, other)))


def _analysed(table: RunTable, sweeps: SweepTable) -> pd.DataFrame:
    return analyse(sweeps.trials, stored_curves(table), outcomes=sweeps.outcomes, resamples=40).optima
