"""The best learning rate of each batch size, with its interval and with draws that carry its uncertainty on."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from .batches import Batch, batches_of
from .cells import Outcome, from_score, tabulate_cells
from .intervals import TAIL, open_quantile
from .law import Array
from .local_quadratic import Vertices
from .windows import LocalMinimum, find_minima

OPTIMUM_COLUMNS = (
    "sweep",
    "batch_size",
    "learning_rate",  # the vertex if interior, else the best (or only bounding) rate of the grid
    "low",
    "high",
    "status",  # interior | edge_low | edge_high | unresolved
    "outcome",  # fitted outcome at the optimum, in its own unit; the best cell's at an edge
    "cells",  # cells that are not failed, diverged ones included
    "seeds",  # seeds of a usable cell, the fewest
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimumDraws:
    """Resampled optima of one sweep, so that uncertainty runs through the chain from cells to a law's parameters.

    Columns follow ``batch_size``, shape (n,); ``ln_rate``, ``side`` and ``score`` have shape (draws, n). ``side`` is 0
    for a measured optimum, -1 where it is at most the value, +1 where it is at least the value. Batch sizes without a
    resolved optimum hold NaN.
    """

    batch_size: Array
    ln_rate: Array
    side: Array
    score: Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optima:
    """Optima of all sweeps: ``table`` with ``OPTIMUM_COLUMNS``, and the draws behind it by sweep."""

    table: pd.DataFrame
    draws: Mapping[str, OptimumDraws]


def find_optima(trials: pd.DataFrame, *, outcome: Outcome, seed: int = 0, resamples: int = 200) -> pd.DataFrame:
    """Return the table of ``locate_optima`` for the trials' cells; see ``tabulate_cells`` for what can be wrong."""
    return locate_optima(tabulate_cells(trials, outcome=outcome), seed=seed, resamples=resamples).table


def locate_optima(cells: pd.DataFrame, *, seed: int = 0, resamples: int = 200) -> Optima:
    """Find the best rate of every sweep and batch size.

    The optimum is the vertex of a local parabola of the score against log2 rate, bent by the skew that the curves of a
    sweep share, in a window that they share too (``analysis/windows.py``). Its interval holds 95 % of draws in which
    the cells' noise, the skew and the error of the parabola vary, and what other windows say where they disagree beyond
    noise. The noise is pooled over cells and drawn from a distribution, because two or three seeds cannot be resampled
    honestly. A cell that diverged or missed its target next to the best one brackets the optimum: it is interior,
    somewhere up to that cell.

    Args:
        cells: from ``tabulate_cells``.
        seed: decides the draws; each batch size has its own stream, so that other rows do not move it.
        resamples: draws, at least 40.

    Raises:
        ValueError: for fewer than 40 resamples.
    """
    if resamples < 40:
        raise ValueError(f"resamples must be at least 40 for a 95 % interval, but got {resamples}")
    rows: list[dict[str, object]] = []
    draws = {}
    for sweep, part in cells.groupby("sweep", sort=True):
        batches = batches_of(part, seed=[seed, zlib.crc32(str(sweep).encode())], resamples=resamples)
        minima = iter(
            find_minima(
                [batch.curve for batch in batches if batch.curve is not None],
                rng=np.random.default_rng([seed, zlib.crc32(str(sweep).encode())]),
            )
        )
        stack = []
        for batch in batches:
            row, drawn = _optimum(batch, next(minima) if batch.curve is not None else None, resamples)
            names = {"sweep": sweep, "batch_size": batch.batch_size, "cells": batch.cells, "seeds": batch.seeds}
            rows.append(names | row)
            stack.append(drawn)
        draws[str(sweep)] = OptimumDraws(
            batch_size=np.array([batch.batch_size for batch in batches], dtype=float),
            ln_rate=np.stack([v.position for v in stack], axis=1) * np.log(2.0),
            side=np.stack([v.side for v in stack], axis=1),
            score=np.stack([v.score for v in stack], axis=1),
        )
    return Optima(table=pd.DataFrame(rows, columns=list(OPTIMUM_COLUMNS)), draws=draws)


