"""Ratios of numbers that are known by 95 % intervals, and samples of such numbers."""

from __future__ import annotations

import numpy as np

from ..law import Array
from ..mean_draws import Estimate
from ..observations import NORMAL_95

UNKNOWN = Estimate(value=np.nan, low=np.nan, high=np.nan)


def interval_ratio(over: Estimate, under: Estimate) -> Estimate:
    """Return the ratio of two positive numbers measured independently of each other.

    The distances from value to end add in quadrature, in ln (Donner and Zou 2012, MOVER). Where a value is not known
    its ends are taken as hard bounds.
    """
    if np.isfinite(over.value) and np.isfinite(under.value):
        a, b = np.log(over.value), np.log(under.value)
        down = np.hypot(a - _ln(over.low), _ln(under.high) - b)
        up = np.hypot(_ln(over.high) - a, b - _ln(under.low))
        return Estimate(value=float(np.exp(a - b)), low=float(np.exp(a - b - down)), high=float(np.exp(a - b + up)))
    return Estimate(value=np.nan, low=over.low / under.high, high=over.high / under.low)


def interval_samples(found: Estimate, *, count: int, rng: np.random.Generator) -> Array:
    """Return ln of the value, and samples of the truth with the interval's two halves as normal ones.

    Shape (1 + count,). Towards an end that is not known the samples are infinite.
    """
    middle = _ln(found.value)
    normal = rng.standard_normal(count)
    below, above = (
        half / NORMAL_95 if np.isfinite(half) else np.inf
        for half in (middle - _ln(found.low), _ln(found.high) - middle)
    )
    return np.concatenate([[middle], middle + np.where(normal < 0, below, above) * normal])


def _ln(value: float) -> float:
    return float(np.log(value)) if value > 0 else np.nan
