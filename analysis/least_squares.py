"""Many small nonlinear least-squares problems at once: bounded Levenberg-Marquardt, vectorised over problems.

A bootstrap fits the same law hundreds of times. The problems are tiny (up to three parameters), so the cost of a loop in
Python would be all overhead; here each step is done for every problem together.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import log_ndtr

from .law import Array

Residuals = Callable[[Array], Array]
"""Coordinates, shape (problems, k) -> residuals, shape (problems, n)."""


def minimise(
    residuals: Residuals,
    start: Array,
    *,
    lower: Array,
    upper: Array,
    iterations: int = 80,
    tolerance: float = 1e-13,
) -> tuple[Array, Array]:
    """Minimise half the sum of squared residuals of every problem inside a box.

    Args:
        residuals: function of all the problems' coordinates.
        start: shape (problems, k); clipped into the box.
        lower: shape (k,), may hold -inf.
        upper: shape (k,), may hold inf.
        iterations: steps at most.
        tolerance: a problem stops when its step is shorter than this or its cost is below its square.

    Returns:
        Coordinates, shape (problems, k), and cost, shape (problems,): nan or inf where the start had no finite cost.
    """
    point = np.clip(np.asarray(start, dtype=float), lower, upper)
    current = residuals(point)
    cost = _half_square(current)
    damping = np.full(len(point), 1e-3)
    active = np.isfinite(cost)
    for _ in range(iterations):
        if not active.any():
            break
        jacobian = _jacobian(residuals, point)
        step = _step(jacobian, current, point, damping, lower, upper)
        proposal = np.where(active[:, None], np.clip(point + step, lower, upper), point)
        proposed = residuals(proposal)
        proposed_cost = _half_square(proposed)
        better = active & (proposed_cost < cost)
        moved = np.max(np.abs(proposal - point), axis=1)
        point = np.where(better[:, None], proposal, point)
        current = np.where(better[:, None], proposed, current)
        cost = np.where(better, proposed_cost, cost)
        damping = np.clip(np.where(better, damping / 8.0, damping * 5.0), 1e-14, 1e12)
        active &= (moved > tolerance) & (cost > tolerance**2) & (damping < 1e11)
    return point, cost


def bounded_residual(difference: Array, side: Array) -> Array:
    """Return residuals whose half squares are minus ln likelihood (up to a constant) with one-sided observations.

    Args:
        difference: (prediction - observation) / standard deviation.
        side: 0 for a measured value; -1 where the truth is at most the observation; +1 where it is at least that (the
            Tobit likelihood: the probability of the half line).
    """
    tail = np.where(side > 0, difference, -difference)
    return np.where(side == 0, difference, np.sqrt(-2.0 * log_ndtr(np.where(side == 0, 0.0, tail))))


def _half_square(values: Array) -> Array:
    return 0.5 * np.sum(values * values, axis=-1)


def _jacobian(residuals: Residuals, point: Array) -> Array:
    """Central differences, shape (problems, n, k)."""
    parts = []
    for i in range(point.shape[1]):
        width = 1e-5 * np.maximum(1.0, np.abs(point[:, i]))
        ahead, behind = point.copy(), point.copy()
        ahead[:, i] += width
        behind[:, i] -= width
        parts.append((residuals(ahead) - residuals(behind)) / (2.0 * width[:, None]))
    return np.stack(parts, axis=-1)


def _step(jacobian: Array, current: Array, point: Array, damping: Array, lower: Array, upper: Array) -> Array:
    """Damped Gauss-Newton step; a coordinate at a wall that it would cross is held there."""
    jacobian = np.where(np.isfinite(jacobian), jacobian, 0.0)
    gradient = np.einsum("pnk,pn->pk", jacobian, np.where(np.isfinite(current), current, 0.0))
    held = ((point <= lower) & (gradient > 0)) | ((point >= upper) & (gradient < 0))
    gradient = np.where(held, 0.0, gradient)
    jacobian = np.where(held[:, None, :], 0.0, jacobian)
    normal = np.einsum("pni,pnj->pij", jacobian, jacobian)
    diagonal = np.einsum("pii->pi", normal)
    ridge = damping[:, None] * np.maximum(diagonal, 1e-8) + held + 1e-300
    normal = normal + ridge[:, :, None] * np.eye(point.shape[1])
    step = -np.linalg.solve(normal, gradient[..., None])[..., 0]
    return np.clip(step, -3.0, 3.0)
