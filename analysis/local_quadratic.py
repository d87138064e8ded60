"""Where one batch size's U-shaped curve has its minimum: a parabola through the cells near the best one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from .law import Array
from .noise import NEAREST

SKEWS = np.array([-0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5])
"""Powers of the rate that are tried."""
SHAPE_ERROR = 0.1
"""Standard deviation, in octaves, of a vertex between exact cells one octave apart: what curves do that no parabola
does. It falls with the square of the gap. Measured on steps to a target under -ln(2u - u^2), u = rate/optimum, whose
wall at u = 2 is as bad as curves get."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Vertices:
    """Minima of many draws of one curve, each of shape (draws,).

    ``position`` is in the unit of the rates' logarithm. ``side`` is 0 where the minimum lies between cells that are
    worse, -1 where it lies at or below ``position`` (the curve still falls at its lower end), +1 where it lies at or
    above it. ``score`` is the fitted lowest score, or the best cell's where the parabola says nothing.
    """

    position: Array
    side: Array
    score: Array


def find_vertices(
    x: Array,
    scores: Array,
    *,
    height: float,
    skew: Array,
    below: float | None = None,
    above: float | None = None,
    rng: np.random.Generator | None = None,
) -> Vertices:
    """Fit a parabola in rate^skew (the logarithm for 0) to each row of ``scores`` near its lowest value.

    The window holds the best cell, its neighbour on each side and whatever joins on without rising by more than
    ``height`` over the best: with precise data the parabola is local, with noisy data it averages. With ``rng`` the
    window's ends are moved by a cell at random and the vertex by the error of shape, so that the choice of points and
    of a parabola enter the spread of the draws.

    Args:
        x: log2 learning rates of the usable cells, increasing, shape (m,).
        scores: lower is better, shape (draws, m).
        height: rise over the best that the noise alone could make.
        skew: from ``shared_skew``, shape (draws,).
        below: log2 of a rate under ``x`` known to be worse (a missed target), if any.
        above: log2 of a rate over ``x`` known to be worse (divergence or a missed target), if any.
        rng: source of the random windows; None for the plain ones.
    """
    draws, m = scores.shape
    rows = np.arange(draws)
    best = np.argmin(scores, axis=1)
    left, right = _windows(scores, best, height=height, rng=rng)
    index = np.arange(m)
    inside = (index >= left[:, None]) & (index <= right[:, None])
    vertex, lowest, convex = _parabola(x, scores, inside, x[best], skew)
    position = np.where(convex, vertex, x[best])
    if rng is not None and m > 1:
        gap = (x[np.minimum(best + 1, m - 1)] - x[np.maximum(best - 1, 0)]) / np.where(
            (best > 0) & (best < m - 1), 2, 1
        )
        position = position + SHAPE_ERROR * gap**2 * rng.standard_normal(draws)
    score = np.where(convex, lowest, scores[rows, best])
    side = np.zeros(draws)

    inner_low, inner_high = x[min(1, m - 1)], x[max(m - 2, 0)]
    at_low = ((best == 0) & ~(convex & (position >= inner_low) & (m > 2))) | (position < x[0])
    at_high = ((best == m - 1) & ~(convex & (position <= inner_high) & (m > 2))) | (position > x[-1])
    # Both can only hold when the parabola contradicts the best cell: believe the cell.
    at_low &= ~(at_high & (best > (m - 1) / 2))
    at_high &= ~at_low
    half_low = 0.5 * (x[1] - x[0]) if m > 1 else 0.0
    half_high = 0.5 * (x[-1] - x[-2]) if m > 1 else 0.0
    for mask, edge, half, bracket, sign in ((at_low, x[0], half_low, below, -1), (at_high, x[-1], half_high, above, 1)):
        if not mask.any():
            continue
        score[mask] = scores[mask, 0 if sign < 0 else m - 1]
        if bracket is None:
            side[mask] = sign
            position[mask] = edge - sign * half
        else:
            # Between the middle of the last two usable cells and the bracket; nothing says where.
            near = edge - sign * half if m > 1 else (above if sign < 0 else below)
            near = edge if near is None else near
            share = rng.uniform(size=int(mask.sum())) if rng is not None else 0.0
            position[mask] = edge if rng is None else near + share * (bracket - near)
    return Vertices(position=position, side=side, score=score)


