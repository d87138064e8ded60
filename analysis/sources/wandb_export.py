"""What the W&B client exports: columns that hold whole dictionaries as text."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from ..errors import TableError
from .nested import flatten

COLUMNS = ("config", "summary")
"""Columns of the API's export (``run.config`` and ``run.summary`` of every run, stringified)."""
_MOST_CHARACTERS = 1_000_000


def spread_dictionaries(runs: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the runs with every dictionary column of ``COLUMNS`` spread over columns such as ``config.lr``.

    A column is spread if each of its cells is blank or a dictionary, written as JSON or as Python's literals; text is
    parsed and never run. Nested keys are joined by dots. Other columns stay as they are.
    """
    notes = []
    for name in COLUMNS:
        if name not in runs.columns:
            continue
        parsed = [_dictionary(cell) for cell in runs[name]]
        if any(cells is None for cells in parsed) or not any(parsed):
            continue
        flat = pd.DataFrame([flatten(cells or {}, prefix=name, separator=".") for cells in parsed], index=runs.index)
        taken = [column for column in flat.columns if column in runs.columns]
        if taken:
            raise TableError(f"the column {name} holds {taken[0]!r}, which is a column too; rename one")
        # Text, as in any other column of the file.
        texts = flat.apply(lambda cells: cells.map(_text)).astype("str")
        runs = pd.concat([runs.drop(columns=name), texts], axis=1)
        notes.append(f"The column {name} holds dictionaries; their entries are read as {name}.<key>.")
    return runs, notes


def _dictionary(cell: str) -> Mapping[str, Any] | None:
    """Return the dictionary that a cell writes, an empty one for a blank cell, None for anything else."""
    text = str(cell).strip()
    if not text:
        return {}
    if not text.startswith("{") or len(text) > _MOST_CHARACTERS:
        return None
    for parse in (json.loads, ast.literal_eval):
        try:
            found = parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
        return found if isinstance(found, Mapping) else None
    # Python writes NaN as nan, which is no literal; as a summary's value it is the sign of a diverged run.
    return _dictionary_with_nan(text)


def _dictionary_with_nan(text: str) -> Mapping[str, Any] | None:
    try:
        tree = ast.parse(text, mode="eval")
        tree = ast.fix_missing_locations(_NamedNumbers().visit(tree))
        found = ast.literal_eval(tree)
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return None
    return found if isinstance(found, Mapping) else None


class _NamedNumbers(ast.NodeTransformer):
    def visit_Name(self, node: ast.Name) -> ast.expr:
        number = {"nan": float("nan"), "inf": float("inf")}.get(node.id)
        return node if number is None else ast.Constant(value=number)


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return ""
    return value if isinstance(value, str) else repr(value) if isinstance(value, float) else str(value)
