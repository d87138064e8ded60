"""Studies with a known ridge and valleys of shapes that are not the surface's own, and how often intervals hold it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from analysis.cells import tabulate_cells
from analysis.fit import fit_law
from analysis.laws import LAWS
from analysis.optimum import locate_optima
from analysis.surface import find_ridges
from analysis.surface_fit import fit_surface_law

OCTAVE = np.log(2.0)
TRUTH = {"power": (0.01, 0.5), "saturating": (0.5, 60.0)}
RATES: dict[str, Callable[[float], float]] = {
    "power": lambda b: 0.01 * b**0.5,
    "saturating": lambda b: 0.5 / (1 + 60.0 / b),
}


def parabola(d: float) -> float:
    """A tenth per octave squared."""
    return 0.1 * (d / OCTAVE) ** 2


def one_step(d: float) -> float:
    """Steps to a target on a quadratic loss, for a rate exp(d) times the best: beyond twice that they never end."""
    u = np.exp(d)
    return float(-np.log(2 * u - u * u)) if u < 2 else np.inf


def lopsided(d: float) -> float:
    """Exponential towards divergence, straight towards slow learning."""
    return float(0.5 * (np.exp(d) - 1 - d))


SHAPES = {"parabola": parabola, "one_step": one_step, "lopsided": lopsided}
BUDGET = 1.6
"""A one-step run that needs more than exp of this times the fewest steps misses its target."""


def study(
    law: str, shape: str, *, noise: float, step: float, seeds: int, seed: int, batch_sizes: int = 7, offset: float = 0.0
) -> pd.DataFrame:
    """Return cells; rates lie ``step`` octaves apart, three octaves to either side of about the best one."""
    rng = np.random.default_rng([seed, 7])
    rows = []
    for batch in 2.0 ** np.arange(3, 3 + batch_sizes):
        best = RATES[law](batch)
        centre = (round(np.log2(best) / step + offset) - offset) * step
        for k in range(-round(3 / step), round(3 / step) + 1):
            rate = 2.0 ** (centre + k * step)
            height = SHAPES[shape](float(np.log(rate / best)))
            for trial in range(seeds):
                score = height + noise * rng.standard_normal()
                status = "diverged" if np.isinf(height) else "reached"
                if shape == "one_step" and status == "reached" and height > BUDGET:
                    status = "exhausted"
                rows.append(
                    {
                        "sweep": "s",
                        "batch_size": batch,
                        "learning_rate": rate,
                        "seed": trial,
                        "status": status,
                        "steps": 1000.0 * np.exp(BUDGET),
                        "steps_to_target": 1000.0 * np.exp(score) if status == "reached" else np.nan,
                    }
                )
    return tabulate_cells(pd.DataFrame(rows), outcome="steps_to_target")


def measure(law: str, shape: str, *, studies: int, resamples: int, both: bool, **setting: float) -> pd.DataFrame:
    """Return one row per study, route and parameter: whether the interval holds the truth, its width and the error.

    Width and error are in the coordinate of the fit.
    """
    rows = []
    for seed in range(studies):
        cells = study(law, shape, seed=seed, **setting)  # type: ignore[arg-type]
        ridges = find_ridges(cells, seed=seed, resamples=resamples)
        found = {"surface": fit_surface_law(LAWS[law], ridges, rng=np.random.default_rng(seed)).estimates}
        if both:
            optima = locate_optima(cells, seed=seed, resamples=resamples)
            columns = ("batch_size", "learning_rate", "low", "high", "status")
            table = {name: optima.table[name].to_numpy() for name in columns}
            found["optima"] = fit_law(LAWS[law], draws=optima.draws["s"], **table).estimates
        for route, estimates in found.items():
            for estimate, true in zip(estimates, TRUTH[law], strict=True):
                to = estimate.parameter.to_coordinate
                low = -np.inf if estimate.low is None else float(to(estimate.low))
                high = np.inf if estimate.high is None else float(to(estimate.high))
                rows.append(
                    {
                        "study": seed,
                        "route": route,
                        "parameter": estimate.parameter.name,
                        "holds": low <= float(to(true)) <= high,
                        "width": high - low,
                        "error": np.nan if estimate.value is None else float(to(estimate.value) - to(true)),
                    }
                )
    return pd.DataFrame(rows)
