"""Maximum likelihood of a law given observations, for one data set or for all of a bootstrap's at once."""

from __future__ import annotations

from typing import Any

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

FINER = np.geomspace(0.7, 1.4, 15)
"""The ladder around the best of them."""

FEW = 4
"""Starting points that are followed through every extra scatter."""

QUICK: dict[str, Any] = {"iterations": 15, "tolerance": 1e-5, "central": False}
"""How a minimum is searched that need not be known well: a draw's, as draws differ by more, or a start's."""

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

    Every starting point is searched without extra scatter, quickly; the best few then with every scatter of a ladder,
    quickly too; what is best of all is searched to the end on a finer ladder.
    """
    observed = seen.ln_rate[None], seen.side[None], seen.sd[None]
    points, cost = _search(law, seen.ln_batch, *observed, _starts(law, seen), box, quick=True)
    few = points[np.argsort(np.where(np.isfinite(cost), cost, np.inf), kind="stable")[:FEW]]
    point, scatter, _ = _best_of(law, seen, few, EXTRA_SCATTER, box, quick=True)
    return _best_of(law, seen, point[None, :], scatter * FINER if scatter > 0 else np.zeros(1), box)


def unbiased_scatter(law: Law, seen: Observations, point: Array) -> tuple[float, int]:
    """Return the extra scatter with which the law's chi-square equals its degrees of freedom, and these.

    The likelihood's own scatter is too small by what the law's parameters took up (Paule and Mandel 1982). Zero where
    the intervals explain all, and where no degree of freedom is left.
    """
    measured = seen.measured
    degrees = int(measured.sum()) - len(law.parameters)
    if degrees < 1:
        return 0.0, 0
    residual = (law.ln_rate(seen.ln_batch, law.from_coordinates(point)) - seen.ln_rate)[measured] ** 2
    ladder = np.concatenate([[0.0], np.geomspace(1e-3, 1e2, 400)])
    chi_square = np.sum(residual / (seen.sd[measured] ** 2 + ladder[:, None] ** 2), axis=1)
    return float(np.interp(-degrees, -chi_square, ladder, left=0.0)), degrees


def fit_fixed(law: Law, seen: Observations, scatter: float, box: Box) -> Array:
    """Return the best coordinates, shape (k,), for a given extra scatter, good to about three digits."""
    return _best_of(law, seen, _starts(law, seen), np.array([scatter]), box, quick=True)[0]


def fit_draws(
    law: Law, seen: Observations, ln_rate: Array, side: Array, *, start: Array, scatter: float, box: Box
) -> Array:
    """Return the best coordinates of every draw, shape (draws, k).

    Each draw is searched from whichever of the law's starting points, brought to its level, or the point fit lies
    nearest to it.

    Args:
        law: what to fit.
        seen: gives the batch sizes and the weights.
        ln_rate: optima (or bounds) of the draws, shape (draws, n); NaN is not used.
        side: as in ``Observations``, shape (draws, n).
        start: the point fit, shape (k,).
        scatter: extra scatter.
        box: from ``search_box``.
    """
    sd = np.sqrt(seen.sd**2 + scatter**2)
    starts = np.vstack([start, np.clip(_starts(law, seen), *box), _at_walls(start, box)])
    weight = np.where(np.isfinite(ln_rate) & (side == 0), 1.0 / sd**2, 0.0)
    y = np.where(np.isfinite(ln_rate), ln_rate, 0.0)
    curves = law.ln_rate(seen.ln_batch, law.from_coordinates(starts))
    total = np.maximum(weight.sum(axis=1, keepdims=True), 1e-300)
    # sum w (y - curve - level)^2 with the best level, for all draws and starts at once
    level = ((weight * y).sum(axis=1, keepdims=True) - weight @ curves.T) / total
    misfit = weight @ np.square(curves).T - 2.0 * (weight * y) @ curves.T - total * level**2
    nearest = np.argmin(misfit, axis=1)
    begin = starts[nearest].copy()
    begin[:, 0] += np.where(weight.any(axis=1), level[np.arange(len(level)), nearest], 0.0)
    sds = np.broadcast_to(sd, ln_rate.shape)
    return _search(law, seen.ln_batch, ln_rate, side, sds, begin, box, quick=True)[0]


def _at_walls(point: Array, box: Box) -> Array:
    """Return the point with one coordinate at a time moved to either wall: where draws without a bound end."""
    moved = [
        np.where(np.arange(len(point)) == i, wall[i], point)
        for i in range(len(point))
        for wall in box
        if np.isfinite(wall[i])
    ]
    return np.array(moved).reshape(-1, len(point))


def _starts(law: Law, seen: Observations) -> Array:
    which = seen.measured if seen.measured.any() else np.ones(len(seen.side), dtype=bool)
    return law.to_coordinates(law.guess(seen.ln_batch[which], seen.ln_rate[which]))


def ln_likelihood(difference: Array, side: Array, sd: Array) -> Array:
    """Return the ln likelihood of (prediction - observation), shape (..., n), summed over observations."""
    residual = bounded_residual(difference / sd, side)
    normaliser = np.where(side == 0, np.log(sd) + 0.5 * np.log(2 * np.pi), 0.0)
    return -np.sum(0.5 * residual**2 + normaliser, axis=-1)


def _best_of(
    law: Law, seen: Observations, starts: Array, scatters: Array, box: Box, *, quick: bool = False
) -> tuple[Array, float, float]:
    scatter = np.repeat(scatters, len(starts))
    sd = np.sqrt(seen.sd**2 + scatter[:, None] ** 2)
    target = np.broadcast_to(seen.ln_rate, sd.shape)
    side = np.broadcast_to(seen.side, sd.shape)
    point, _ = _search(law, seen.ln_batch, target, side, sd, np.tile(starts, (len(scatters), 1)), box, quick=quick)
    prediction = law.ln_rate(seen.ln_batch, law.from_coordinates(point))
    value = ln_likelihood(prediction - target, side, sd)
    best = int(np.argmax(np.where(np.isfinite(value), value, -np.inf)))
    return point[best], float(scatter[best]), float(value[best])


def _search(
    law: Law,
    ln_batch: Array,
    target: Array,
    side: Array,
    sd: Array,
    starts: Array,
    box: Box,
    *,
    quick: bool = False,
) -> tuple[Array, Array]:
    shape = (len(starts), len(ln_batch))
    used = np.broadcast_to(np.isfinite(target), shape)
    # An observation that is not used has the weight 0.
    weight = np.broadcast_to(np.where(used, 1.0 / sd, 0.0), shape)
    weighted = np.broadcast_to(np.where(used, target, 0.0) / sd, shape)
    side = np.broadcast_to(side, shape)
    bounds = bool(np.any(side))

    def residuals(coordinates: Array, problems: np.ndarray) -> Array:
        prediction = law.ln_rate(ln_batch, law.from_coordinates(coordinates))
        difference = prediction * weight[problems] - weighted[problems]
        if not bounds:
            return difference
        return np.where(used[problems], bounded_residual(difference, side[problems]), 0.0)

    return minimise(residuals, starts, lower=box[0], upper=box[1], **(QUICK if quick else {}))
