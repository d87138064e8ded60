"""Maximum likelihood of a law given observations, for one data set or for all of a bootstrap's at once."""

from __future__ import annotations

import numpy as np

from .law import Array, Law
from .least_squares import bounded_residual, minimise
from .observations import Observations

BATCH_REACH = 1e3
"""A batch-size parameter further than this factor from the grid is not bounded by the data."""
RATE_REACH = 20.0
"""A rate parameter further than this factor from the best rates seen is not bounded by the data."""
EXTRA_SCATTER = np.concatenate([[0.0], np.geomspace(0.02, 2.0, 14)])
"""Scatter in ln rate beyond the intervals, tried in every fit."""

Box = tuple[Array, Array]


def search_box(law: Law, seen: Observations) -> Box:
    """Return the lowest and highest coordinates, shape (k,) each, that the search may reach."""
    batch = (np.exp(seen.ln_batch.min()) / BATCH_REACH, np.exp(seen.ln_batch.max()) * BATCH_REACH)
    ends = []
    for parameter in law.parameters:
        if parameter.reach == "batch_size":
            ends.append(parameter.to_coordinate(batch))
        elif parameter.reach == "shape":
            ends.append(np.log(parameter.shape_limits))
        else:
            ends.append(np.array([-np.inf, np.inf]))
    low, high = np.array(ends, dtype=float).T
    return low, high


def fit_point(law: Law, seen: Observations, box: Box) -> tuple[Array, float, float]:
    """Return the best coordinates, shape (k,), the extra scatter and the ln likelihood.

    Every starting point is fitted with every extra scatter of a ladder; the best pair is refined on a finer ladder.
    """
    guess = seen.ln_rate[seen.measured] if seen.measured.any() else seen.ln_rate
    at = seen.ln_batch[seen.measured] if seen.measured.any() else seen.ln_batch
    starts = law.to_coordinates(law.guess(at, guess))
    point, scatter, best = _best_of(law, seen, starts, EXTRA_SCATTER, box)
    if scatter > 0:
        point, scatter, best = _best_of(law, seen, point[None, :], scatter * np.geomspace(0.7, 1.4, 15), box)
    return point, scatter, best


def fit_fixed(law: Law, seen: Observations, scatter: float, box: Box) -> Array:
    """Return the best coordinates, shape (k,), for a given extra scatter."""
    starts = law.to_coordinates(law.guess(seen.ln_batch, seen.ln_rate))
    return _best_of(law, seen, starts, np.array([scatter]), box)[0]


def fit_draws(
    law: Law, seen: Observations, ln_rate: Array, side: Array, *, start: Array, scatter: float, box: Box
) -> Array:
    """Return the best coordinates of every draw, shape (draws, k).

    Args:
        law: what to fit.
        seen: gives the batch sizes and the weights.
        ln_rate: optima (or bounds) of the draws, shape (draws, n); NaN is not used.
        side: as in ``Observations``, shape (draws, n).
        start: the point fit, shape (k,); a few of the law's own starting points are tried beside it.
        scatter: extra scatter.
        box: from ``search_box``.
    """
    guesses = law.to_coordinates(law.guess(seen.ln_batch, seen.ln_rate))
    starts = np.vstack([start, guesses[:: max(1, len(guesses) // 4)]])
    draws, count = len(ln_rate), len(starts)
    sd = np.broadcast_to(np.sqrt(seen.sd**2 + scatter**2), (draws * count, len(seen.sd)))
    target, sides = np.repeat(ln_rate, count, axis=0), np.repeat(side, count, axis=0)
    point, cost = _search(law, seen.ln_batch, target, sides, sd, np.tile(starts, (draws, 1)), box)
    cost = np.where(np.isfinite(cost), cost, np.inf).reshape(draws, count)
    return point.reshape(draws, count, -1)[np.arange(draws), np.argmin(cost, axis=1)]


def ln_likelihood(difference: Array, side: Array, sd: Array) -> Array:
    """Return the ln likelihood of (prediction - observation), shape (..., n), summed over observations."""
    residual = bounded_residual(difference / sd, side)
    normaliser = np.where(side == 0, np.log(sd) + 0.5 * np.log(2 * np.pi), 0.0)
    return -np.sum(0.5 * residual**2 + normaliser, axis=-1)


def _best_of(law: Law, seen: Observations, starts: Array, scatters: Array, box: Box) -> tuple[Array, float, float]:
    scatter = np.repeat(scatters, len(starts))
    sd = np.sqrt(seen.sd**2 + scatter[:, None] ** 2)
    target = np.broadcast_to(seen.ln_rate, sd.shape)
    side = np.broadcast_to(seen.side, sd.shape)
    point, _ = _search(law, seen.ln_batch, target, side, sd, np.tile(starts, (len(scatters), 1)), box)
    prediction = law.ln_rate(seen.ln_batch, law.from_coordinates(point))
    value = ln_likelihood(prediction - target, side, sd)
    best = int(np.argmax(np.where(np.isfinite(value), value, -np.inf)))
    return point[best], float(scatter[best]), float(value[best])


def _search(
    law: Law, ln_batch: Array, target: Array, side: Array, sd: Array, starts: Array, box: Box
) -> tuple[Array, Array]:
    used = np.isfinite(target)
    safe = np.where(used, target, 0.0)

    def residuals(coordinates: Array, problems: np.ndarray) -> Array:
        prediction = law.ln_rate(ln_batch, law.from_coordinates(coordinates))
        residual = bounded_residual((prediction - safe[problems]) / sd[problems], side[problems])
        return np.where(used[problems], residual, 0.0)

    return minimise(residuals, starts, lower=box[0], upper=box[1])