def _optimum(batch: Batch, found: LocalMinimum | None, resamples: int) -> tuple[dict[str, Any], Vertices]:
    curve = batch.curve
    if curve is None or found is None:
        return _nothing_measured(batch.lowest_diverged, resamples)
    x, below, above = curve.x, curve.below, curve.above
    point, drawn = _settled(found.point, x, below, above), _settled(found.drawn, x, below, above)
    best = float(x[np.argmin(curve.scores[0])])
    row = _summary(float(point.position[0]), int(point.side[0]), best, drawn, below, above)
    if row["status"] == "unresolved":
        return {**row, "outcome": np.nan}, _unresolved(resamples)
    if row["status"] == "interior":
        # NaN, an open end, stays open.
        row["low"] = float(np.minimum(row["low"], 2.0**found.lowest))
        row["high"] = float(np.maximum(row["high"], 2.0**found.highest))
    return {**row, "outcome": float(from_score(point.score[0], batch.scale))}, drawn


def _settled(found: Vertices, x: Array, below: float | None, above: float | None) -> Vertices:
    """Open the side of a lone cell that no worse cell closes; two or more cells are decided by the curve itself."""
    if len(x) > 1 or (below is not None and above is not None):
        return found
    if below is None and above is None:
        return _unresolved(len(found.position))
    side = np.full_like(found.side, -1 if below is None else 1)
    return Vertices(position=np.full_like(found.position, x[0]), side=side, score=found.score)


def _summary(
    position: float, side: int, best: float, drawn: Vertices, below: float | None, above: float | None
) -> dict[str, Any]:
    """Return learning_rate, low, high and status (unresolved where the draws do not agree with the point)."""
    share_low, share_high = float(np.mean(drawn.side < 0)), float(np.mean(drawn.side > 0))
    lost = not np.isfinite(position) or not np.all(np.isfinite(drawn.position))
    torn = side == 0 and share_low + share_high > 0.5
    torn |= side < 0 and share_high > 0.25
    torn |= side > 0 and share_low > 0.25
    if lost or torn:
        return {"learning_rate": np.nan, "low": np.nan, "high": np.nan, "status": "unresolved"}
    low = open_quantile(np.where(drawn.side < 0, -np.inf, drawn.position), TAIL)
    high = open_quantile(np.where(drawn.side > 0, np.inf, drawn.position), 1.0 - TAIL)
    if side:
        bound = max(position, high) if side < 0 else min(position, low)
        if not np.isfinite(bound):  # too many draws lie at the other end: nothing is known
            return {"learning_rate": np.nan, "low": np.nan, "high": np.nan, "status": "unresolved"}
        ends = (np.nan, 2.0**bound) if side < 0 else (2.0**bound, np.nan)
        return {
            "learning_rate": 2.0**best,
            "low": ends[0],
            "high": ends[1],
            "status": "edge_low" if side < 0 else "edge_high",
        }
    low, high = min(low, position), max(high, position)
    if above is not None and position == best:
        high = above
    if below is not None and position == best:
        low = below
    return {
        "learning_rate": 2.0**position,
        "low": 2.0**low if np.isfinite(low) else np.nan,
        "high": 2.0**high if np.isfinite(high) else np.nan,
        "status": "interior",
    }


def _unresolved(draws: int) -> Vertices:
    nothing = np.full(draws, np.nan)
    return Vertices(position=nothing, side=np.zeros(draws), score=nothing)


def _nothing_measured(lowest_diverged: float | None, draws: int) -> tuple[dict[str, Any], Vertices]:
    """Describe a batch size without any usable cell: all diverged is a bound, all unreached is nothing."""
    if lowest_diverged is None:
        row = {"learning_rate": np.nan, "low": np.nan, "high": np.nan, "status": "unresolved", "outcome": np.nan}
        return row, _unresolved(draws)
    rate = 2.0**lowest_diverged
    return {"learning_rate": rate, "low": np.nan, "high": rate, "status": "edge_low", "outcome": np.nan}, Vertices(
        position=np.full(draws, lowest_diverged), side=np.full(draws, -1.0), score=np.full(draws, np.nan)
    )
