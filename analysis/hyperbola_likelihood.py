"""The likelihood of the hyperbola S = S_min (1 + B_crit/B), given steps with known variances, and where it is high."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.special import log_ndtr

from .law import Array

RUNGS = 600
"""Values of B_crit on a ladder."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepPoints:
    """Steps to a target at several batch sizes, arrays of shape (n,).

    ``side`` is 0 where the steps are measured, +1 where they are at least the value, -1 where they are at most it.
    ``sd`` is the standard deviation of ln steps known from replicates, NaN where unknown; ``degrees`` are the degrees
    of freedom behind all of ``sd`` together, 0 where nothing is known of the noise.
    """

    batch_size: Array
    ln_steps: Array
    side: Array
    sd: Array
    degrees: float


class Likelihood:
    """Minus twice the ln likelihood, up to a constant, for fixed variances of the points, shape (n,)."""

    def __init__(self, points: StepPoints, variance: Array) -> None:
        """Take the points and the variance of their ln steps."""
        self.ln_batch = np.log(points.batch_size)
        self.measured = points.side == 0
        self.ln_steps, self.side, self.variance = points.ln_steps, points.side, variance
        self.weight = np.where(self.measured, 1.0 / variance, 0.0)

    def deviance(self, ln_s: Array, ln_b: Array) -> Array:
        """Return it for pairs of ln S_min and ln B_crit, shape (m,)."""
        gap = ln_s[:, None] + np.logaddexp(0.0, ln_b[:, None] - self.ln_batch) - self.ln_steps
        squares = np.sum(self.weight * gap**2, axis=1)
        if self.measured.all():
            return squares
        held = ~self.measured
        tails = log_ndtr(self.side[held] * gap[:, held] / np.sqrt(self.variance[held]))
        return squares - 2.0 * np.sum(tails, axis=1)

    def profile(self, ln_b: Array) -> tuple[Array, Array]:
        """Return the best ln S_min for every ln B_crit, shape (m,), and the deviance there."""
        gap = self.ln_steps - np.logaddexp(0.0, ln_b[:, None] - self.ln_batch)
        middle = gap @ self.weight / self.weight.sum()
        if self.measured.all():
            return middle, np.sum(self.weight * (gap - middle[:, None]) ** 2, axis=1)
        # Newton on a convex function; its curvature is at most that of the bounds taken for points, which is used
        # where bounds pull both ways.
        held = ~self.measured
        side, sd = self.side[held], np.sqrt(self.variance[held])
        both = len(np.unique(side)) > 1
        for _ in range(60 if both else 8):
            x = side * (middle[:, None] - gap[:, held]) / sd
            hazard = np.exp(-0.5 * x**2 - log_ndtr(x) - 0.5 * np.log(2.0 * np.pi))
            slope = self.weight.sum() * middle - gap @ self.weight - np.sum(side * hazard / sd, axis=1)
            bend = np.ones_like(x) if both else hazard * (hazard + x)
            middle = middle - slope / (self.weight.sum() + np.sum(bend / sd**2, axis=1))
        return middle, self.deviance(middle, ln_b)

    def ends(self, ln_b: Array, limit: float) -> tuple[Array, Array]:
        """Return the lowest and highest ln S_min with a deviance below ``limit`` for every ln B_crit, shape (m,)."""
        middle, least = self.profile(ln_b)
        # Bounds only raise the deviance, so the measured points' parabola holds the set.
        width = np.sqrt(np.maximum(limit - least, 0.0) / self.weight.sum())
        if self.measured.all():
            return middle - width, middle + width
        gap = self.ln_steps - np.logaddexp(0.0, ln_b[:, None] - self.ln_batch)
        centre = gap @ self.weight / self.weight.sum()
        squares = np.sum(self.weight * (gap - centre[:, None]) ** 2, axis=1)
        width = np.sqrt(np.maximum(limit - squares, 0.0) / self.weight.sum())
        found = []
        for outer in (centre - width, centre + width):
            inside, outside = middle.copy(), outer.copy()
            for _ in range(40):
                half = (inside + outside) / 2.0
                within = self.deviance(half, ln_b) <= limit
                inside, outside = np.where(within, half, inside), np.where(within, outside, half)
            found.append(inside)
        return found[0], found[1]


def best_point(likelihood: Likelihood, ln_b: Array, *, spacing: float = 1e-9) -> tuple[float, float, float]:
    """Return ln S_min, ln B_crit and the deviance at the minimum, by a ladder that closes in on it."""
    ladder = ln_b
    for _ in range(12):
        ln_s, deviance = likelihood.profile(ladder)
        i = int(np.argmin(deviance))
        step = ladder[1] - ladder[0]
        if step < spacing:
            break
        ladder = np.linspace(max(ladder[i] - step, ln_b[0]), min(ladder[i] + step, ln_b[-1]), 25)
    return float(ln_s[i]), float(ladder[i]), float(deviance[i])


def likely_region(likelihood: Likelihood, ln_b: Array, best_b: float, limit: float) -> tuple[Array, Array, Array]:
    """Return a ladder over the values of ln B_crit in the 95 % set, and the ends of ln S_min at each rung."""
    ladder = ln_b
    low = high = best_b
    for _ in range(12):
        within = np.flatnonzero(likelihood.profile(ladder)[1] <= limit)
        spacing = ladder[1] - ladder[0]
        low = min(best_b, ladder[within[0]] if len(within) else best_b)
        high = max(best_b, ladder[within[-1]] if len(within) else best_b)
        if len(within) > RUNGS / 3 or spacing < 1e-12:
            break
        ladder = np.linspace(max(low - spacing, ln_b[0]), min(high + spacing, ln_b[-1]), RUNGS)
    inside = np.linspace(low, high, RUNGS)
    s_low, s_high = likelihood.ends(inside, limit)
    return inside, s_low, s_high
