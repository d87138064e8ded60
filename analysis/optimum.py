"""The best learning rate of each batch size, with its interval and with draws that carry its uncertainty on."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping

import numpy as np
import pandas as pd

from .cells import Outcome, from_score, tabulate_cells
from .law import Array
from .local_quadratic import Vertices, find_vertices
from .noise import cell_noise

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
COVERAGE = 0.95
NOISE_HEIGHTS = 3.0
"""A cell joins the parabola's window if it is within this many standard deviations of the best one."""


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

    The optimum is the vertex of a local parabola of the score against log2 rate. Its interval holds 95 % of draws in
    which the cells' noise and the ends of the window vary; the noise is pooled over cells because two or three seeds
    cannot be resampled honestly. A cell that diverged or missed its target next to the best one brackets the optimum:
    it is interior, somewhere up to that cell.

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
        noise = cell_noise(part)
        batches = sorted(part["batch_size"].unique())
        stack = []
        for batch in batches:
            rng = np.random.default_rng([seed, zlib.crc32(str(sweep).encode()), int(batch)])
            cell_rows = part[part["batch_size"] == batch].sort_values("learning_rate")
            row, drawn = _one_batch(cell_rows, noise.get(int(batch)), rng, resamples)
            rows.append({"sweep": sweep, "batch_size": batch, **row})
            stack.append(drawn)
        draws[str(sweep)] = OptimumDraws(
            batch_size=np.array(batches, dtype=float),
            ln_rate=np.stack([v.position for v in stack], axis=1) * np.log(2.0),
            side=np.stack([v.side for v in stack], axis=1),
            score=np.stack([v.score for v in stack], axis=1),
        )
    return Optima(table=pd.DataFrame(rows, columns=list(OPTIMUM_COLUMNS)), draws=draws)


def _one_batch(
    cells: pd.DataFrame, noise: Array | None, rng: np.random.Generator, resamples: int
) -> tuple[dict[str, object], Vertices]:
    x_all = np.log2(cells["learning_rate"].to_numpy(dtype=float))
    status = cells["status"].to_numpy()
    score_all = cells["score"].to_numpy(dtype=float)
    measured = np.flatnonzero(status == "measured")
    counts = {"cells": len(cells), "seeds": int(cells["seeds"].min())}
    if not len(measured):
        return _nothing_measured(x_all, status, counts, resamples)
    assert noise is not None
    best = measured[np.argmin(score_all[measured])]
    worse = (status == "diverged") | ((status == "right_censored") & (score_all >= score_all[best]))
    over = np.flatnonzero(worse & (np.arange(len(x_all)) > best))
    under = np.flatnonzero((status == "right_censored") & worse & (np.arange(len(x_all)) < best))
    above = float(x_all[over[0]]) if len(over) else None
    below = float(x_all[under[-1]]) if len(under) else None
    keep = measured[
        (measured < (over[0] if len(over) else len(x_all))) & (measured > (under[-1] if len(under) else -1))
    ]
    sd = noise[np.isin(measured, keep)]
    x, scores = x_all[keep], score_all[keep][None, :]
    counts["seeds"] = int(cells["seeds"].to_numpy()[keep].min())
    height = NOISE_HEIGHTS * float(np.max(sd))
    point = _settled(find_vertices(x, scores, height=height, below=below, above=above), x, below, above)
    noisy = scores + sd * rng.standard_normal((resamples, len(x)))
    drawn = _settled(find_vertices(x, noisy, height=height, below=below, above=above, rng=rng), x, below, above)
    row = _summary(float(point.position[0]), int(point.side[0]), float(x_all[best]), drawn, below, above)
    if row["status"] == "unresolved":
        drawn = _unresolved(resamples)
        return {**row, "outcome": np.nan, **counts}, drawn
    outcome = float(from_score(point.score[0], str(cells["scale"].iloc[0])))
    return {**row, "outcome": outcome, **counts}, drawn


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
) -> dict[str, object]:
    """Return learning_rate, low, high and status (unresolved where the draws do not agree with the point)."""
    share_low, share_high = float(np.mean(drawn.side < 0)), float(np.mean(drawn.side > 0))
    lost = not np.isfinite(position) or not np.all(np.isfinite(drawn.position))
    torn = side == 0 and share_low + share_high > 0.5
    torn |= side < 0 and share_high > 0.25
    torn |= side > 0 and share_low > 0.25
    if lost or torn:
        return {"learning_rate": np.nan, "low": np.nan, "high": np.nan, "status": "unresolved"}
    tail = (1.0 - COVERAGE) / 2.0
    low = _quantile(np.where(drawn.side < 0, -np.inf, drawn.position), tail)
    high = _quantile(np.where(drawn.side > 0, np.inf, drawn.position), 1.0 - tail)
    if side:
        bound = max(position, high) if side < 0 else min(position, low)
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


def _quantile(values: Array, level: float) -> float:
    """Return a quantile of values that may be infinite, without interpolating between them."""
    ordered = np.sort(values)
    return float(ordered[round(level * (len(ordered) - 1))])


def _unresolved(draws: int) -> Vertices:
    nothing = np.full(draws, np.nan)
    return Vertices(position=nothing, side=np.zeros(draws), score=nothing)


def _nothing_measured(
    x: Array, status: np.ndarray, counts: dict[str, int], resamples: int
) -> tuple[dict[str, object], Vertices]:
    """Describe a batch size without any usable cell: all diverged is a bound, all unreached is nothing."""
    if len(x) and np.all(status == "diverged"):
        row = {"learning_rate": 2.0 ** x[0], "low": np.nan, "high": 2.0 ** x[0], "status": "edge_low"}
        drawn = Vertices(
            position=np.full(resamples, x[0]),
            side=np.full(resamples, -1),
            score=np.full(resamples, np.nan),
        )
    else:
        row = {"learning_rate": np.nan, "low": np.nan, "high": np.nan, "status": "unresolved"}
        drawn = _unresolved(resamples)
    return {**row, "outcome": np.nan, **counts}, drawn
