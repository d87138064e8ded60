"""Cells of a user's table as numbers: what can be read only one way is read, anything else is refused by row."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa

from .errors import TableError

_GROUPED = re.compile(
    r"[+-]?[1-9]\d{0,2}(?:(,\d{3}){2,}(?:\.\d*)?|(?:,\d{3})+\.\d*|(?:[_\u202f\u00a0 '’]\d{3})+(?:\.\d*)?)"
)
"""Thousands are grouped by one comma only where that can't be a decimal comma."""
_DIVERGED = frozenset({"", "nan", "-nan", "+nan", "none", "null", "na", "n/a", "<na>", "inf", "+inf", "-inf"}) | {
    "infinity",
    "+infinity",
    "-infinity",
    "diverged",
    "divergence",
    "#num!",
}


def to_numbers(cells: pd.Series, *, where: Callable[[int], str], what: str) -> np.ndarray:
    """Return the cells as floats.

    Args:
        cells: numbers, or text such as ``1e-3``, `` 0.001 `` or ``1,000,000``.
        where: position -> words for the row, for the message.
        what: the column in words, such as ``learning rate (column 'lr')``.

    Raises:
        TableError: a cell is no number; blank, ``nan`` and infinite ones are none.
    """
    values, bad = _parse(cells)
    bad |= ~np.isfinite(values)
    _refuse(cells, bad, where=where, rule=f"{what} must be a number")
    return values


def to_positive(cells: pd.Series, *, where: Callable[[int], str], what: str) -> np.ndarray:
    """Return the cells as floats above zero; see ``to_numbers``."""
    values = to_numbers(cells, where=where, what=what)
    _refuse(cells, values <= 0, where=where, rule=f"{what} must be above zero")
    return values


def to_losses(cells: pd.Series, *, where: Callable[[int], str], what: str) -> np.ndarray:
    """Return the cells as floats; blank, ``nan``, infinite and ``diverged`` ones are NaN.

    Raises:
        TableError: a cell is anything else than these and numbers.
    """
    values, bad = _parse(cells)
    if bad.any():
        words = cells[bad].astype(str).str.strip().str.lower().isin(_DIVERGED).to_numpy()
        bad[np.flatnonzero(bad)[words]] = False
    _refuse(cells, bad, where=where, rule=f"{what} must be a number, or nan where a run diverged")
    return np.where(np.isfinite(values), values, np.nan)


def blank_cells(cells: pd.Series) -> np.ndarray:
    """Return where nothing is written."""
    texts = cells.astype(str).str.strip()
    return (cells.isna() | texts.isna() | (texts == "")).to_numpy(dtype=bool)


def are_numbers(cells: pd.Series) -> bool:
    """Return whether every cell is a finite number."""
    values, bad = _parse(cells)
    return not bad.any() and bool(np.isfinite(values).all())


def _parse(cells: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Return floats (NaN where there is none) and where a cell is no number at all; NaN itself is one."""
    if pd.api.types.is_numeric_dtype(cells.dtype) and not pd.api.types.is_bool_dtype(cells.dtype):
        values = pd.to_numeric(cells).astype("Float64" if cells.hasnans else "float64")
        return values.to_numpy(dtype=float, na_value=np.nan), np.zeros(len(cells), dtype=bool)
    if isinstance(cells.dtype, pd.StringDtype):
        # What is plain throughout, as most columns are, needs no look at each cell.
        with contextlib.suppress(pa.ArrowInvalid):
            plain = pa.array(cells, pa.large_string(), from_pandas=True).cast(pa.float64())
            return plain.to_numpy(zero_copy_only=False), np.zeros(len(cells), dtype=bool)
    if cells.dtype == object:  # lists and the like can't be told apart by their hash
        cells = cells.map(lambda cell: cell if isinstance(cell, str | int | float | np.number) else str(cell))
    # Many rows have few distinct texts: each is parsed once.
    codes, distinct = pd.factorize(cells, use_na_sentinel=False)
    parsed = [_number(cell) for cell in np.asarray(distinct, dtype=object)]
    values = np.array([np.nan if value is None else value for value in parsed], dtype=float)[codes]
    bad = np.array([value is None for value in parsed], dtype=bool)[codes]
    return values, bad


def _number(cell: object) -> float | None:
    if isinstance(cell, bool | np.bool_):
        return None
    if isinstance(cell, int | float | np.integer | np.floating):
        return _float(cell)
    text = str(cell).strip()
    if _GROUPED.fullmatch(text):
        text = re.sub(r"[^\d.+-]", "", text)
    # Python takes 1_0 and the digits of other scripts; neither can be told from a slip.
    return _float(text) if text.isascii() and "_" not in text else None


def _float(value: object) -> float | None:
    try:
        return float(value)  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return None
    except OverflowError:
        return float("inf")


def _refuse(cells: pd.Series, bad: np.ndarray, *, where: Callable[[int], str], rule: str) -> None:
    if not bad.any():
        return
    position = int(np.argmax(bad))
    shown = repr(str(cells.iloc[position]))
    shown = shown if len(shown) <= 40 else f"{shown[:36]}…'"
    others = int(bad.sum()) - 1
    more = f" (and in {others:,} other{'s' if others != 1 else ''})" if others else ""
    raise TableError(f"{rule}, but {where(position)} has {shown}{more}; correct or drop it")
