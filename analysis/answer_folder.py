"""What a folder of results says: the cells and the fewest steps that its answer was computed from."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from .cells import CELL_COLUMNS, OUTCOMES
from .errors import TableError
from .grouping import group_runs
from .tradeoff import STEP_COLUMNS, STEP_STATUSES

_CELL_STATUSES = {"measured", "right_censored", "diverged"}
_NOISE = {"ln_sd": "", "degrees": "0"}
"""Columns that tables of earlier versions lack, and what they hold where nothing is known of the noise."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnswerFolder:
    """Tables by sweep: ``cells`` (``CELL_COLUMNS``) and ``steps`` (``STEP_COLUMNS``), each without rows if not there.

    ``groups`` has the column sweep and the group columns, one row a sweep, as text.
    """

    path: Path
    cells: pd.DataFrame
    steps: pd.DataFrame
    groups: pd.DataFrame

    def sweeps(self) -> list[str]:
        """Return the sweeps in their order."""
        return list(self.groups["sweep"])


def read_answer_folder(folder: Path) -> AnswerFolder:
    """Read the tables of a study's folder, or of a folder that ``batchlaw fit`` or ``tradeoff`` wrote.

    Raises:
        TableError: for a folder without these tables, or tables that are damaged.
    """
    if not folder.is_dir():
        raise TableError(f"{folder}: no such folder; give a study's folder, or one made by 'batchlaw fit TABLE --out'")
    place = folder / "tables" if (folder / "tables").is_dir() else folder
    cells = _read(place / "cells.csv", CELL_COLUMNS)
    steps = _read(place / "steps.csv", STEP_COLUMNS)
    if cells is None and steps is None:
        study = (folder / "study.yaml").is_file()
        way = f"'batchlaw report {folder}' makes them" if study else "'batchlaw fit TABLE --out' makes such a folder"
        raise TableError(f"{folder}: holds no cells.csv or steps.csv to answer from; {way}")
    known = [table for table in (cells, steps) if table is not None]
    groups = pd.concat([groups for _, groups in known]).drop_duplicates("sweep").reset_index(drop=True)
    return AnswerFolder(
        path=folder,
        cells=pd.DataFrame(columns=list(CELL_COLUMNS)) if cells is None else _checked_cells(cells[0], place),
        steps=pd.DataFrame(columns=list(STEP_COLUMNS)) if steps is None else _checked_steps(steps[0], place),
        groups=groups,
    )


def _read(path: Path, columns: tuple[str, ...]) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """Return a table with its column sweep, and its groups; None without the file."""
    if not path.is_file():
        return None
    try:
        text = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except (ValueError, pd.errors.ParserError) as error:
        raise TableError(f"{path}: is no table in CSV form: {' '.join(str(error).split())}") from error
    text = text.assign(**{name: blank for name, blank in _NOISE.items() if name in columns and name not in text})
    own = [name for name in columns if name != "sweep"]
    missing = [name for name in own if name not in text.columns]
    if missing:
        raise TableError(f"{path}: needs the columns {', '.join(own)}, but {', '.join(missing)} are missing")
    names = [name for name in text.columns if name not in own]
    if names == ["sweep"]:
        return text, text[["sweep"]].drop_duplicates()
    # Labels seed the draws, so they are made as they were for the table that these cells came from.
    grouping = group_runs(text, names)
    groups = text[names].assign(sweep=grouping.sweep).drop_duplicates("sweep")
    return text[own].assign(sweep=grouping.sweep), groups


def _checked_cells(text: pd.DataFrame, place: Path) -> pd.DataFrame:
    path = place / "cells.csv"
    _require(path, "status", set(text["status"]), _CELL_STATUSES)
    _require(path, "outcome_name", set(text["outcome_name"]), set(OUTCOMES))
    _require(path, "scale", set(text["scale"]), {"log", "log_shortfall", "raw", "raw_negated"})
    numbers = _numbers(path, text, ("batch_size", "learning_rate", "outcome", "score", "spread", "seeds"))
    table = text.assign(**numbers)[list(CELL_COLUMNS)]
    _require_positive(path, table, ("batch_size", "learning_rate", "seeds"))
    whole = [name for name in ("batch_size", "seeds") if (table[name] == table[name].round()).all()]
    table = table.astype(dict.fromkeys(whole, "int64"))
    lost = (table["status"] != "diverged") & ~np.isfinite(table["score"])
    if lost.any():
        raise TableError(
            f"{path}: a cell that did not diverge needs a score, but line {_line(table.index[lost])} has none"
        )
    return table


def _checked_steps(text: pd.DataFrame, place: Path) -> pd.DataFrame:
    path = place / "steps.csv"
    _require(path, "status", set(text["status"]), set(STEP_STATUSES))
    names = ("batch_size", "steps", "low", "high", "examples", "ln_sd", "degrees")
    table = text.assign(**_numbers(path, text, names))[list(STEP_COLUMNS)]
    _require_positive(path, table, ("batch_size",))
    _require_positive(path, table[table["status"].isin(["measured", "at_most", "at_least"])], ("steps",))
    return table


def _numbers(path: Path, text: pd.DataFrame, names: tuple[str, ...]) -> dict[str, pd.Series]:
    numbers = {}
    for name in names:
        try:
            # Python reads a number exactly as it was written, to the last bit: the draws depend on it.
            numbers[name] = pd.Series(
                [float(cell) if cell else np.nan for cell in text[name]], index=text.index, dtype=float
            )
        except ValueError as error:
            raise TableError(f"{path}: the column {name} holds numbers, but {error}") from error
    return numbers


def _require(path: Path, name: str, found: set[str], allowed: set[str]) -> None:
    if not found <= allowed:
        raise TableError(f"{path}: {name} must be one of {sorted(allowed)}, but got {sorted(found - allowed)[:3]}")


def _require_positive(path: Path, table: pd.DataFrame, names: tuple[str, ...]) -> None:
    for name in names:
        values = table[name].to_numpy(dtype=float)
        wrong = ~(np.isfinite(values) & (values > 0))
        if wrong.any():
            line, value = _line(table.index[wrong]), values[wrong][0]
            raise TableError(f"{path}: {name} must be positive and finite, but line {line} has {value:g}")


def _line(index: pd.Index) -> int:
    return int(index[0]) + 2
