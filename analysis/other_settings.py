"""Settings that were varied along with batch size and rate without being named as groups."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from .columns import ROLES, Columns, listed, usual_name
from .metric_mode import guess_mode
from .sources import RunTable

MOST_VALUES = 50
"""A column of more values is taken to be a result rather than a setting."""


def other_settings(table: RunTable, columns: Columns, work: pd.DataFrame) -> list[str]:
    """Return a sentence that names the columns in which runs of one cell differ as settings do; else nothing.

    Args:
        table: the runs.
        columns: what is used already.
        work: sweep, batch_size, learning_rate, and ``position``: the place of each run in the table.
    """
    cell = work.groupby(["sweep", "batch_size", "learning_rate"], sort=False, dropna=False).ngroup().to_numpy()
    cells = len(np.unique(cell))
    if cells == len(work):
        return []
    used = {*columns.by_role.values(), *columns.groups}
    runs = table.runs.iloc[work["position"].to_numpy()]
    found = []
    for name in table.names:
        if name in used or name == "run" or guess_mode(usual_name(name)) is not None or _plays_a_role(name):
            continue
        codes = pd.factorize(runs[name].astype(str))[0]
        values = codes.max(initial=-1) + 1
        if 2 <= values <= min(MOST_VALUES, len(work) // 4):
            pairs = len(np.unique(cell * np.int64(values + 1) + codes))
            if pairs > cells:
                found.append(name)
    if not found:
        return []
    return [
        f"Runs of one batch size and rate also differ in {listed(found, most=5)}: if that is a setting, name it by "
        "--group, so that each of its values has a law of its own."
    ]


def _plays_a_role(name: str) -> bool:
    return any(re.fullmatch(rank, usual_name(name)) for role in ("seed", "steps", "run") for rank in ROLES[role].ranks)
