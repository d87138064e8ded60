"""How uncertain a cell's score is: the spread over seeds where there are some, the roughness of the curve where not."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .law import Array

NEAREST = 5
"""Cells around the best one that decide the noise; far from the optimum curves are rougher and it does not matter."""
PRIOR_DEGREES = 4.0
"""Weight, in degrees of freedom, of the whole sweep's noise in that of one batch size."""


def cell_noise(cells: pd.DataFrame) -> dict[int, Array]:
    """Return the standard deviation of each measured cell's score, by batch size, for the cells of one sweep.

    A trial's variance is pooled over the cells near the optimum of its batch size and shrunk towards that of the sweep:
    two seeds alone say little. What remains after a local cubic through the same cells (it follows any smooth curve, so
    that only noise is left) is used where there is one seed, and wherever it is larger.

    Args:
        cells: rows of one sweep from ``tabulate_cells``.

    Returns:
        Batch size -> array over its measured cells in the order of the rates.
    """
    measured = cells[cells["status"] == "measured"]
    seed_sums: dict[int, tuple[float, float]] = {}
    rough_sums: dict[int, tuple[float, float]] = {}
    parts = {int(str(batch)): part.sort_values("learning_rate") for batch, part in measured.groupby("batch_size")}
    for batch, part in parts.items():
        near = _nearest(part)
        more = part.iloc[near]
        more = more[more["seeds"] > 1]
        degrees = (more["seeds"] - 1).to_numpy(dtype=float)
        seed_sums[batch] = (float(np.sum(degrees * more["spread"].to_numpy() ** 2)), float(degrees.sum()))
        rough_sums[batch] = _roughness(part.iloc[near])
    seed_variance = _shrunk(seed_sums)
    rough_variance = _shrunk(rough_sums)
    noise = {}
    for batch, part in parts.items():
        seeds = part["seeds"].to_numpy(dtype=float)
        noise[batch] = np.sqrt(np.maximum(seed_variance[batch] / seeds, rough_variance[batch]))
    return noise


def _nearest(part: pd.DataFrame) -> np.ndarray:
    best = int(np.argmin(part["score"].to_numpy()))
    first = int(np.clip(best - NEAREST // 2, 0, max(len(part) - NEAREST, 0)))
    return np.arange(first, min(first + NEAREST, len(part)))


def _roughness(part: pd.DataFrame) -> tuple[float, float]:
    """Return a local cubic's residual sum of squares (a parabola's for four cells) and its degrees of freedom."""
    if len(part) < 4:
        return 0.0, 0.0
    degree = min(3, len(part) - 2)
    x = np.log2(part["learning_rate"].to_numpy(dtype=float))
    y = part["score"].to_numpy(dtype=float)
    design = np.vander((x - x.mean()) / (np.ptp(x) / 2), degree + 1)
    residual = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    return float(residual @ residual), float(len(part) - degree - 1)


def _shrunk(sums: dict[int, tuple[float, float]]) -> dict[int, float]:
    """Return each batch size's variance, shrunk towards the pooled one; zero where nothing is known."""
    total, degrees = (sum(pair[i] for pair in sums.values()) for i in (0, 1))
    if degrees == 0:
        return dict.fromkeys(sums, 0.0)
    pooled = total / degrees
    return {batch: (own + PRIOR_DEGREES * pooled) / (count + PRIOR_DEGREES) for batch, (own, count) in sums.items()}
