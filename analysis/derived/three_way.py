"""One noise scale, measured three ways: the fit of η*(B), the trade-off of steps and examples, and the probes.

Theory has B_noise of the fit, B_crit of the hyperbola and tr(HΣ)/gᵀHg of the probes be one quantity, and B_simple too
where curvature is the same in all directions. A sign has its own, B_s = (π/2) κ². Two measurements

    differ         if the 95 % interval of their ratio leaves out one
    agree          if it holds one and lies within AGREEMENT on both sides
    not resolved   otherwise
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..law import Array
from ..mean_draws import Estimate, summarise_positive
from ..probe_rows import ALL
from .ratios import UNKNOWN, interval_ratio, interval_samples

THREE_WAY_COLUMNS = (
    "source",  # fit | hyperbola | probe_b_noise | probe_b_simple | probe_b_sign (where the fit is a surge)
    "trial_id",  # the run of the probe; empty for a number of the sweep
    "step",  # of the probe; <NA> for a number of the sweep
    "value",  # examples per step
    "low",
    "high",
    "status",  # ok | not_resolved | not_measured
    "definition",
)
AGREEMENT_COLUMNS = ("first", "second", "ratio", "low", "high", "agreement")
NOISE_SCALES = ("B_noise", "B_s", "B_simple")
"""Parameters of fitted laws that are noise scales."""
AGREEMENT = 4.0
"""Intervals of a ratio wider than this factor on a side tell nothing."""
_DEFINITIONS = {
    "fit": "{parameter} of {law} fitted to the best rates",
    "hyperbola": "B_crit = E_min/S_min of steps and examples to the target",
    "probe_b_noise": "tr(H Sigma)/g'Hg at the probe{times}",
    "probe_b_simple": "tr Sigma/|g|^2 at the probe{times}",
    "probe_b_sign": "(pi/2) kappa^2 at the probe{times}",
}


def three_way_table(
    *,
    noise_scales: pd.DataFrame,
    fits: pd.DataFrame | None = None,
    tradeoff: pd.DataFrame | None = None,
    law: str = "saturating",
    noise_factor: float = 1.0,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the measurements side by side, with ``THREE_WAY_COLUMNS``: the sweep's, then every probe's.

    A run's number is the mean over optimiser steps (trapezoid) of its resolved probes: with a noise scale that drifts,
    E_min/S_min is such a mean. The sweep's is the geometric mean over its runs.

    Args:
        noise_scales: from ``noise_scale_table``.
        fits: rows of one sweep with ``fit_tables.FIT_COLUMNS``.
        tradeoff: row of the same sweep with ``tradeoff.TRADEOFF_COLUMNS``.
        law: the fitted law whose ``B_noise`` (``B_s``, ``B_simple``) is meant.
        noise_factor: of the optimiser (``Optimizer.noise_factor``): an average acts as a larger batch, for the fit and
            the trade-off, but not for the gradients that a probe sees. One with ``adam_ema``, whose B_simple is that
            of the gradients before they are averaged.
        seed: decides the samples of the mean over probes.
    """
    names = {"law": law, "parameter": _fitted_scale(fits, law)}
    names["times"] = f", times the optimiser's noise factor {noise_factor:.3g}" if noise_factor != 1.0 else ""
    definitions = {name: text.format(**names) for name, text in _DEFINITIONS.items()}
    rows: list[dict[str, object]] = [_row("fit", None, *_of_fit(fits, law))]
    rows.append(_row("hyperbola", None, *_of_tradeoff(tradeoff)))
    probes: list[dict[str, object]] = []
    rng = np.random.default_rng(seed)
    of_sign = ("b_sign",) if names["parameter"] == "B_s" else ()
    for quantity in ("b_noise", "b_simple", *of_sign):
        part = noise_scales[(noise_scales["scope"] == ALL) & (noise_scales["quantity"] == quantity)]
        part = _best_method(part).sort_values(["trial_id", "step"], kind="stable")
        found = [
            (
                str(row.trial_id),
                int(row.step),
                Estimate(value=noise_factor * row.value, low=noise_factor * row.low, high=noise_factor * row.high),
                str(row.status),
            )
            for row in part.itertuples(index=False)
        ]
        known = [(run, step, number) for run, step, number, status in found if status == "ok"]
        measured = any(status != "not_measured" for *_, status in found)
        status = "ok" if known else "not_resolved" if measured else "not_measured"
        rows.append(_row(f"probe_{quantity}", None, _over_runs(known, rng), status))
        probes += [_row(f"probe_{quantity}", step, number, status, run) for run, step, number, status in found]
    table = pd.DataFrame(rows + probes, columns=list(THREE_WAY_COLUMNS[:-1])).astype({"step": "Int64"})
    return table.assign(definition=table["source"].map(definitions))


