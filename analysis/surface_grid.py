"""From cells to what a surface is fitted to: which cells count, with which bounds, and what seeds say of the noise."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
from scipy.stats import chi2
from scipy.stats import f as f_distribution

from .law import Array
from .noise import PRIOR_DEGREES
from .surface_model import Grid

SIGNIFICANT = 0.05
UNEQUAL = 0.01
"""Level at which batch sizes are believed to differ in noise: small differences cost little, estimated weights more."""
FEWEST_CELLS = 3
"""Batch sizes with fewer measured cells are left out: their own lowest score takes one, their rate the second."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SurfaceData:
    """A sweep's ``grid``, and what seeds say of its noise.

    ``seed_square`` is the sum of squares of trials' scores around their cells, ``seed_degrees`` its degrees of freedom,
    both by batch size, shape (n,).
    """

    grid: Grid
    seed_square: Array
    seed_degrees: Array

    @property
    def depth(self) -> float:
        """How far the scores of a typical batch size spread."""
        there = self.grid.precision > 0
        top = np.max(np.where(there, self.grid.score, -np.inf), axis=1)
        return float(np.median(top - np.min(np.where(there, self.grid.score, np.inf), axis=1)))

    def noise(self, square: float, degrees: float) -> tuple[float, float]:
        """Return the variance of one trial's score and its degrees of freedom, from residuals and seeds.

        The two are pooled, unless the residuals are significantly the larger: then the shape misfits or seeds share
        what disturbs a cell, and the residuals alone are to be believed.

        Args:
            square: weighted sum of squared residuals of a fit.
            degrees: of freedom left to them.
        """
        own, own_degrees = float(self.seed_square.sum()), float(self.seed_degrees.sum())
        if own <= 0 or own_degrees <= 0:
            return square / degrees, degrees
        ratio = (square / degrees) / (own / own_degrees)
        if ratio > f_distribution.ppf(1.0 - SIGNIFICANT, degrees, own_degrees):
            return square / degrees, degrees
        return (square + own) / (degrees + own_degrees), degrees + own_degrees

    def reweighted(self, residual_square: Array, degrees: Array) -> SurfaceData:
        """Return the data with each batch size's own precision if its noise is significantly its own, else unchanged.

        Variances are compared by Bartlett's test and shrunk towards the common one.

        Args:
            residual_square: weighted sums of squared residuals by batch size, shape (n,).
            degrees: of freedom left to them, shape (n,).
        """
        square, count = residual_square + self.seed_square, degrees + self.seed_degrees
        told = count > 0
        if told.sum() < 2 or square.sum() <= 0:
            return self
        variance = np.maximum(square[told], 1e-6 * square.sum()) / count[told]
        pooled, total = float(square[told].sum() / count[told].sum()), float(count[told].sum())
        spread = total * np.log(pooled) - float(np.sum(count[told] * np.log(variance)))
        corrected = spread / (1.0 + (np.sum(1.0 / count[told]) - 1.0 / total) / (3.0 * (told.sum() - 1)))
        if chi2.sf(corrected, told.sum() - 1) > UNEQUAL:
            return self
        shrunk = (square + PRIOR_DEGREES * pooled) / (count + PRIOR_DEGREES)
        relative = pooled / shrunk
        return SurfaceData(
            grid=dataclasses.replace(self.grid, precision=self.grid.precision * relative[:, None]),
            seed_square=self.seed_square * relative,
            seed_degrees=self.seed_degrees,
        )


def surface_data(cells: pd.DataFrame) -> SurfaceData | None:
    """Return the measured cells of one sweep as a grid, or None if no batch size has enough.

    Of cells that missed the target, the one next to the measured cells on either side is kept as a bound: others lie
    further from the ridge and say less. Of cells that diverged, the lowest above the best cell bounds the ridge; what
    is measured beyond it is left out.

    Args:
        cells: rows of one sweep from ``tabulate_cells``.
    """
    rows, seeds = [], []
    for batch, part in cells.groupby("batch_size", sort=True):
        row = _row(part.sort_values("learning_rate"))
        if row is None:
            continue
        rows.append((np.log(float(str(batch))), *row))
        more = part[(part["status"] == "measured") & (part["seeds"] > 1)]
        degrees = more["seeds"].to_numpy(dtype=float) - 1.0
        seeds.append((float(np.sum(degrees * more["spread"].to_numpy(dtype=float) ** 2)), float(degrees.sum())))
    if not rows:
        return None
    width = max(len(row[1]) for row in rows)
    grid = Grid(
        ln_batch=np.array([row[0] for row in rows]),
        ln_rate=np.stack([_padded(row[1], width, row[1][-1]) for row in rows]),
        score=np.stack([_padded(row[2], width, 0.0) for row in rows]),
        precision=np.stack([_padded(row[3], width, 0.0) for row in rows]),
        floor_ln_rate=np.stack([row[4] for row in rows]),
        floor=np.stack([row[5] for row in rows]),
        ceiling=np.array([row[6] for row in rows]),
    )
    square, degrees = np.array(seeds).T
    return SurfaceData(grid=grid, seed_square=square, seed_degrees=degrees)


def packed(grid: Grid, inside: np.ndarray) -> tuple[Grid, np.ndarray]:
    """Return the grid without the columns that no cell of ``inside``, shape (..., n, m), uses, and the cells' places.

    The places, shape (n, new m), index a row of the old grid.
    """
    used = inside.reshape(-1, *inside.shape[-2:]).any(axis=0)
    order = np.argsort(~used, axis=1, kind="stable")[:, : int(used.sum(axis=1).max())]

    def taken(values: Array) -> Array:
        return np.take_along_axis(values, order, axis=1)

    return dataclasses.replace(
        grid, ln_rate=taken(grid.ln_rate), score=taken(grid.score), precision=taken(grid.precision)
    ), order


def _row(part: pd.DataFrame) -> tuple[Array, Array, Array, Array, Array, float] | None:
    x = np.log(part["learning_rate"].to_numpy(dtype=float))
    score = part["score"].to_numpy(dtype=float)
    seeds = part["seeds"].to_numpy(dtype=float)
    status = part["status"].to_numpy()
    measured = np.flatnonzero(status == "measured")
    if len(measured) < FEWEST_CELLS:
        return None
    best = measured[np.argmin(score[measured])]
    diverged = np.flatnonzero((status == "diverged") & (np.arange(len(x)) > best))
    ceiling = float(x[diverged[0]]) if len(diverged) else np.inf
    measured = measured[x[measured] < ceiling]
    if len(measured) < FEWEST_CELLS:
        return None
    places, floors = np.full(2, x[best]), np.full(2, -np.inf)
    missed = np.flatnonzero((status == "right_censored") & (x < ceiling))
    for side, near in ((0, missed[missed < measured[0]][-1:]), (1, missed[missed > measured[-1]][:1])):
        if len(near):
            places[side], floors[side] = x[near[0]], score[near[0]]
    return x[measured], score[measured], seeds[measured], places, floors, ceiling


def _padded(values: Array, width: int, filler: float) -> Array:
    return np.concatenate([values, np.full(width - len(values), filler)])
