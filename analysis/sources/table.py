"""Runs as a source holds them, before anyone says what a column means."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ..errors import TableError

CURVE_COLUMNS = ("run", "step", "name", "value")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunTable:
    """One row a run, or one row a measurement where a file holds whole curves.

    Attributes:
        runs: the source's own column names, cells as the source holds them (text for text files), and the column
            ``run``: an id as text, unique but in files whose own column ``run`` repeats.
        origin: what was read, in words, such as ``CSV file x.csv, 1,234 rows``.
        load_curves: reads the measurements along the runs, with ``CURVE_COLUMNS``; None for a source without any.
        row_numbers: row of each run in its file, as an editor counts; None where rows have no number.
        notes: sentences about what was left out in reading.
        directions: objective columns that the source itself declares -> ``min`` or ``max``.
        outcomes: for stored studies: sweep -> the outcome that decides which rate is best; empty otherwise.
        run_is_own: whether the source has a column ``run`` itself, which may then mean anything.
    """

    runs: pd.DataFrame
    origin: str
    load_curves: Callable[[], pd.DataFrame] | None = None
    row_numbers: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    directions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    outcomes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    run_is_own: bool = False

    @functools.cached_property
    def curves(self) -> pd.DataFrame | None:
        """Measurements along the runs (``CURVE_COLUMNS``), read when first asked for; None where there are none."""
        return None if self.load_curves is None else self.load_curves()

    @property
    def names(self) -> list[str]:
        """The source's own columns."""
        return [str(name) for name in self.runs.columns if name != "run" or self.run_is_own]

    def where(self, position: int) -> str:
        """Return the words for the run at ``position`` in ``runs``, such as ``row 12``."""
        if self.row_numbers is not None:
            return f"row {self.row_numbers[position]}"
        return f"run {self.runs['run'].iloc[position]}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """A kind of place that holds runs.

    Attributes:
        name: one word.
        summary: what a user would call it.
        matches: whether a location is of this kind; looks, but does not read.
        read: location and the name of a study (None: the only one) -> the runs. Raises ``TableError`` or ``OSError``.
        takes_study: whether the name of a study means something there.
    """

    name: str
    summary: str
    matches: Callable[[str], bool]
    read: Callable[[str, str | None], RunTable]
    takes_study: bool = False


def file_table(
    runs: pd.DataFrame,
    *,
    origin: str,
    row_numbers: np.ndarray,
    notes: Sequence[str] = (),
    load_curves: Callable[[], pd.DataFrame] | None = None,
) -> RunTable:
    """Return the table of a file's rows: rows that repeat another in every column are dropped, and noted.

    Raises:
        TableError: for a table without rows.
    """
    if runs.empty:
        raise TableError(f"a table needs a row for each run, but {origin} has none")
    repeated = runs.astype(str).duplicated().to_numpy()
    notes = list(notes)
    if repeated.any():
        count = int(repeated.sum())
        first = int(row_numbers[int(np.argmax(repeated))])
        rows = "1 row repeats" if count == 1 else f"{count:,} rows repeat"
        notes.append(f"{rows} an earlier one in every column (first: row {first}); each is counted once.")
        runs, row_numbers = runs[~repeated], row_numbers[~repeated]
    runs = runs.reset_index(drop=True)
    own = "run" in runs.columns
    runs = runs.assign(run=runs["run"].astype(str) if own else pd.Series(row_numbers).astype(str))
    return RunTable(
        runs=runs, origin=origin, row_numbers=row_numbers, notes=tuple(notes), load_curves=load_curves, run_is_own=own
    )


def shown_path(location: str) -> str:
    """Return a path's last part, for words."""
    return Path(location).name or location


def plural(count: int, one: str, many: str | None = None) -> str:
    """Return ``1 run``, ``2,000 runs``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