def agreement_table(three_way: pd.DataFrame) -> pd.DataFrame:
    """Return every pair of the sweep's measurements and whether they agree, with ``AGREEMENT_COLUMNS``."""
    run = three_way[three_way["step"].isna()]
    numbers = {
        str(row.source): Estimate(value=row.value, low=row.low, high=row.high) for row in run.itertuples(index=False)
    }
    names = list(numbers)
    rows = []
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            ratio = interval_ratio(numbers[first], numbers[second])
            rows.append(
                {
                    "first": first,
                    "second": second,
                    "ratio": ratio.value,
                    "low": ratio.low,
                    "high": ratio.high,
                    "agreement": agreement(ratio),
                }
            )
    return pd.DataFrame(rows, columns=list(AGREEMENT_COLUMNS))


def agreement(ratio: Estimate) -> str:
    """Return ``agree``, ``differ`` or ``not resolved`` by the rule above."""
    if ratio.low > 1.0 or ratio.high < 1.0:
        return "differ"
    return "agree" if ratio.low >= 1.0 / AGREEMENT and ratio.high <= AGREEMENT else "not resolved"


def _of_fit(fits: pd.DataFrame | None, law: str) -> tuple[Estimate, str]:
    if fits is None:
        return UNKNOWN, "not_measured"
    rows = fits[(fits["law"] == law) & fits["parameter"].isin(NOISE_SCALES)]
    return _interval(rows, ("value", "low", "high"))


def _fitted_scale(fits: pd.DataFrame | None, law: str) -> str:
    """Return the law's parameter that is a noise scale."""
    rows = [] if fits is None else fits.loc[(fits["law"] == law) & fits["parameter"].isin(NOISE_SCALES), "parameter"]
    return str(next(iter(rows), NOISE_SCALES[0]))


def _of_tradeoff(tradeoff: pd.DataFrame | None) -> tuple[Estimate, str]:
    return (
        (UNKNOWN, "not_measured") if tradeoff is None else _interval(tradeoff, ("b_crit", "b_crit_low", "b_crit_high"))
    )


def _interval(rows: pd.DataFrame, names: tuple[str, str, str]) -> tuple[Estimate, str]:
    if not len(rows) or (rows["status"] == "failed").all():
        return UNKNOWN, "not_measured"
    value, low, high = (float(rows.iloc[0][name]) for name in names)
    found = Estimate(value=value, low=low, high=high)
    return found, "ok" if found.bounded else "not_resolved"


def _best_method(rows: pd.DataFrame) -> pd.DataFrame:
    """Keep one row a run and step: the per-example one where it was measured."""
    order = rows.assign(absent=rows["status"] == "not_measured", other=rows["method"] != "per_example").sort_values(
        ["trial_id", "step", "absent", "other"], kind="stable"
    )
    return order.drop_duplicates(["trial_id", "step"])


def _over_runs(known: list[tuple[str, int, Estimate]], rng: np.random.Generator) -> Estimate:
    by_run: dict[str, list[tuple[int, Estimate]]] = {}
    for run, step, number in known:
        by_run.setdefault(run, []).append((step, number))
    if not by_run:
        return UNKNOWN
    # The runs of a sweep have different batch sizes: a step of one is not a step of another.
    return summarise_positive(np.exp(np.mean([np.log(_over_steps(run, rng)) for run in by_run.values()], axis=0)))


def _over_steps(known: list[tuple[int, Estimate]], rng: np.random.Generator) -> Array:
    """Return the mean over the steps of one run, and samples of it."""
    steps = np.array([step for step, _ in known], dtype=float)
    width = np.ones(1) if len(steps) == 1 else np.zeros(len(steps))
    if len(steps) > 1:
        width[:-1] += np.diff(steps) / 2.0
        width[1:] += np.diff(steps) / 2.0
    samples = np.stack([interval_samples(number, count=2000, rng=rng) for _, number in known], axis=1)
    return np.exp(samples) @ (width / width.sum())


def _row(source: str, step: int | None, found: Estimate, status: str, trial_id: str = "") -> dict[str, object]:
    return {
        "source": source,
        "trial_id": trial_id,
        "step": pd.NA if step is None else step,
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "status": status,
    }