def _windows(
    scores: Array, best: Array, *, height: float, rng: np.random.Generator | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and last cell of each row's window, at least three cells where there are three."""
    draws, m = scores.shape
    rows = np.arange(draws)
    low_enough = scores <= scores[rows, best][:, None] + height
    left, right = best.copy(), best.copy()
    for _ in range(m):
        left = np.where((left > 0) & low_enough[rows, np.maximum(left - 1, 0)], left - 1, left)
        right = np.where((right < m - 1) & low_enough[rows, np.minimum(right + 1, m - 1)], right + 1, right)
    left = np.minimum(left, np.maximum(best - 1, 0))
    right = np.maximum(right, np.minimum(best + 1, m - 1))
    if rng is not None:
        left = np.minimum(left + rng.integers(-1, 2, size=draws), np.maximum(best - 1, 0))
        right = np.maximum(right + rng.integers(-1, 2, size=draws), np.minimum(best + 1, m - 1))
    left, right = np.clip(left, 0, m - 1), np.clip(right, 0, m - 1)
    right = np.where(right - left < 2, np.minimum(left + 2, m - 1), right)
    left = np.where(right - left < 2, np.maximum(right - 2, 0), left)
    return left, right


def shared_skew(curves: Sequence[tuple[Array, Array]], *, rng: np.random.Generator | None = None) -> Array:
    """Return the power of the rate in which the curves of a sweep are most nearly parabolas, shape (draws,).

    Curves rise faster towards divergence than towards slow learning, so that a parabola in ln rate has its vertex too
    low, by a third of a step and more on a coarse grid. A power of the rate makes them symmetric (for a quadratic loss
    the power is 1), and as batch sizes share the shape of their curves, one power serves all. It minimises the residual
    of parabolas through the cells around each curve's best one, relative to their range.

    Args:
        curves: log2 rates of the usable cells, shape (m,), and scores, shape (draws, m), of each batch size. Curves of
            fewer than four cells do not count.
        rng: source of the powers where no curve counts; None for the logarithm.
    """
    draws = len(curves[0][1]) if curves else 0
    telling = [(x, scores) for x, scores in curves if len(x) >= 4]
    if not telling:
        return np.zeros(draws) if rng is None else rng.choice(SKEWS, size=draws)
    misfit = np.zeros((len(SKEWS), draws))
    for x, scores in telling:
        best = np.argmin(scores, axis=1)
        width = min(NEAREST, len(x))
        first = np.clip(best - width // 2, 0, len(x) - width)
        index = np.arange(len(x))
        inside = (index >= first[:, None]) & (index < first[:, None] + width)
        spread = np.ptp(scores[inside].reshape(draws, width), axis=1)
        for i, power in enumerate(SKEWS):
            misfit[i] += _misfit(x, scores, inside, x[best], power) / np.maximum(spread, 1e-300) ** 2
    return SKEWS[np.argmin(misfit, axis=0)]


def _misfit(x: Array, scores: Array, inside: np.ndarray, centre: Array, power: float) -> Array:
    coefficients, powers = _least_squares(x, scores, inside, centre, np.full(len(scores), power))
    residual = np.where(inside, scores - np.einsum("dmi,di->dm", powers, coefficients), 0.0)
    return np.sum(residual * residual, axis=1)


def _least_squares(x: Array, scores: Array, inside: np.ndarray, centre: Array, skew: Array) -> tuple[Array, np.ndarray]:
    """Return the parabolas' coefficients, shape (draws, 3), and the design, shape (draws, m, 3)."""
    octaves = np.where(inside, x[None, :] - centre[:, None], 0.0)
    power = skew[:, None] * np.log(2.0)
    t = np.where(power == 0.0, octaves, np.expm1(power * octaves) / np.where(power == 0.0, 1.0, power))
    design = np.stack([inside.astype(float), t, t * t], axis=-1)
    normal = np.einsum("dmi,dmj->dij", design, design)
    right = np.einsum("dmi,dm->di", design, np.where(inside, scores, 0.0))
    solvable = inside.sum(axis=1) >= 3
    normal = np.where(solvable[:, None, None], normal, np.eye(3))
    return np.linalg.solve(normal, right[..., None])[..., 0], design


def _parabola(
    x: Array, scores: Array, inside: np.ndarray, centre: Array, skew: Array
) -> tuple[Array, Array, np.ndarray]:
    """Return vertex, value there and convexity of each row's least-squares parabola."""
    coefficients, _ = _least_squares(x, scores, inside, centre, skew)
    a, b, c = np.moveaxis(coefficients, -1, 0)
    convex = (inside.sum(axis=1) >= 3) & (c > 1e-12 * np.maximum(1.0, np.abs(a)))
    safe = np.where(convex, c, 1.0)
    vertex = -b / (2.0 * safe)
    power = skew * np.log(2.0)
    # A vertex at a negative power of the rate is no rate: the parabola says nothing.
    convex &= power * vertex > -1.0
    grown = np.log1p(np.where(convex, power * vertex, 0.0)) / np.where(power == 0.0, 1.0, power)
    return centre + np.where(power == 0.0, vertex, grown), a - b * b / (4.0 * safe), convex
