"""Fit surfaces: many small problems at once, by Levenberg-Marquardt with the linear unknowns projected out.

The ridge has one coordinate per batch size, and a cell depends on its own only: with derivatives in closed form a step
costs little more than an evaluation, where the differences of ``least_squares`` would take two for each batch size.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from .law import Array
from .surface_model import Grid, heights, row_mean, solve_surfaces, weighted_dot

SHAPE_LOW = np.array([-2.0, -1.5])
SHAPE_HIGH = np.array([3.0, 1.5])
"""How far the skew p and the power b of the curvature may go."""
BEYOND = np.log(4.0)
"""How far, in ln rate, a best rate may lie outside of its batch size's cells."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Solution:
    """Fitted problems.

    Attributes:
        point: ln best rates, then p and b, shape (q, n + 2).
        square: weighted sum of squared residuals, shape (q,).
        normal: J'J of the projected residuals, shape (q, n + 2, n + 2).
    """

    point: Array
    square: Array
    normal: Array

    def covariance(self, problem: int) -> Array:
        """Return the inverse of J'J of one problem; a direction that its cells leave free gets a large variance."""
        normal = self.normal[problem]
        scale = np.sqrt(np.maximum(np.diag(normal), 1e-16))
        scaled = normal / np.outer(scale, scale) + 1e-10 * np.eye(len(normal))
        return np.asarray(np.linalg.inv(scaled) / np.outer(scale, scale))


@dataclasses.dataclass(frozen=True, kw_only=True)
class SurfaceProblems:
    """Problems on one grid: ``score`` and ``precision`` of shape (problems or 1, n, m), with or without quartic part.

    A missed target that the surface would reach counts by how much it does, and so does a ridge above a rate that
    diverged; both are bounds, and silent on their good side.
    """

    grid: Grid
    score: Array
    precision: Array
    quartic: bool

    def solve(self, start: Array, *, iterations: int = 40, tolerance: float = 1e-7) -> Solution:
        """Minimise each problem's sum of squares from its start, shape (q, n + 2), inside the box.

        A problem is done when a step is shorter than ``tolerance`` or gains less than this share of its sum of squares.
        """
        lower, upper = self._box()
        point = np.clip(start, lower, upper)
        square, gradient, normal = self._evaluate(point, np.arange(len(point)))
        damping = np.full(len(point), 1e-3)
        open_ = np.flatnonzero(np.isfinite(square) & (square > 0))
        for _ in range(iterations):
            if not len(open_):
                break
            here = point[open_]
            step = _step(normal[open_], gradient[open_], here, damping[open_], lower, upper)
            proposal = np.clip(here + step, lower, upper)
            proposed, its_gradient, its_normal = self._evaluate(proposal, open_)
            gain = square[open_] - proposed
            better = gain > 0
            moved = np.max(np.abs(proposal - here), axis=1)
            done = (moved < tolerance) | (better & (gain < tolerance * square[open_])) | (damping[open_] > 1e8)
            taken = open_[better]
            point[taken], square[taken] = proposal[better], proposed[better]
            gradient[taken], normal[taken] = its_gradient[better], its_normal[better]
            damping[open_] *= np.where(better, 0.125, 8.0)
            open_ = open_[~done]
        return Solution(point=point, square=square, normal=normal)

    def _box(self) -> tuple[Array, Array]:
        there = (self.precision > 0).any(axis=0)
        low = np.min(np.where(there, self.grid.ln_rate, np.inf), axis=1) - BEYOND
        high = np.max(np.where(there, self.grid.ln_rate, -np.inf), axis=1) + BEYOND
        return np.concatenate([low, SHAPE_LOW]), np.concatenate([high, SHAPE_HIGH])

    def _evaluate(self, point: Array, problems: np.ndarray) -> tuple[Array, Array, Array]:
        """Return sum of squares, half its gradient, shape (q, n + 2), and J'J."""
        weight = self.precision if len(self.precision) == 1 else self.precision[problems]
        score = self.score if len(self.score) == 1 else self.score[problems]
        grid, n = self.grid, len(self.grid.ln_batch)
        if np.isfinite(grid.floor).any():
            grid, score, weight = self._with_missed(point, score, weight)
        found = solve_surfaces(grid, point, score=score, precision=weight, quartic=self.quartic)
        slope = found.bend.slopes(found.curvature, found.quartic, grid.centred_ln_batch)
        slope = slope - row_mean(weight, slope)
        parts = [found.square, found.fourth] if self.quartic else [found.square]
        total, gradient, normal = _reduced(weight, slope, found.residual, _orthonormal(weight, parts))
        over = np.maximum(point[:, :n] - grid.ceiling, 0.0)
        if over.any():
            total = total + np.sum(over * over, axis=1)
            gradient[:, :n] += over
            normal[:, np.arange(n), np.arange(n)] += over > 0
        return total, gradient, normal

    def _with_missed(self, point: Array, score: Array, weight: Array) -> tuple[Grid, Array, Array]:
        """Return the grid with the missed targets as two more columns; of those that the surface reaches as cells."""
        grid = self.grid
        exists = np.isfinite(grid.floor)
        wide = dataclasses.replace(grid, ln_rate=np.concatenate([grid.ln_rate, grid.floor_ln_rate], axis=1))
        floor = np.where(exists, grid.floor, 0.0)
        scores = np.concatenate([score, np.broadcast_to(floor, (len(score), *floor.shape))], axis=2)
        weight = np.broadcast_to(weight, (len(point), *weight.shape[1:]))
        reached = np.zeros((len(point), *floor.shape), dtype=bool)
        for _ in range(3):
            weights = np.concatenate([weight, reached], axis=2)
            found = solve_surfaces(wide, point, score=scores, precision=weights, quartic=self.quartic)
            height = heights(grid, found, point, grid.floor_ln_rate[None])
            now = exists & (found.bottom[..., None] + height < floor)
            if np.array_equal(now, reached):
                break
            reached = now
        return wide, scores, np.concatenate([weight, reached], axis=2)


