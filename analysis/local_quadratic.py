"""Where one batch size's U-shaped curve has its minimum: a parabola through the cells near the best one.

The parabola is one in a power of the rate (the logarithm for the power 0). Curves rise faster towards divergence than
towards slow learning, so that a parabola in ln rate has its vertex too low, by a third of a step and more on a coarse
grid; a power of the rate makes them symmetric (for a quadratic loss the power is 1). Batch sizes share the shape of
their curves, so one power serves a whole sweep.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from .law import Array

SKEWS = np.linspace(-0.5, 1.5, 65)
"""Powers of the rate that are tried: so many that between two of them all is as good as linear."""
TELLING = 5
"""Cells of a curve that its power is read from, at least 4."""


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
    width: int,
    skew: Array,
    below: float | None = None,
    above: float | None = None,
    rng: np.random.Generator | None = None,
) -> Vertices:
    """Fit a parabola in rate^skew to each row of ``scores`` near its lowest value.

    Args:
        x: log2 learning rates of the usable cells, increasing, shape (m,).
        scores: lower is better, shape (draws, m).
        width: cells in the window around the best one (all where there are fewer).
        skew: positions in ``SKEWS``, shape (draws,); a fraction means a power in between.
        below: log2 of a rate under ``x`` known to be worse (a missed target), if any.
        above: log2 of a rate over ``x`` known to be worse (divergence or a missed target), if any.
        rng: decides where a draw's optimum lies between the last usable cell and a bracket; None for the best cell.
    """
    draws, m = scores.shape
    best = np.argmin(scores, axis=1)
    vertex, lowest, convex = _between(x, scores, best, width, skew)
    position = np.where(convex, vertex, x[best])
    score = np.where(convex, lowest, scores[np.arange(draws), best])
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


def shared_skew(
    curves: Sequence[tuple[Array, Array, Array]], *, width: int, rng: np.random.Generator | None = None
) -> Array:
    """Return the power in which the curves of a sweep are most nearly parabolas: positions in ``SKEWS``, (draws,).

    Positions are fractions: the misfit's own parabola says where between the tried powers its minimum lies.

    It minimises the residual of parabolas through the cells around each curve's best one, in units of their noise.

    Args:
        curves: log2 rates of the usable cells, shape (m,), scores, shape (draws, m), and the scores' standard
            deviation, of each batch size. Curves of fewer than four cells do not count.
        width: cells in the windows, at least ``TELLING`` are taken.
        rng: source of the powers where no curve counts; None for the logarithm.
    """
    draws = len(curves[0][1]) if curves else 0
    telling = [curve for curve in curves if len(curve[0]) >= 4]
    if not telling:
        middle = int(np.flatnonzero(SKEWS == 0.0)[0])
        return np.full(draws, float(middle)) if rng is None else rng.uniform(0, len(SKEWS) - 1, size=draws)
    misfit = np.zeros((draws, len(SKEWS)))
    for x, scores, sd in telling:
        for rows, window in _windows(scores, np.argmin(scores, axis=1), max(width, TELLING)):
            near = scores[rows, window]
            near = near - near.mean(axis=1, keepdims=True)
            slope, bend = _design(tuple(x[window].tolist()))[1]
            explained = np.square(near @ slope) + np.square(near @ bend)
            total = np.sum(near * near, axis=1)
            # The floor stands for curves without noise: they count by their range.
            scale = max(float(np.mean(sd[window] ** 2)), 1e-12 * float(np.mean(total)), 1e-300)
            misfit[rows] += (total[:, None] - explained) / scale
    return _refined(misfit)


def _refined(misfit: Array) -> Array:
    rows, last = np.arange(len(misfit)), misfit.shape[1] - 1
    least = np.argmin(misfit, axis=1)
    before, here, after = (misfit[rows, np.clip(least + i, 0, last)] for i in (-1, 0, 1))
    bend = before - 2.0 * here + after
    inside = (least > 0) & (least < last) & (bend > 0)
    return least + np.where(inside, 0.5 * (before - after) / np.where(inside, bend, 1.0), 0.0)


def residual_sum(x: Array, scores: Array, *, width: int, skew: Array) -> float:
    """Return the parabola's residual sum of squares for one row of scores."""
    ((_, window),) = _windows(scores, np.argmin(scores, axis=1), width)
    y = scores[0, window] - scores[0, window].mean()
    basis = _design(tuple(x[window].tolist()))[1][:, :, round(float(skew[0]))]
    residual = y - basis.T @ (basis @ y)
    return float(residual @ residual)


def _windows(scores: Array, best: np.ndarray, width: int) -> list[tuple[np.ndarray, slice]]:
    """Return groups of draws that share a window, with that window."""
    m = scores.shape[1]
    width = min(width, m)
    first = np.clip(best - width // 2, 0, m - width)
    return [(np.flatnonzero(first == at), slice(int(at), int(at) + width)) for at in np.unique(first)]


@lru_cache(maxsize=4096)
def _design(x: tuple[float, ...]) -> tuple[Array, Array]:
    """Return two arrays for the cells ``x`` and every skew.

    What turns scores into coefficients, shape (s, 3, w); an orthonormal basis of the parabolas without a mean, a
    straight and a bent one, shape (2, w, s).
    """
    octaves = np.array(x) - x[len(x) // 2]
    powers = SKEWS[:, None] * np.log(2.0)
    t = np.where(powers == 0.0, octaves, np.expm1(powers * octaves) / np.where(powers == 0.0, 1.0, powers))
    design = np.stack([np.ones_like(t), t, t * t], axis=-1)
    basis = np.linalg.qr(design)[0][:, :, 1:]
    return np.linalg.pinv(design), np.ascontiguousarray(basis.transpose(2, 1, 0))


def _between(x: Array, scores: Array, best: np.ndarray, width: int, skew: Array) -> tuple[Array, Array, np.ndarray]:
    """Return what ``_parabolas`` says at a fraction of a position, from both sides of it."""
    under = np.minimum(skew.astype(int), len(SKEWS) - 2)
    share = skew - under
    (one, low, yes), (other, high, too) = (_parabolas(x, scores, best, width, at) for at in (under, under + 1))
    return one + share * (other - one), low + share * (high - low), yes & too


def _parabolas(
    x: Array, scores: Array, best: np.ndarray, width: int, skew: np.ndarray
) -> tuple[Array, Array, np.ndarray]:
    """Return vertex, value there and convexity of each row's least-squares parabola."""
    draws, m = scores.shape
    coefficients = np.zeros((draws, 3))
    centre = np.zeros(draws)
    if m >= 3:
        for rows, window in _windows(scores, best, max(width, 3)):
            xs = x[window]
            centre[rows] = xs[len(xs) // 2]
            solve = _design(tuple(xs.tolist()))[0]
            coefficients[rows] = np.einsum("dij,dj->di", solve[skew[rows]], scores[rows, window])
    a, b, c = coefficients.T
    convex = c > 1e-12 * np.maximum(1.0, np.abs(a))
    vertex = -b / (2.0 * np.where(convex, c, 1.0))
    power = SKEWS[skew] * np.log(2.0)
    # A vertex at a negative power of the rate is no rate: the parabola says nothing.
    convex &= power * vertex > -1.0
    grown = np.log1p(np.where(convex, power * vertex, 0.0)) / np.where(power == 0.0, 1.0, power)
    lowest = a - b * b / (4.0 * np.where(convex, c, 1.0))
    return centre + np.where(power == 0.0, vertex, grown), lowest, convex
