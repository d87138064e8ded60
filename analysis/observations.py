"""Optima as a fit sees them: ln rates with standard deviations, and bounds."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike

from .law import Array

NORMAL_95 = 1.959963984540054
"""Half the width of a normal 95 % interval in standard deviations."""
SD_FLOOR = 0.01
"""Standard deviation in ln rate that no grid beats: the vertex of a curve is not known better than to one per cent."""

SIDES = {"interior": 0, "edge_low": -1, "edge_high": 1}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Observations:
    """Optima in the order of the batch sizes, each array of shape (n,).

    ``ln_rate`` is measured where ``side`` is 0; the truth is at most that where it is -1, at least that where it is +1.
    ``used`` are the positions of these optima in the arrays they came from.
    """

    ln_batch: Array
    ln_rate: Array
    side: Array
    sd: Array
    used: np.ndarray

    @property
    def measured(self) -> np.ndarray:
        """Which optima are more than bounds, shape (n,)."""
        return self.side == 0

    def take(self, which: np.ndarray) -> Observations:
        """Return the optima selected by a mask or positions."""
        return Observations(**{f.name: getattr(self, f.name)[which] for f in dataclasses.fields(self)})


def observe(
    *,
    batch_size: ArrayLike,
    learning_rate: ArrayLike,
    low: ArrayLike | None = None,
    high: ArrayLike | None = None,
    status: ArrayLike | None = None,
) -> Observations:
    """Turn columns of a table of optima into observations, in ln; unresolved optima are left out.

    The standard deviation is a quarter of a 95 % interval's width (a known half counts for both); an optimum without an
    interval gets the median of the others, and all get the floor if there are none.

    Raises:
        ValueError: for lengths that differ, an unknown status, or numbers that are not positive and finite.
    """
    batch = np.atleast_1d(np.asarray(batch_size, dtype=float))
    rate = np.atleast_1d(np.asarray(learning_rate, dtype=float))
    lows = np.full(len(batch), np.nan) if low is None else np.atleast_1d(np.asarray(low, dtype=float))
    highs = np.full(len(batch), np.nan) if high is None else np.atleast_1d(np.asarray(high, dtype=float))
    names = np.full(len(batch), "interior") if status is None else np.atleast_1d(np.asarray(status, dtype=str))
    lengths = {len(a) for a in (batch, rate, lows, highs, names)}
    if len(lengths) > 1:
        raise ValueError(f"columns of optima must have one length, but got {sorted(lengths)}")
    unknown = sorted(set(names.tolist()) - {*SIDES, "unresolved"})
    if unknown:
        raise ValueError(f"status must be one of {[*SIDES, 'unresolved']}, but got {unknown}")
    kept = np.flatnonzero(names != "unresolved")
    kept = kept[np.argsort(batch[kept], kind="stable")]
    batch, rate, lows, highs, names = batch[kept], rate[kept], lows[kept], highs[kept], names[kept]
    for name, values in (("batch_size", batch), ("learning_rate", rate)):
        wrong = values[~(np.isfinite(values) & (values > 0))]
        if len(wrong):
            raise ValueError(
                f"{name} must be positive and finite, but got {wrong[:3].tolist()}; mark such optima unresolved"
            )
    side = np.array([SIDES[name] for name in names.tolist()], dtype=float)
    bound = np.where(side < 0, highs, lows)
    value = np.where((side != 0) & np.isfinite(bound), bound, rate)
    return Observations(
        ln_batch=np.log(batch), ln_rate=np.log(value), side=side, sd=_deviations(rate, lows, highs, side), used=kept
    )


def _deviations(rate: Array, low: Array, high: Array, side: Array) -> Array:
    ln_rate, ln_low, ln_high = (np.log(np.where(a > 0, a, np.nan)) for a in (rate, low, high))
    halves = np.column_stack([ln_rate - ln_low, ln_high - ln_rate])
    known = np.isfinite(halves)
    count = known.sum(axis=1)
    mean_half = np.where(known, halves, 0.0).sum(axis=1) / np.maximum(count, 1)
    sd = np.where((side == 0) & (count > 0), mean_half / NORMAL_95, np.nan)
    typical = float(np.median(sd[np.isfinite(sd)])) if np.isfinite(sd).any() else 0.0
    return np.maximum(np.where(np.isfinite(sd), sd, typical), SD_FLOOR)
