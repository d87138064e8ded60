"""One sweep for each combination of the group columns' values."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd

from .errors import TableError
from .numbers import are_numbers, to_numbers

ALL = "all"
"""Label of the one sweep of a table without groups."""
_BLANK = "(blank)"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grouping:
    """``sweep``: the label of each run, shape (n,); ``table``: ``sweep`` and the group columns, one row a sweep."""

    sweep: np.ndarray
    table: pd.DataFrame


def group_runs(runs: pd.DataFrame, groups: Sequence[str]) -> Grouping:
    """Return the sweep of each run, such as ``N=1e+08, D=2e+09``; sweeps are sorted by the groups' values.

    A column of numbers alone is grouped by number (1e8 and 100000000 are one group), any other by its text.
    """
    if not groups:
        return Grouping(sweep=np.full(len(runs), ALL, dtype=object), table=pd.DataFrame({"sweep": [ALL]}))
    if "sweep" in groups and len(groups) > 1:
        raise TableError("a group column beside others can't be called 'sweep', which names them all; rename it")
    keys = pd.DataFrame({name: _key(runs[name]) for name in groups}).reset_index(drop=True)
    by = keys.groupby(list(groups), sort=True, dropna=False)
    number = by.ngroup().to_numpy()
    firsts = pd.Series(number).drop_duplicates()
    table = keys.loc[firsts.index].set_axis(firsts.to_numpy()).sort_index()
    if list(groups) == ["sweep"]:
        labels = _unique([_shown(value) for value in table["sweep"]])
        table = pd.DataFrame({"sweep": labels})
    else:
        rows = table.to_numpy(dtype=object)
        labels = _unique([", ".join(f"{n}={_shown(v)}" for n, v in zip(groups, row, strict=True)) for row in rows])
        table.insert(0, "sweep", labels)
    return Grouping(sweep=np.array(labels, dtype=object)[number], table=table.reset_index(drop=True))


def _key(cells: pd.Series) -> pd.Series:
    if not are_numbers(cells):
        return cells.astype(str).str.strip().fillna("")
    values = to_numbers(cells, where=str, what="group")
    whole = np.all(values == np.round(values)) and np.all(np.abs(values) < 2**53)
    return pd.Series(values.astype(np.int64) if whole else values)


def _shown(value: object) -> str:
    if isinstance(value, str):
        return value or _BLANK
    number = float(value)  # type: ignore[arg-type]
    short = f"{number:.6g}"
    # Six digits unless they tell a lie: two groups must not get one label.
    return short if float(short) == number else repr(value if isinstance(value, int) else number)


def _unique(labels: list[str]) -> list[str]:
    """Number the labels that text with commas in it made equal."""
    seen: dict[str, int] = {}
    result = []
    for label in labels:
        seen[label] = seen.get(label, 0) + 1
        result.append(label if seen[label] == 1 else f"{label} ({seen[label]})")
    return result
