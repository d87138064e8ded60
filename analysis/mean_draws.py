"""From few draws to intervals of any function of their means: averages first, ratios afterwards.

What is known of the true means after K draws is a Student t distribution around the averages with K - 1 degrees of
freedom (several quantities of the same draws: a multivariate one, with the covariance of the draws). Samples from it go
through a formula as they are. For a ratio of two means the 2.5 % and 97.5 % points are then Fieller's interval, and
where a denominator may be zero the interval is open, as it should be. A bootstrap over four draws could not do this: it
never leaves the convex hull of the draws.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from .intervals import TAIL, open_quantile
from .law import Array
from .probe_rows import Draws, Key

RESAMPLES = 2000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its 95 % interval; NaN is an end, or a number, that is not known."""

    value: float
    low: float
    high: float

    @property
    def bounded(self) -> bool:
        """Whether the value and both ends are known."""
        return bool(np.isfinite([self.value, self.low, self.high]).all())


def sample_means(
    series: Mapping[Key, Draws], *, seed: int | Sequence[int], resamples: int = RESAMPLES
) -> dict[Key, Array]:
    """Return for every quantity its average and samples of what the true mean may be.

    Quantities of the same draw share their chance, so that differences and ratios keep their correlation.

    Args:
        series: quantity -> its draws.
        seed: decides the samples.
        resamples: how many.

    Returns:
        Arrays of shape (1 + resamples,), the average first. The samples are NaN where there is one draw only, or a
        value that is not finite.
    """
    rng = np.random.default_rng(seed)
    draws = np.unique(np.concatenate([np.empty(0), *(drawn.number for drawn in series.values())]))
    normal = rng.standard_normal((resamples, len(draws)))
    widening = {
        count: np.sqrt((count - 1.0) / rng.chisquare(count - 1.0, resamples))
        for count in sorted({len(drawn) for drawn in series.values()})
        if count >= 2
    }
    result = {}
    for key, drawn in series.items():
        count = len(drawn)
        mean = float(np.mean(drawn.value)) if count else np.nan
        if count < 2 or not np.isfinite(drawn.value).all():
            result[key] = np.concatenate([[mean], np.full(resamples, np.nan)])
            continue
        residual = (drawn.value - mean) / np.sqrt(count * (count - 1.0))
        shift = normal[:, np.searchsorted(draws, drawn.number)] @ residual
        result[key] = np.concatenate([[mean], mean + shift * widening[count]])
    return result


def standard_error(terms: Sequence[tuple[float, Draws]]) -> float:
    """Return the standard error of a weighted sum of averages; NaN with one draw.

    Args:
        terms: weight and draws. Terms of the same draws keep their correlation.
    """
    first = terms[0][1].number
    if all(np.array_equal(draws.number, first) for _, draws in terms):
        drawn = [np.sum([weight * draws.value for weight, draws in terms], axis=0)]
    else:
        drawn = [weight * draws.value for weight, draws in terms]
    if any(len(values) < 2 or not np.isfinite(values).all() for values in drawn):
        return float("nan")
    return float(np.sqrt(sum(np.var(values, ddof=1) / len(values) for values in drawn)))


def summarise(samples: Array) -> Estimate:
    """Return the value (first of ``samples``) and the interval of the others, shape (1 + resamples,).

    An infinite end is not known, nor is any without samples. A sample without any value counts against both ends.
    """
    value, drawn = float(samples[0]), samples[1:]
    low = open_quantile(np.where(np.isnan(drawn), -np.inf, drawn), TAIL)
    high = open_quantile(np.where(np.isnan(drawn), np.inf, drawn), 1.0 - TAIL)
    return Estimate(
        value=value if np.isfinite(value) else np.nan,
        low=min(low, value) if np.isfinite(low) else np.nan,
        high=max(high, value) if np.isfinite(high) else np.nan,
    )


def summarise_positive(samples: Array) -> Estimate:
    """Return the same for a number that is positive by its nature: an end at or below zero is not known."""
    found = summarise(samples)
    value, low, high = (x if x > 0 else np.nan for x in (found.value, found.low, found.high))
    return Estimate(value=value, low=low, high=high)


def positive_ratio(numerator: Array, denominator: Array) -> Array:
    """Return numerator / denominator of two numbers that must be positive.

    A denominator that is not positive bounds nothing: the ratio is infinite. A numerator that is not makes it zero; if
    neither is positive, nothing is known (NaN).
    """
    numerator, denominator = np.broadcast_arrays(
        np.asarray(numerator, dtype=float), np.asarray(denominator, dtype=float)
    )
    both = (numerator > 0) & (denominator > 0)
    with np.errstate(over="ignore", invalid="ignore"):
        ratio = numerator / np.where(both, denominator, 1.0)
    result = np.where(both, ratio, np.where(numerator > 0, np.inf, np.where(denominator > 0, 0.0, np.nan)))
    return np.where(np.isnan(numerator) | np.isnan(denominator), np.nan, result)
