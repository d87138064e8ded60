"""What every interval shares: its level, and quantiles of samples that may lie beyond all bounds."""

from __future__ import annotations

import numpy as np

from .law import Array

COVERAGE = 0.95
TAIL = (1.0 - COVERAGE) / 2.0


def open_quantile(values: Array, level: float) -> float:
    """Return a quantile of values that may be infinite, without interpolating between them; NaN of none."""
    if not len(values):
        return np.nan
    ordered = np.sort(values)
    return float(ordered[round(level * (len(ordered) - 1))])
