"""From many noisy steps to one noise scale: sums over steps first, the ratio last, an interval that admits doubt."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import numpy as np

Interval = tuple[float, float]

_ROWS = 8192
_FEWEST_STEPS = 8
_BLOCKS = (8, 16, 32, 64)
_UNKNOWN = (math.nan, math.nan)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoiseEstimate:
    """|g|², tr Σ and B_simple = tr Σ/|g|² of the gradient that the loop accumulates.

    Attributes:
        status: ``not_resolved`` where the mean of |g|² is not positive or too few steps were measured; then
            ``b_simple`` is NaN. Nothing is clipped.
        message: Why it is not resolved; empty otherwise.
        grad_sq: Mean of the unbiased estimates of |g|²; may be negative.
        grad_sq_interval: Its confidence interval; NaN where too few steps were measured.
        grad_var: Mean of the unbiased estimates of tr Σ, the variance of the gradient of one example.
        grad_var_interval: Its confidence interval.
        b_simple: tr Σ/|g|², in examples.
        b_simple_interval: Fieller's interval of the ratio; its upper end is infinite where |g|² may be zero, its ends
            are NaN where it is certainly not positive, or nothing is known.
        level: Confidence of the intervals.
        steps: Optimiser steps measured.
        skipped_steps: Steps that were to be measured but don't count: not finite (an overflow), not applied, or with
            nothing to compare.
        examples_per_step: Mean global batch size of the measured steps; NaN without any.
    """

    status: Literal["ok", "not_resolved"]
    message: str
    grad_sq: float
    grad_sq_interval: Interval
    grad_var: float
    grad_var_interval: Interval
    b_simple: float
    b_simple_interval: Interval
    level: float
    steps: int
    skipped_steps: int
    examples_per_step: float


class StepSums:
    """Sums of per-step estimates over stretches of steps, in bounded memory.

    Each estimate is linear in squared norms and unbiased (``noise_monitor``), so sums of them are raw sums. Where there
    are too many stretches, neighbours in the older half are merged.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self.skipped_steps = 0
        self._rows: list[tuple[float, float, float, float]] = []  # steps; sums of |g|², tr Σ and examples

    def add(self, *, grad_sq: float, grad_var: float, examples: float) -> None:
        """Add the estimates of one step."""
        self._rows.append((1.0, grad_sq, grad_var, examples))
        if len(self._rows) > _ROWS:
            half = _ROWS // 2
            old = np.array(self._rows[:half]).reshape(-1, 2, 4).sum(axis=1)
            self._rows[:half] = [tuple(row) for row in old.tolist()]

    def estimate(self, *, half_life_steps: float | None, level: float) -> NoiseEstimate:
        """Average over steps and take the ratio.

        Args:
            half_life_steps: Measured steps after which a step weighs half; ``None`` weighs all alike.
            level: Confidence of the intervals.
        """
        rows = np.array(self._rows, dtype=float).reshape(-1, 4)
        steps = rows[:, 0]
        measured = int(steps.sum())
        unknown = NoiseEstimate(
            status="not_resolved",
            message="no step has been measured yet",
            grad_sq=math.nan,
            grad_sq_interval=_UNKNOWN,
            grad_var=math.nan,
            grad_var_interval=_UNKNOWN,
            b_simple=math.nan,
            b_simple_interval=_UNKNOWN,
            level=level,
            steps=measured,
            skipped_steps=self.skipped_steps,
            examples_per_step=math.nan,
        )
        if measured == 0:
            return unknown
        weights = steps.copy()
        if half_life_steps is not None:
            age = steps[::-1].cumsum()[::-1] - steps
            weights *= 0.5 ** (age / half_life_steps)
        weights /= weights.sum()
        estimates = rows[:, 1:3] / steps[:, None]
        grad_sq, grad_var = (float(mean) for mean in weights @ estimates)
        means = dataclasses.replace(
            unknown, grad_sq=grad_sq, grad_var=grad_var, examples_per_step=float(rows[:, 3].sum() / measured)
        )
        spreads = _spreads(estimates, weights) if measured >= _FEWEST_STEPS else []
        if not spreads:
            few = f"an interval needs at least {_FEWEST_STEPS} measured steps that weigh alike, but got {measured}"
            return dataclasses.replace(means, message=few)
        grad_sq_interval, grad_var_interval, ratio_interval = _intervals(np.array([grad_sq, grad_var]), spreads, level)
        message = _doubt(grad_sq, grad_sq_interval)
        return dataclasses.replace(
            means,
            status="not_resolved" if message else "ok",
            message=message,
            b_simple=math.nan if message else grad_var / grad_sq,
            grad_sq_interval=grad_sq_interval,
            grad_var_interval=grad_var_interval,
            b_simple_interval=ratio_interval,
        )


