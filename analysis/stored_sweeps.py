"""The trials of stored studies as they are: their columns need no choice."""

from __future__ import annotations

import pandas as pd

from results import CURVE_COLUMNS

from .cells import OUTCOMES, Outcome
from .sources import RunTable
from .sweeps import SweepTable


def stored_sweeps(table: RunTable) -> SweepTable:
    """Return the trials of a stored study (``RunTable.outcomes`` is not empty), columns as in ``results``."""
    outcomes: dict[str, Outcome] = {
        sweep: next(known for known in OUTCOMES if known == outcome) for sweep, outcome in table.outcomes.items()
    }
    return SweepTable(trials=table.runs, groups=pd.DataFrame({"sweep": list(outcomes)}), outcomes=outcomes)


def stored_curves(table: RunTable) -> pd.DataFrame:
    """Return the curves of a stored study with the columns of ``results.CURVE_COLUMNS``; empty for other tables."""
    if not table.outcomes or table.curves is None:
        return pd.DataFrame({name: pd.Series(dtype=column.dtype) for name, column in CURVE_COLUMNS.items()})
    return table.curves.rename(columns={"run": "trial_id"})[list(CURVE_COLUMNS)]
