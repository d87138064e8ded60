"""All laws fitted to all sweeps, as tables."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from .fit import FitResult, fit_law
from .law import Law
from .laws import LAWS
from .optimum import Optima

FIT_COLUMNS = (
    "sweep",
    "law",
    "parameter",
    "value",
    "low",
    "high",
    "status",  # ok | at_bound | unbounded_low | unbounded_high | failed
    "aicc",
    "weight",  # Akaike weight among the laws that are compared; NaN for the others
    "holdout_error_log2",
    "batch_sizes",
)
BAND_COLUMNS = ("sweep", "law", "batch_size", "learning_rate", "low", "high")

Fits = Mapping[str, Mapping[str, FitResult]]
"""Sweep -> law -> fit."""


def fit_laws(optima: Optima, *, laws: Mapping[str, Law] = LAWS, seed: int = 0) -> Fits:
    """Fit every law to every sweep with the optima's own draws."""
    fits: dict[str, dict[str, FitResult]] = {}
    for sweep, part in optima.table.groupby("sweep", sort=True):
        fits[str(sweep)] = {
            name: fit_law(
                law,
                batch_size=part["batch_size"].to_numpy(dtype=float),
                learning_rate=part["learning_rate"].to_numpy(dtype=float),
                low=part["low"].to_numpy(dtype=float),
                high=part["high"].to_numpy(dtype=float),
                status=part["status"].to_numpy(),
                draws=optima.draws[str(sweep)],
                seed=seed,
            )
            for name, law in laws.items()
        }
    return fits


def akaike_weights(fits: Mapping[str, FitResult]) -> dict[str, float]:
    """Return each compared law's Akaike weight; laws that repeat another's curves or have no AICc are left out."""
    criterion = {
        name: fit.aicc for name, fit in fits.items() if fit.aicc is not None and fit.law.same_curves_as is None
    }
    if not criterion:
        return {}
    least = min(criterion.values())
    relative = {name: float(np.exp(-0.5 * (value - least))) for name, value in criterion.items()}
    total = sum(relative.values())
    return {name: value / total for name, value in relative.items()}


def fits_table(fits: Fits) -> pd.DataFrame:
    """Return one row per sweep, law and parameter with ``FIT_COLUMNS``; NaN where a number is not known."""
    rows = []
    for sweep, by_law in fits.items():
        weights = akaike_weights(by_law)
        for name, fit in by_law.items():
            for estimate in fit.estimates:
                rows.append(
                    {
                        "sweep": sweep,
                        "law": name,
                        "parameter": estimate.parameter.name,
                        "value": _number(estimate.value),
                        "low": _number(estimate.low),
                        "high": _number(estimate.high),
                        "status": estimate.status,
                        "aicc": _number(fit.aicc),
                        "weight": weights.get(name, np.nan),
                        "holdout_error_log2": _number(fit.holdout_error_log2),
                        "batch_sizes": fit.batch_sizes,
                    }
                )
    return pd.DataFrame(rows, columns=list(FIT_COLUMNS))


def bands_table(fits: Fits, optima: pd.DataFrame, *, per_octave: int = 2, beyond: float = 4.0) -> pd.DataFrame:
    """Return every law's rate and interval on a ladder of the tested batches, their doubles, and more on both sides."""
    frames = []
    for sweep, by_law in fits.items():
        batch = optima.loc[optima["sweep"] == sweep, "batch_size"].to_numpy(dtype=float)
        first, last = np.log2(max(batch.min() / beyond, 1.0)), np.log2(batch.max() * beyond)
        even = 2.0 ** np.linspace(first, last, max(2, round((last - first) * per_octave) + 1))
        ladder = np.unique(np.round(np.concatenate([even, batch, 2.0 * batch]), 6))
        for name, fit in by_law.items():
            if fit.status == "failed":
                continue
            rate, low, high = fit.predict(ladder)
            frames.append(
                pd.DataFrame(
                    {
                        "sweep": sweep,
                        "law": name,
                        "batch_size": ladder,
                        "learning_rate": rate,
                        "low": low,
                        "high": high,
                    }
                )
            )
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(BAND_COLUMNS))


def _number(value: float | None) -> float:
    return np.nan if value is None else value
