"""Many small nonlinear least-squares problems at once: bounded Levenberg-Marquardt, vectorised over problems.

A bootstrap fits the same law hundreds of times. The problems are tiny (up to three parameters), so a loop over them
would be all overhead; here each step is done for every problem together.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import log_ndtr

from .law import Array

Residuals = Callable[[Array, np.ndarray], Array]
"""Coordinates, shape (..., m, k), of the problems with these indices, shape (m,) -> residuals, shape (..., m, n)."""


def minimise(
    residuals: Residuals,
    start: Array,
    *,
    lower: Array,
    upper: Array,
    iterations: int = 80,
    tolerance: float = 1e-12,
    central: bool = True,
) -> tuple[Array, Array]:
    """Minimise half the sum of squared residuals of every problem inside a box.

    Args:
        residuals: function of the coordinates of some of the problems.
        start: shape (problems, k); clipped into the box.
        lower: shape (k,), may hold -inf.
        upper: shape (k,), may hold inf.
        iterations: steps at most.
        tolerance: a problem is done when a step is shorter than this, or gains less than this share of its cost.
        central: central differences; one-sided ones are nearly twice as fast and reach about seven digits.

    Returns:
        Coordinates, shape (problems, k), and cost, shape (problems,): nan or inf where the start had no finite cost.
    """
    point = np.clip(np.asarray(start, dtype=float), lower, upper)
    current = residuals(point, np.arange(len(point)))
    cost = _half_square(current)
    damping = np.full(len(point), 1e-3)
    open_ = np.flatnonzero(np.isfinite(cost) & (cost > 0))
    for _ in range(iterations):
        if not len(open_):
            break
        here = point[open_]
        slopes = _slopes(residuals, here, open_, None if central else current[open_])
        step = _step(slopes, current[open_], here, damping[open_], lower, upper)
        proposal = np.clip(here + step, lower, upper)
        proposed = residuals(proposal, open_)
        proposed_cost = _half_square(proposed)
        gain = cost[open_] - proposed_cost
        better = gain > 0
        moved = np.max(np.abs(proposal - here), axis=1)
        done = (moved < tolerance) | (better & (gain < tolerance * cost[open_])) | (damping[open_] > 1e8)
        taken = open_[better]
        point[taken], current[taken], cost[taken] = proposal[better], proposed[better], proposed_cost[better]
        damping[open_] *= np.where(better, 0.125, 8.0)
        open_ = open_[~done]
    return point, cost


def bounded_residual(difference: Array, side: Array) -> Array:
    """Return residuals whose half squares are minus ln likelihood (up to a constant) with one-sided observations.

    Args:
        difference: (prediction - observation) / standard deviation.
        side: 0 for a measured value; -1 where the truth is at most the observation; +1 where it is at least that (the
            Tobit likelihood: the probability of the half line).
    """
    if not np.any(side):
        return difference
    tail = np.where(side == 0, 0.0, np.where(side > 0, difference, -difference))
    return np.where(side == 0, difference, np.sqrt(-2.0 * log_ndtr(tail)))


def _half_square(values: Array) -> Array:
    return 0.5 * np.sum(values * values, axis=-1)


def _slopes(residuals: Residuals, point: Array, problems: np.ndarray, current: Array | None) -> Array:
    """Return derivatives, shape (k, problems, n): forward differences from ``current``, or central ones without it.

    All shifted points go into one call, as calls are what small problems cost.
    """
    k = point.shape[1]
    width = (1e-5 if current is None else 1e-7) * np.maximum(1.0, np.abs(point))
    shift = np.eye(k)[:, None, :] * width
    per_width = 1.0 / width.T[..., None]
    if current is not None:
        return (residuals(point + shift, problems) - current) * per_width
    both = residuals(np.concatenate([point + shift, point - shift]), problems)
    return (both[:k] - both[k:]) * (0.5 * per_width)


def _step(slopes: Array, current: Array, point: Array, damping: Array, lower: Array, upper: Array) -> Array:
    """Damped Gauss-Newton step; a coordinate at a wall that it would cross is held there."""
    slopes = np.where(np.isfinite(slopes), slopes, 0.0)
    gradient = np.einsum("kpn,pn->pk", slopes, np.where(np.isfinite(current), current, 0.0))
    held = ((point <= lower) & (gradient > 0)) | ((point >= upper) & (gradient < 0))
    gradient = np.where(held, 0.0, gradient)
    normal = np.einsum("ipn,jpn->pij", slopes, slopes)
    if held.any():
        normal = np.where(held[:, :, None] | held[:, None, :], 0.0, normal)
    diagonal = np.einsum("pii->pi", normal)
    # The floor keeps the matrix regular in double precision where the data leave a direction free.
    ridge = np.maximum(damping, 1e-10)[:, None] * np.maximum(diagonal, 1e-8) + held
    normal = normal + ridge[:, :, None] * np.eye(point.shape[1])
    step = -np.linalg.solve(normal, gradient[..., None])[..., 0]
    return np.clip(step, -3.0, 3.0)
