"""Raw rows of probes, sorted into probe points: one run, one step, one scope, and the draws behind each quantity."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping

import numpy as np
import pandas as pd

from .law import Array

PROBE_COLUMNS = ("step", "examples", "name", "scope", "batch_size", "rate", "draw", "total", "count")
ALL = "all"
"""The scope of the whole model; any other one is a parameter tensor's name."""
LINE_LOSS = "line_loss"

Key = tuple[str, float, float]
"""Name of a raw quantity, batch size in examples (0 where none was drawn), and rate (0 for all but ``line_loss``)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Draws:
    """Values of one quantity, shape (k,), and the number of the draw behind each, ascending."""

    number: Array
    value: Array

    def __len__(self) -> int:
        return len(self.value)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProbePoint:
    """What was drawn at one step of one run for one scope.

    Attributes:
        trial_id: the run; empty where the rows name none.
        step: optimiser steps taken before.
        examples: examples seen before.
        scope: ``all`` or a parameter tensor's name.
        series: raw quantity -> its value in every draw.
    """

    trial_id: str
    step: int
    examples: int
    scope: str
    series: Mapping[Key, Draws]

    def batch_sizes(self, name: str) -> list[float]:
        """Return the batch sizes at which a quantity was measured, ascending."""
        return sorted({key[1] for key in self.series if key[0] == name})

    def rates(self, batch_size: float) -> list[float]:
        """Return the rates of ``line_loss`` at a batch size, ascending."""
        return sorted({key[2] for key in self.series if key[:2] == (LINE_LOSS, batch_size)})


def read_points(rows: pd.DataFrame) -> list[ProbePoint]:
    """Sort raw rows into probe points, in the order of run, step and scope (``all`` first).

    A value is total / count. Rows that agree in all else, as those of several workers, are added up first. A row
    without a finite value is left out, so that its quantity has a draw less; a ``line_loss`` that is not finite is
    kept as infinite, because a rate at which the loss diverges is known to be too large.

    Args:
        rows: with ``PROBE_COLUMNS``, and ``trial_id`` where they come from several runs.

    Raises:
        ValueError: for rows without one of the columns.
    """
    absent = [name for name in PROBE_COLUMNS if name not in rows.columns]
    if len(rows) and absent:
        raise ValueError(f"rows of probes need the columns {', '.join(PROBE_COLUMNS)}, but lack {', '.join(absent)}")
    if not len(rows):
        return []
    table = _cleaned(rows)
    if not len(table):
        return []
    points = []
    for part in _runs_of_equal(table, ["trial_id", "step", "scope"]):
        first = part.iloc[0]
        names, sizes, rates, numbers, values = (
            part[name].to_numpy() for name in ("name", "batch_size", "rate", "draw", "value")
        )
        starts = np.flatnonzero(part["starts"].to_numpy())
        points.append(
            ProbePoint(
                trial_id=str(first["trial_id"]),
                step=int(first["step"]),
                examples=int(part["examples"].max()),
                scope=str(first["scope"]),
                series={
                    (str(names[a]), float(sizes[a]), float(rates[a])): Draws(number=numbers[a:b], value=values[a:b])
                    for a, b in itertools.pairwise([*starts, len(part)])
                },
            )
        )
    return sorted(points, key=lambda point: (point.trial_id, point.step, point.scope != ALL, point.scope))


def _runs_of_equal(table: pd.DataFrame, names: list[str]) -> list[pd.DataFrame]:
    """Cut a sorted table where one of the columns changes."""
    changes = _changes(table, names)
    return [table.iloc[a:b] for a, b in itertools.pairwise([*np.flatnonzero(changes), len(table)])]


def _changes(table: pd.DataFrame, names: list[str]) -> np.ndarray:
    """Return in which rows one of the columns differs from the row before, the first row included."""
    changes = np.zeros(len(table), dtype=bool)
    changes[:1] = True
    for name in names:
        values = table[name].to_numpy()
        changes[1:] |= values[1:] != values[:-1]
    return changes


def _cleaned(rows: pd.DataFrame) -> pd.DataFrame:
    table = pd.DataFrame({"trial_id": rows["trial_id"].astype(str) if "trial_id" in rows.columns else ""}, rows.index)
    for name in ("name", "scope"):
        table[name] = rows[name].astype(str)
    for name in ("step", "examples", "batch_size", "rate", "draw", "total", "count"):
        table[name] = pd.to_numeric(rows[name], errors="coerce").astype(float)
    is_line = table["name"] == LINE_LOSS
    table["rate"] = table["rate"].where(is_line, 0.0)
    known = np.isfinite(table[["step", "batch_size", "rate", "draw", "count"]]).all(axis=1)
    table = table[known & (table["count"] > 0) & (table["batch_size"] >= 0)].copy()
    table["examples"] = table["examples"].fillna(0.0)
    is_line = table["name"] == LINE_LOSS
    table["total"] = table["total"].mask(is_line & ~np.isfinite(table["total"]), np.inf)
    table = table[np.isfinite(table["total"]) | is_line]
    keys = ["trial_id", "step", "scope", "name", "batch_size", "rate", "draw"]
    table = table.groupby(keys, sort=True).agg({"examples": "max", "total": "sum", "count": "sum"}).reset_index()
    return table.assign(value=table["total"] / table["count"], starts=_changes(table, keys[:-1]))
