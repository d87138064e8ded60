"""How uncertain a cell's score is: the spread over seeds, and the roughness of the curve."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from .law import Array

NEAREST = 5
"""Cells around the best one that decide the noise; far from the optimum curves are rougher and it does not matter."""
PRIOR_DEGREES = 4.0
"""Weight, in degrees of freedom, of the whole sweep's noise in that of one batch size."""
ENOUGH_DEGREES = 4
"""Degrees of freedom over seeds with which a sweep needs no other estimate of its noise."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CellNoise:
    """Noise of one batch size's measured cells.

    ``sd`` is the standard deviation of each cell's score in the order of the rates, shape (m,); ``degrees`` are the
    degrees of freedom behind it, of which ``own`` are of this batch size alone; 0 where nothing is known and ``sd`` is
    zero.
    """

    sd: Array
    degrees: float
    own: float


def cell_noise(cells: pd.DataFrame) -> dict[float, CellNoise]:
    """Return the noise of each batch size for the cells of one sweep.

    The variance over seeds is pooled over the cells near the optimum of each batch size and shrunk towards that of the
    sweep, as two seeds alone say little. Where there are too few seeds, the noise is what remains after a local cubic
    through the same cells: it follows any smooth curve that the grid resolves.

    Args:
        cells: rows of one sweep from ``tabulate_cells``.
    """
    measured = cells[cells["status"] == "measured"].sort_values("learning_rate")
    parts = {float(str(batch)): part for batch, part in measured.groupby("batch_size")}
    seeds = {batch: part["seeds"].to_numpy(dtype=float) for batch, part in parts.items()}
    pairs = {batch: _seed_sum(part, seeds[batch]) for batch, part in parts.items()}
    if sum(degrees for _, degrees in pairs.values()) < ENOUGH_DEGREES:
        pairs = {batch: _roughness(part, seeds[batch]) for batch, part in parts.items()}
    total, degrees = (sum(pair[i] for pair in pairs.values()) for i in (0, 1))
    noise = {}
    for batch, (own, count) in pairs.items():
        prior = min(PRIOR_DEGREES, degrees)
        known = count + prior
        variance = (own + prior * total / degrees) / known if known else 0.0
        noise[batch] = CellNoise(sd=np.sqrt(variance / seeds[batch]), degrees=known, own=count)
    return noise


def _nearest(part: pd.DataFrame) -> slice:
    best = int(np.argmin(part["score"].to_numpy()))
    first = int(np.clip(best - NEAREST // 2, 0, max(len(part) - NEAREST, 0)))
    return slice(first, first + NEAREST)


def _seed_sum(part: pd.DataFrame, seeds: Array) -> tuple[float, float]:
    near = _nearest(part)
    degrees = seeds[near] - 1.0
    spread = part["spread"].to_numpy(dtype=float)[near]
    return float(np.sum(np.where(degrees > 0, degrees * spread**2, 0.0))), float(degrees.sum())


def _roughness(part: pd.DataFrame, seeds: Array) -> tuple[float, float]:
    """Return a local cubic's weighted sum of squares (a parabola's for four cells) and its degrees of freedom."""
    if len(part) < 4:
        return 0.0, 0.0
    near = _nearest(part)
    x = np.log2(part["learning_rate"].to_numpy(dtype=float)[near])
    y = part["score"].to_numpy(dtype=float)[near]
    degree = min(3, len(x) - 2)
    weight = np.sqrt(seeds[near])
    design = np.vander((x - x.mean()) / (np.ptp(x) / 2), degree + 1) * weight[:, None]
    residual = weight * y - design @ np.linalg.lstsq(design, weight * y, rcond=None)[0]
    return float(residual @ residual), float(len(x) - degree - 1)
