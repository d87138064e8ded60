"""A sweep's scores as one surface over batch size and rate: valleys of one shape along a ridge of best rates.

score(B, η) = m_B + h B^b (t² + k t⁴), t = ((η/η*(B))^p - 1)/p. Every batch size has its own lowest score m_B; the shape
(skew p, quartic part k, and a curvature h that follows a power of the batch size) is shared. For a given ridge η*(B)
and given p and b the other unknowns are linear and are solved for, so that a search moves few coordinates.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from .law import Array

STEEPEST = 15.0
"""Cells this far out, in p times ln rate, are on a wall; further makes no difference but overflow."""
FLATTEST = 1e-4
"""A skew nearer to zero than this is the logarithm."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid:
    """Cells of one sweep by batch size, padded to a rectangle; n batch sizes of up to m cells.

    Attributes:
        ln_batch: shape (n,), increasing.
        ln_rate: shape (n, m); padding repeats a rate of its row.
        score: lower is better, shape (n, m); 0 in padding.
        precision: seeds of each measured cell; 0 for padding and for cells that are not used, shape (n, m).
        floor_ln_rate: rates of the missed targets next to the measured cells, below and above, shape (n, 2).
        floor: what the score is at least there, shape (n, 2); -inf where there is none.
        ceiling: ln of the lowest rate that diverged above the best cell; inf if none did, shape (n,).
    """

    ln_batch: Array
    ln_rate: Array
    score: Array
    precision: Array
    floor_ln_rate: Array
    floor: Array
    ceiling: Array

    @property
    def centred_ln_batch(self) -> Array:
        """What the curvature's power multiplies, shape (n,): the mean of ln batch size is taken off."""
        return self.ln_batch - self.ln_batch.mean()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bend:
    """Where rates lie in valleys of given places and shapes, q problems at once.

    Attributes:
        distance: ln(η/η*), held to what is not yet on a wall, shape (q, n, m).
        bent: t, shape (q, n, m).
        growth: B^b, shape (q, n, 1).
        skew: p, kept away from zero, shape (q, 1, 1).
    """

    distance: Array
    bent: Array
    growth: Array
    skew: Array

    def powers(self) -> tuple[Array, Array]:
        """Return B^b t² and B^b t⁴, each of shape (q, n, m)."""
        square = self.bent * self.bent
        grown = square * self.growth
        return grown, square * grown

    def slopes(self, curvature: Array, quartic: Array, centred_ln_batch: Array) -> Array:
        """Return the derivatives of h B^b t² + h k B^b t⁴ in the row's ln best rate, p and b, shape (3, q, n, m)."""
        h, k = curvature[:, None, None], quartic[:, None, None]
        square = self.bent * self.bent
        by_bent = (2.0 * self.growth) * self.bent * (h + 2.0 * k * square)
        bending = 1.0 + self.skew * self.bent
        flat = np.abs(self.skew) <= FLATTEST
        by_skew = (self.distance * bending - self.bent) / self.skew
        if flat.any():
            by_skew = np.where(flat, 0.5 * self.distance * self.distance, by_skew)
        by_growth = self.growth * centred_ln_batch[:, None] * square * (h + k * square)
        return np.stack([-by_bent * bending, by_bent * by_skew, by_growth])


def bend(ln_rate: Array, point: Array, centred_ln_batch: Array) -> Bend:
    """Place rates of shape (q or 1, n, m) on surfaces with ln best rates, p and b of shape (q, n + 2)."""
    skew = point[:, -2]
    skew = np.where(np.abs(skew) < FLATTEST, FLATTEST, skew)[:, None, None]
    exponent = np.clip(skew * (ln_rate - point[:, :-2, None]), -2.0 * STEEPEST, STEEPEST)
    growth = np.exp(point[:, -1:] * centred_ln_batch)[..., None]
    return Bend(distance=exponent / skew, bent=np.expm1(exponent) / skew, growth=growth, skew=skew)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Surfaces:
    """Fitted surfaces of q problems.

    ``bend`` says where the cells lie. ``square`` and ``fourth`` are t² and t⁴ times B^b there, less their means over a
    batch size's cells, and ``residual`` what is left of the scores, all of shape (q, n, m); ``bottom`` is m_B, shape
    (q, n); ``curvature`` h and ``quartic`` h k have shape (q,).
    """

    bend: Bend
    square: Array
    fourth: Array
    residual: Array
    bottom: Array
    curvature: Array
    quartic: Array


def solve_surfaces(grid: Grid, point: Array, *, score: Array, precision: Array, quartic: bool) -> Surfaces:
    """Solve for bottoms and curvatures by weighted least squares.

    Args:
        grid: the cells' places.
        point: ln best rates, then p and b, shape (q, n + 2).
        score: shape (q or 1, n, m).
        precision: shape (q or 1, n, m).
        quartic: fit k too, else it is 0.
    """
    bent = bend(grid.ln_rate[None], point, grid.centred_ln_batch)
    square, fourth = bent.powers()
    mean_score, mean_square = row_mean(precision, score), row_mean(precision, square)
    y, a = score - mean_score, square - mean_square
    aa, ay = weighted_dot(precision, a, a), weighted_dot(precision, a, y)
    if not quartic:
        curvature = np.maximum(ay / np.maximum(aa, 1e-300), 0.0)
        h = curvature[:, None, None]
        return Surfaces(
            bend=bent,
            square=a,
            fourth=np.zeros_like(a),
            residual=y - h * a,
            bottom=(mean_score - h * mean_square)[..., 0],
            curvature=curvature,
            quartic=np.zeros_like(curvature),
        )
    mean_fourth = row_mean(precision, fourth)
    f = fourth - mean_fourth
    af, ff, fy = weighted_dot(precision, a, f), weighted_dot(precision, f, f), weighted_dot(precision, f, y)
    # The tiny ridge keeps the matrix regular where all cells are so near that both parts look alike.
    aa, ff = aa * (1.0 + 1e-9) + 1e-300, ff * (1.0 + 1e-9) + 1e-300
    determinant = aa * ff - af * af
    curvature, fourths = (ay * ff - af * fy) / determinant, (aa * fy - af * ay) / determinant
    # A ridge on which scores bend downwards is none: all that is left to it is the quartic part.
    upside_down = curvature < 0
    fourths = np.where(upside_down, np.maximum(fy / ff, 0.0), fourths)
    curvature = np.where(upside_down, 0.0, curvature)
    h, k = curvature[:, None, None], fourths[:, None, None]
    return Surfaces(
        bend=bent,
        square=a,
        fourth=f,
        residual=y - h * a - k * f,
        bottom=(mean_score - h * mean_square - k * mean_fourth)[..., 0],
        curvature=curvature,
        quartic=fourths,
    )


def heights(grid: Grid, found: Surfaces, point: Array, ln_rate: Array) -> Array:
    """Return the fitted score over its bottom at rates of shape (q or 1, n, m), shape (q, n, m)."""
    square, fourth = bend(ln_rate, point, grid.centred_ln_batch).powers()
    return np.asarray(found.curvature[:, None, None] * square + found.quartic[:, None, None] * fourth)


def row_mean(precision: Array, values: Array) -> Array:
    """Return means over the cells of each batch size, shape (..., n, 1)."""
    total = np.maximum(precision.sum(axis=-1, keepdims=True), 1e-300)
    return np.asarray((precision * values).sum(axis=-1, keepdims=True) / total)


def weighted_dot(precision: Array, one: Array, other: Array) -> Array:
    """Return the weighted scalar products of surfaces of shape (..., n, m), shape (...)."""
    return np.asarray(np.einsum("...nm,...nm->...", precision * one, other))