def _orthonormal(weight: Array, parts: list[Array]) -> list[Array]:
    result: list[Array] = []
    for part in parts:
        rest = part
        for earlier in result:
            rest = rest - weighted_dot(weight, earlier, rest)[:, None, None] * earlier
        length = np.sqrt(weighted_dot(weight, rest, rest))[:, None, None]
        result.append(rest / np.maximum(length, 1e-150))
    return result


def _reduced(weight: Array, slope: Array, residual: Array, projected: list[Array]) -> tuple[Array, Array, Array]:
    """Return sum of squares, half the gradient and J'J for residuals that fall by ``slope``, shape (3, q, n, m).

    The first slope belongs to the cell's own batch size, so that its block of J'J is diagonal before ``projected``
    directions are taken out (Kaufman's form of the variable projection).
    """
    q, n = slope.shape[1:3]
    # Weighted once: what follows are scalar products, by row for the own direction, over all cells for the shared ones.
    weighted, shared = weight * slope, slope[1:]
    gradient = np.empty((q, n + 2))
    gradient[:, :n] = -np.einsum("qnm,qnm->qn", weighted[0], residual)
    gradient[:, n:] = -np.einsum("iqnm,qnm->qi", weighted[1:], residual)
    normal = np.zeros((q, n + 2, n + 2))
    normal[:, np.arange(n), np.arange(n)] = np.einsum("qnm,qnm->qn", weighted[0], slope[0])
    normal[:, :n, n:] = np.einsum("qnm,iqnm->qni", weighted[0], shared)
    normal[:, n:, :n] = normal[:, :n, n:].transpose(0, 2, 1)
    for i, j in ((0, 0), (0, 1), (1, 1)):
        product = np.einsum("qnm,qnm->q", weighted[1 + i], shared[j])
        normal[:, n + i, n + j] = normal[:, n + j, n + i] = product
    for direction in projected:
        along = np.empty((q, n + 2))
        along[:, :n] = np.einsum("qnm,qnm->qn", weighted[0], direction)
        along[:, n:] = np.einsum("iqnm,qnm->qi", weighted[1:], direction)
        normal -= along[:, :, None] * along[:, None, :]
    return weighted_dot(weight, residual, residual), gradient, normal


def _step(normal: Array, gradient: Array, point: Array, damping: Array, lower: Array, upper: Array) -> Array:
    """Damped Gauss-Newton step; a coordinate at a wall that it would cross is held there."""
    held = ((point <= lower) & (gradient > 0)) | ((point >= upper) & (gradient < 0))
    free = ~held
    normal = normal * (free[:, :, None] & free[:, None, :])
    diagonal = np.maximum(np.einsum("pii->pi", normal), 1e-10)
    ridge = np.maximum(damping, 1e-10)[:, None] * diagonal + held
    matrix = normal + ridge[:, :, None] * np.eye(point.shape[1])
    step = -np.linalg.solve(matrix, np.where(held, 0.0, gradient)[..., None])[..., 0]
    return np.clip(step, -1.0, 1.0)
