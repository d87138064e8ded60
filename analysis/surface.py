"""The second route from cells to a law: one surface over batch size and rate whose ridge is the law, beside the first.

The first route finds the best rate of each batch size alone and lays laws through these optima. Here all batch sizes
share the shape of their valleys, so that more cells tell more about each optimum. Where both say the same, neither the
shape nor the windows of either decided the answer.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
import pandas as pd

from .fit import Estimate
from .fit_tables import Fits
from .intervals import TAIL
from .law import Law
from .laws import LAWS
from .observations import NORMAL_95
from .surface_draws import draw_ridges
from .surface_fit import Ridges, SurfaceFit, fit_surface_law
from .surface_grid import surface_data
from .surface_window import choose_windows

SURFACE_COLUMNS = (
    "sweep",
    "law",
    "parameter",
    "value",
    "low",
    "high",
    "status",  # as in fits
    "aicc",
    "weight",  # as in fits, by this route
    "batch_sizes",
    "cells",  # cells of the grid that the surface is fitted to
    "lack_of_fit",  # probability of a ridge so far from the law if the law holds; NaN without degrees of freedom
    "agrees",  # True | False: with the first route at 95 %; NaN where either has no value or is open on that side
    "difference_sd",  # surface less first route, in combined standard deviations
)
SURFACE_OPTIMUM_COLUMNS = ("sweep", "batch_size", "learning_rate", "low", "high")


def fit_surface(
    cells: pd.DataFrame, fits: Fits, *, laws: Mapping[str, Law] = LAWS, seed: int = 0, resamples: int = 200
) -> pd.DataFrame:
    """Return one row per sweep, law and parameter with ``SURFACE_COLUMNS``.

    The two routes see the same cells, so that their errors go together and the difference in combined standard
    deviations is a cautious one: below 2 it says little, above it the routes contradict each other.

    Args:
        cells: from ``tabulate_cells``, of any number of sweeps.
        fits: the first route's, by sweep and law; sweeps and laws that are not there get no comparison.
        laws: name -> law.
        seed: decides the resampling.
        resamples: surfaces made anew for the intervals.
    """
    rows: list[dict[str, object]] = []
    for sweep, part in cells.groupby("sweep", sort=False):
        ridges = find_ridges(part, seed=seed, resamples=resamples)
        rng = _generator(str(sweep), seed, 1)
        found = {name: fit_surface_law(law, ridges, rng=rng) for name, law in laws.items()}
        weights = _weights(found)
        for name, fit in found.items():
            first = fits.get(str(sweep), {}).get(name)
            for i, estimate in enumerate(fit.estimates):
                rows.append(
                    {"sweep": sweep, "law": name, **_row(fit, i), "weight": weights.get(name, np.nan)}
                    | _comparison(estimate, None if first is None else first.estimates[i])
                )
    return pd.DataFrame(rows, columns=list(SURFACE_COLUMNS))


def find_ridges(cells: pd.DataFrame, *, seed: int = 0, resamples: int = 200) -> Ridges:
    """Return the best rates of one sweep's batch sizes on a surface, in the windows that stand, with their resamples.

    Args:
        cells: rows of one sweep from ``tabulate_cells``.
        seed: decides the resampling.
        resamples: surfaces made anew, over all windows.
    """
    data = surface_data(cells)
    windows = [] if data is None else choose_windows(data)
    if not windows:
        return Ridges(windows=(), draws=())
    rng = _generator(str(cells["sweep"].iloc[0]), seed, 0)
    share = -(-resamples // len(windows))
    draws = tuple(draw_ridges(window, rng=rng, resamples=share) for window in windows)
    return Ridges(windows=tuple(windows), draws=draws)


def surface_optima(cells: pd.DataFrame, *, seed: int = 0, resamples: int = 200) -> pd.DataFrame:
    """Return the best rate of each batch size on the sweep's surface, with ``SURFACE_OPTIMUM_COLUMNS``.

    No law is assumed; batch sizes with too few cells have no row. Arguments as in ``fit_surface``.
    """
    frames = []
    for sweep, part in cells.groupby("sweep", sort=False):
        ridges = find_ridges(part, seed=seed, resamples=resamples)
        if not ridges.windows:
            continue
        window = ridges.windows[0]
        low, high = np.quantile(np.concatenate(ridges.draws), [TAIL, 1.0 - TAIL], axis=0)
        frames.append(
            pd.DataFrame(
                {
                    "sweep": sweep,
                    "batch_size": np.exp(window.grid.ln_batch),
                    "learning_rate": np.exp(window.ln_best),
                    "low": np.exp(np.minimum(low, window.ln_best)),
                    "high": np.exp(np.maximum(high, window.ln_best)),
                }
            )
        )
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(SURFACE_OPTIMUM_COLUMNS))


def _generator(sweep: str, seed: int, stage: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(sweep.encode()), stage])


def _weights(fits: Mapping[str, SurfaceFit]) -> dict[str, float]:
    criterion = {n: f.aicc for n, f in fits.items() if f.aicc is not None and f.law.same_curves_as is None}
    relative = {name: float(np.exp(-0.5 * (value - min(criterion.values())))) for name, value in criterion.items()}
    return {name: value / sum(relative.values()) for name, value in relative.items()}


def _row(fit: SurfaceFit, i: int) -> dict[str, object]:
    estimate = fit.estimates[i]
    return {
        "parameter": estimate.parameter.name,
        "value": _number(estimate.value),
        "low": _number(estimate.low),
        "high": _number(estimate.high),
        "status": estimate.status,
        "aicc": _number(fit.aicc),
        "batch_sizes": fit.batch_sizes,
        "cells": fit.cells,
        "lack_of_fit": _number(fit.lack_of_fit),
    }


def _comparison(surface: Estimate, first: Estimate | None) -> dict[str, object]:
    """Return ``agrees`` and ``difference_sd``, taken in the coordinate in which the parameter is fitted.

    Of either interval the half counts that faces the other estimate. Where that end is open, no contradiction is
    possible and nothing is said.
    """
    nothing: dict[str, object] = {"agrees": np.nan, "difference_sd": np.nan}
    if first is None or surface.value is None or first.value is None:
        return nothing
    above = surface.value > first.value
    end, facing = (surface.low, first.high) if above else (surface.high, first.low)
    if end is None or facing is None:
        return nothing
    one, other, end, facing = (
        float(surface.parameter.to_coordinate(value)) for value in (surface.value, first.value, end, facing)
    )
    sd = float(np.hypot(one - end, other - facing)) / NORMAL_95
    if sd == 0.0:
        return nothing
    return {"agrees": abs(one - other) <= NORMAL_95 * sd, "difference_sd": (one - other) / sd}


def _number(value: float | None) -> float:
    return np.nan if value is None else value