def _doubt(grad_sq: float, interval: Interval) -> str:
    """Return why the ratio is not to be taken, or nothing."""
    if grad_sq > 0:
        return ""
    if interval[1] > 0:
        return f"the mean of |g|² is {grad_sq:.3g}, not positive: measure more steps"
    return (
        f"the mean of |g|² is {grad_sq:.3g}, negative beyond its error: the micro-batches of a step are not "
        "independent draws (sorted data, few examples drawn without replacement), or loss_mean_over is not the loop's"
    )


def _spreads(estimates: np.ndarray, weights: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """Return the delete-one-block jackknife's covariance of the mean, and its degrees of freedom, by block length.

    Blocks are stretches of equal weight. Longer ones hold more of the autocorrelation of neighbouring steps, shorter
    ones are more; which is right is not known, so several are returned (Flyvbjerg and Petersen 1989 look for the
    plateau; the widest is taken here).
    """
    middle = weights.cumsum() - weights / 2
    spreads: list[tuple[np.ndarray, float]] = []
    for blocks in _BLOCKS:
        label = np.minimum((middle * blocks).astype(int), blocks - 1)
        share = np.bincount(label, weights, minlength=blocks)
        whole = share > 0
        effective = 1.0 / float((share**2).sum())
        if effective < _FEWEST_STEPS / 2:
            break
        sums = np.stack([np.bincount(label, weights * column, minlength=blocks) for column in estimates.T], axis=1)
        means = sums[whole] / share[whole, None]
        # Leaving block b out moves the mean by share_b/(1 - share_b) times the block's deviation.
        moved = (means - estimates.T @ weights) * (share[whole] / (1 - share[whole]))[:, None]
        spreads.append((moved.T @ moved * (effective - 1) / effective, effective - 1))
    return spreads


def _intervals(mean: np.ndarray, spreads: list[tuple[np.ndarray, float]], level: float) -> list[Interval]:
    """Return the union over block lengths of the intervals of |g|², tr Σ and their ratio."""
    from scipy.special import stdtrit

    found: list[list[Interval]] = [[], [], []]
    for covariance, freedom in spreads:
        t = float(stdtrit(freedom, 0.5 + level / 2))
        for at in range(2):
            reach = t * math.sqrt(covariance[at, at])
            found[at].append((float(mean[at] - reach), float(mean[at] + reach)))
        found[2].append(_fieller(mean, covariance * t**2))
    return [_union(intervals) for intervals in found]


def _union(intervals: list[Interval]) -> Interval:
    known = [ends for ends in intervals if not math.isnan(ends[0])]
    if not known:
        return _UNKNOWN
    return min(low for low, _ in known), max(high for _, high in known)


def _fieller(mean: np.ndarray, reach: np.ndarray) -> Interval:
    """Return the ratios r ≥ 0 that ``reach``, t² times the covariance of the means, allows (Fieller 1954).

    Unlike mean ± t standard errors of the ratio it opens upwards where the denominator may be zero.
    """
    a = mean[0] ** 2 - reach[0, 0]
    b = mean[0] * mean[1] - reach[0, 1]
    c = mean[1] ** 2 - reach[1, 1]
    root = math.sqrt(max(0.0, b * b - a * c))
    if a > 0:
        low, high = (b - root) / a, (b + root) / a
        return (max(0.0, float(low)), float(high)) if high >= 0 else _UNKNOWN
    if c <= 0 or a == 0:
        return 0.0, math.inf
    # All but the ratios between the roots, of which one is negative: |g|² may be zero, tr Σ may not.
    return max(0.0, float((b - root) / a)), math.inf
