"""Derived against fitted: every rate, the parameters, and level and shape apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..mean_draws import Estimate, positive_ratio, summarise_positive
from .derived_law import DerivedLaw, parameter_estimate
from .ratios import UNKNOWN, interval_ratio, interval_samples
from .run_average import run_average
from .verdicts import DERIVATION_VERDICT_COLUMNS, Gap, judge

COMPARISON_COLUMNS = (
    "study",
    "workload",
    "optimizer",
    "quantity",  # learning_rate | level | growth_per_doubling | exponent | a parameter of the law | B_peak
    "batch_size",  # <NA> where the quantity has none
    "derived",
    "fitted",
    "ratio",  # derived / fitted
    "low",
    "high",
    "derivation",
    "trial_id",  # the run of the probe; empty for a mean over several
    "step",  # of the probe; <NA> for the mean over the probes of all runs
    "status",  # ok | not_resolved | not_measured
    "reason",
)
_ENDS = {
    "edge_low": "the optimum lies at the lowest rate of the sweep: a bound",
    "edge_high": "the optimum lies at the highest rate of the sweep: a bound",
    "unresolved": "the sweep did not resolve the optimum",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """``table`` with ``COMPARISON_COLUMNS``, ``verdicts`` with ``DERIVATION_VERDICT_COLUMNS``."""

    table: pd.DataFrame
    verdicts: pd.DataFrame


def compare_derived(
    laws: Sequence[DerivedLaw],
    *,
    optima: pd.DataFrame,
    fits: pd.DataFrame | None = None,
    study: str = "",
    workload: str = "",
    optimizer: str = "",
    seed: int = 0,
) -> Comparison:
    """Compare derivations with what one sweep found.

    Each probe point is compared, and the mean over points and runs (``run_average``), from which alone the verdicts
    come. ``level``
    is the geometric mean of the ratio over the batch sizes where both sides are resolved, ``growth_per_doubling`` what
    a doubling of the batch multiplies the rate by there (weighted least squares in ln), ``exponent`` its log2.

    Args:
        laws: from ``derive_laws``, of one optimiser.
        optima: rows of one sweep with ``optimum.OPTIMUM_COLUMNS``.
        fits: rows of the same sweep with ``fit_tables.FIT_COLUMNS``; without them no parameter is compared.
        study: for the table.
        workload: for the table.
        optimizer: for the table.
        seed: decides the samples of the fitted optima.

    Raises:
        ValueError: for optima of several sweeps.
    """
    if "sweep" in optima.columns and optima["sweep"].nunique() > 1:
        raise ValueError(f"optima must be of one sweep, but got {sorted(optima['sweep'].astype(str).unique())}")
    names = {"study": study, "workload": workload, "optimizer": optimizer}
    rows: list[dict[str, object]] = []
    verdicts: list[dict[str, object]] = []
    optima = optima.sort_values("batch_size")
    for law in [*laws, *(run_average(laws) if laws else [])]:
        found, gap = _rates(law, optima, seed)
        found += _parameters(law, fits)
        step = pd.NA if law.step is None else law.step
        where = {"derivation": law.derivation, "trial_id": law.trial_id, "step": step}
        rows += [names | {"batch_size": np.nan} | where | row for row in found]
        if law.step is None:
            verdicts.append(names | {"derivation": law.derivation} | judge(gap, missing=law.missing, doubt=law.doubt))
    return Comparison(
        table=pd.DataFrame(rows, columns=list(COMPARISON_COLUMNS)).astype({"step": "Int64"}),
        verdicts=pd.DataFrame(verdicts, columns=list(DERIVATION_VERDICT_COLUMNS)),
    )


def _rates(law: DerivedLaw, optima: pd.DataFrame, seed: int) -> tuple[list[dict[str, object]], Gap | None]:
    batch = optima["batch_size"].to_numpy(dtype=float)
    samples = law.at(batch)
    rows: list[dict[str, object]] = []
    both = []
    for j, optimum in enumerate(optima.itertuples(index=False)):
        derived = summarise_positive(samples[:, j])
        status, reason = law.status_of(derived, batch_size=float(batch[j]))
        if not law.missing and not _within(law, batch[j]):
            status, reason = "not_measured", "outside the batch sizes of the probe"
        fitted = _fitted_rate(optimum)
        ratio = interval_ratio(derived, fitted)
        if status == "ok" and optimum.status != "interior":
            status, reason = "not_resolved", _ENDS[str(optimum.status)]
        elif status == "ok" and not ratio.bounded:
            status, reason = "not_resolved", "the optimum of the sweep has no end on one side"
        if status == "ok":
            both.append(j)
        shown = fitted.value if np.isfinite(fitted.value) else float(optimum.learning_rate)
        rows.append(_row("learning_rate", derived.value, shown, ratio, status, reason) | {"batch_size": batch[j]})
    if len(both) < 2:
        return rows, None
    rng = np.random.default_rng([seed, len(both)])
    picked = optima.iloc[both]
    count = len(samples) - 1
    fitted_samples = np.stack(
        [interval_samples(_fitted_rate(row), count=count, rng=rng) for row in picked.itertuples(index=False)], axis=1
    )
    with np.errstate(divide="ignore"):
        derived_samples = np.log(samples[:, both])
    gap = Gap.of(np.log(batch[both]), derived_samples, fitted_samples)
    level = Estimate(**{k: float(np.exp(v)) for k, v in dataclasses.asdict(gap.level).items()})
    rows.append(
        _row(
            "level",
            float(np.exp(derived_samples[0].mean())),
            float(np.exp(fitted_samples[0].mean())),
            level,
            *_resolved(level),
        )
    )
    growth = Estimate(**{k: float(2.0**v) for k, v in dataclasses.asdict(gap.slope).items()})
    ends = (float(gap.derived_slopes[0]), float(gap.fitted_slopes[0]))
    rows.append(_row("growth_per_doubling", 2.0 ** ends[0], 2.0 ** ends[1], growth, *_resolved(growth)))
    share = summarise_positive(positive_ratio(gap.derived_slopes, gap.fitted_slopes))
    said = _resolved(share) if min(ends) > 0 else ("not_resolved", "the ratio of exponents needs two positive ones")
    rows.append(_row("exponent", *ends, share, *said))
    return rows, gap


def _parameters(law: DerivedLaw, fits: pd.DataFrame | None) -> list[dict[str, object]]:
    if fits is None or law.law is None:
        return []
    own = fits[fits["law"] == law.law]
    rows = []
    for name in law.parameters:
        if name == "B_peak":
            fitted = _fitted_peak(fits)
        elif (own["parameter"] == name).any():
            fitted = _fitted_parameter(own[own["parameter"] == name])
        else:
            continue
        derived = parameter_estimate(law, name)
        status, reason = law.status_of(derived)
        positive = derived.value > 0 and fitted.value > 0
        ratio = interval_ratio(derived, fitted) if positive or name not in law.signed else UNKNOWN
        if status == "ok" and not ratio.bounded:
            status, reason = "not_resolved", "the sweep does not bound it on both sides"
        rows.append(_row(name, derived.value, fitted.value, ratio, status, reason))
    return rows


def _fitted_peak(fits: pd.DataFrame) -> Estimate:
    """Return the batch size of the highest fitted rate, from the surge's parameters.

    Its ends combine theirs, which is wider than their joint distribution would be; no upper end where β_n may be one.
    """
    own = fits[fits["law"] == "surge"].set_index("parameter")
    if not {"beta_n", "B_s"} <= set(own.index):
        return UNKNOWN
    ends = [
        scale * beta_n**2 / (1.0 - beta_n**2) if beta_n < 1.0 else np.nan
        for scale, beta_n in ((own.loc["B_s", end], own.loc["beta_n", end]) for end in ("value", "low", "high"))
    ]
    return Estimate(value=float(ends[0]), low=float(ends[1]), high=float(ends[2]))


def _fitted_parameter(rows: pd.DataFrame) -> Estimate:
    row = rows.iloc[0]
    return Estimate(value=float(row["value"]), low=float(row["low"]), high=float(row["high"]))


def _fitted_rate(row: object) -> Estimate:
    status, value, low, high = (getattr(row, name) for name in ("status", "learning_rate", "low", "high"))
    if status == "interior":
        return Estimate(value=float(value), low=float(low), high=float(high))
    if status == "edge_low":
        return Estimate(value=np.nan, low=np.nan, high=float(high if np.isfinite(high) else value))
    if status == "edge_high":
        return Estimate(value=np.nan, low=float(low if np.isfinite(low) else value), high=np.nan)
    return UNKNOWN


def _within(law: DerivedLaw, batch_size: float) -> bool:
    return len(law.batch_size) > 0 and bool(law.batch_size[0] <= batch_size <= law.batch_size[-1])


def _resolved(found: Estimate) -> tuple[str, str]:
    return ("ok", "") if found.bounded else ("not_resolved", "noise leaves an end open")


def _row(quantity: str, derived: float, fitted: float, ratio: Estimate, status: str, reason: str) -> dict[str, object]:
    return {
        "quantity": quantity,
        "derived": derived,
        "fitted": fitted,
        "ratio": ratio.value,
        "low": ratio.low,
        "high": ratio.high,
        "status": status,
        "reason": reason,
    }
