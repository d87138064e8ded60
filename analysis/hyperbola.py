"""Fit the hyperbola S = S_min (1 + B_crit/B) to steps at several batch sizes, with intervals that cover.

ln S = ln S_min + ln(1 + B_crit/B) is linear in ln S_min, so one ladder of B_crit shows the whole likelihood. Intervals
are its 95 % sets (every value that the data do not reject), with Student's t for a scatter that is estimated: a few
points make a normal interval too short, and a resampling of them too. A set that reaches the end of the ladder is not
bounded on that side.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import stdtrit

from .hyperbola_likelihood import RUNGS, Likelihood, StepPoints, best_point, likely_region
from .intervals import COVERAGE
from .law import Array

HyperbolaStatus = Literal["ok", "unbounded_low", "unbounded_high", "unbounded", "failed"]
FEWEST_BATCH_SIZES = 3
REACH = 1e3
"""A B_crit further than this factor from the tested batch sizes can't be told from zero or from infinity."""
SD_FLOOR = 1e-3
"""Least standard deviation in ln steps that a point is given credit for."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interval:
    """A value with its 95 % interval; NaN where the data do not bound it."""

    value: float
    low: float
    high: float


UNKNOWN = Interval(value=np.nan, low=np.nan, high=np.nan)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hyperbola:
    """The fitted hyperbola.

    ``status`` is that of B_crit: ``unbounded_high`` (no upper end: the tested batches are too small), ``unbounded_low``
    (too large), ``unbounded`` (neither end), ``failed`` (fewer than three batch sizes measured). A number that is not
    bounded on both sides has no value, only the end that is known. ``scatter`` is the standard deviation of ln steps
    beyond ``StepPoints.sd`` (all of it where that is unknown).
    """

    status: HyperbolaStatus
    s_min: Interval = UNKNOWN
    e_min: Interval = UNKNOWN
    b_crit: Interval = UNKNOWN
    scatter: float = np.nan
    degrees: float = np.nan
    _ln_b: Array = dataclasses.field(default_factory=lambda: np.empty(0), repr=False)
    _ln_s_low: Array = dataclasses.field(default_factory=lambda: np.empty(0), repr=False)
    _ln_s_high: Array = dataclasses.field(default_factory=lambda: np.empty(0), repr=False)
    _best: tuple[float, float] = dataclasses.field(default=(np.nan, np.nan), repr=False)

    def steps_at(self, batch_size: ArrayLike) -> tuple[Array, Array, Array]:
        """Return expected steps and their 95 % interval at batch sizes of shape (n,); NaN if the fit failed.

        They are known inside the tested batch sizes even where B_crit is not bounded.
        """
        at = np.log(np.atleast_1d(np.asarray(batch_size, dtype=float)))
        if self.status == "failed":
            nothing = np.full(len(at), np.nan)
            return nothing, nothing.copy(), nothing.copy()
        ln_s, ln_b = self._best
        middle = ln_s + np.logaddexp(0.0, ln_b - at)
        rise = np.logaddexp(0.0, self._ln_b[:, None] - at)
        low, high = (self._ln_s_low[:, None] + rise).min(axis=0), (self._ln_s_high[:, None] + rise).max(axis=0)
        return np.exp(middle), np.exp(np.minimum(low, middle)), np.exp(np.maximum(high, middle))


def fit_hyperbola(points: StepPoints) -> Hyperbola:
    """Fit the hyperbola by maximum likelihood in ln steps; bounds enter with the probability of their half line.

    Measured points scatter with the variance of their replicates plus an extra one that is fitted so that the residuals
    are as large as they should be (n - 2 degrees of freedom). Where replicates differ as much as the points do, both
    are pooled.
    """
    keep = np.isfinite(points.ln_steps)
    points = dataclasses.replace(
        points, **{name: getattr(points, name)[keep] for name in ("batch_size", "ln_steps", "side", "sd")}
    )
    measured = points.side == 0
    if len(np.unique(points.batch_size[measured])) < FEWEST_BATCH_SIZES:
        return Hyperbola(status="failed")
    ln_b = np.linspace(np.log(points.batch_size.min() / REACH), np.log(points.batch_size.max() * REACH), RUNGS)
    variance, scatter, degrees = _variance(points, ln_b)
    likelihood = Likelihood(points, variance)
    best_s, best_b, least = best_point(likelihood, ln_b)
    limit = least + float(stdtrit(degrees, 0.5 + COVERAGE / 2)) ** 2
    profile = likelihood.profile(ln_b)[1]
    low_open, high_open = bool(profile[0] <= limit), bool(profile[-1] <= limit)
    inside, s_low, s_high = likely_region(likelihood, ln_b, best_b, limit)
    statuses: dict[tuple[bool, bool], HyperbolaStatus] = {
        (False, False): "ok",
        (True, False): "unbounded_low",
        (False, True): "unbounded_high",
        (True, True): "unbounded",
    }
    return Hyperbola(
        status=statuses[low_open, high_open],
        s_min=_interval(best_s, s_low.min(), s_high.max(), low_known=not high_open),
        e_min=_interval(best_s + best_b, (s_low + inside).min(), (s_high + inside).max(), low_known=not low_open),
        b_crit=_interval(best_b, inside[0], inside[-1], low_known=not low_open, high_known=not high_open),
        scatter=scatter,
        degrees=degrees,
        _ln_b=inside,
        _ln_s_low=s_low,
        _ln_s_high=s_high,
        _best=(best_s, best_b),
    )


def _interval(middle: float, low: float, high: float, *, low_known: bool, high_known: bool = True) -> Interval:
    return Interval(
        value=float(np.exp(middle)) if low_known and high_known else np.nan,
        low=float(np.exp(min(low, middle))) if low_known else np.nan,
        high=float(np.exp(max(high, middle))) if high_known else np.nan,
    )


def _variance(points: StepPoints, ln_b: Array) -> tuple[Array, float, float]:
    """Return the variance of every point's ln steps, the extra scatter and the degrees of freedom behind them."""
    measured = points.side == 0
    spare = float(measured.sum() - 2)
    ladder = ln_b[::3]

    def excess(variance: Array) -> float:
        likelihood = Likelihood(points, variance)
        ln_s, ln_best, _ = best_point(likelihood, ladder, spacing=1e-3)
        gap = ln_s + np.logaddexp(0.0, ln_best - likelihood.ln_batch) - points.ln_steps
        return float(np.sum(likelihood.weight * gap**2)) - spare

    known = points.sd**2
    if points.degrees <= 0 or not np.isfinite(known[measured]).any():
        known = np.zeros(len(known))
    else:
        typical = float(np.median(known[measured & np.isfinite(known)]))
        known = np.maximum(np.where(np.isfinite(known), known, typical), SD_FLOOR**2)
        surplus = excess(known)
        if surplus <= 0:
            pooled = (surplus + spare + points.degrees) / (spare + points.degrees)
            return known * pooled, 0.0, spare + points.degrees
    least, most = np.log(SD_FLOOR**2 / 1e6), np.log(1e2)
    ends = [excess(known + np.exp(end)) for end in (least, most)]
    # Steps that lie on a hyperbola exactly, or that no scatter explains, stop at an end.
    found = least if ends[0] <= 0 else most if ends[1] >= 0 else brentq(_of_log(excess, known), least, most, xtol=1e-6)
    extra = float(np.exp(found))
    return known + extra, float(np.sqrt(extra)), spare


def _of_log(excess: Callable[[Array], float], known: Array) -> Callable[[float], float]:
    return lambda ln_extra: excess(known + np.exp(ln_extra))
