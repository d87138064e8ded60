"""Tables of the derived laws, in words: verdicts, quantities, rates, noise scales, probe runs and their constants."""

from __future__ import annotations

import math

from ..derived import DERIVATIONS, DIRECT
from ..derived_study import DerivedStudy
from ..figures import interval, number
from ..probe_rows import ALL
from .markup import Markup, data_table, details

_STATUS = {"ok": "resolved", "not_resolved": "not resolved", "not_measured": "not measured"}
_QUANTITIES = {
    "level": "level (learning rate, geometric mean)",
    "growth_per_doubling": "growth of the rate per doubling of the batch",
    "exponent": "exponent of the rate over the batch",
}
_RATIO = {"ratio": "ratio", "low": "ratio_low", "high": "ratio_high", "status": "compared", "reason": "why"}
_SOURCES = {
    "fit": "fit of the best rates",
    "hyperbola": "steps against examples",
    "probe_b_noise": "probes, with curvature",
    "probe_b_simple": "probes, B_simple",
    "probe_b_sign": "probes, noise scale of the sign",
}
_CONSTANTS = {
    "grad_sq": "|g|²",
    "grad_var": "tr Σ",
    "curvature_grad": "gᵀHg",
    "curvature_noise": "tr(HΣ)",
    "hessian_trace": "tr H",
    "grad_l1": "|g|₁",
    "curvature_sign": "sᵀHs",
    "noise_to_signal": "κ²",
    "eta_max": "|g|²/gᵀHg",
    "b_noise": "tr(HΣ)/gᵀHg",
    "b_simple": "tr Σ/|g|²",
    "b_sign": "π κ²/2",
}


def verdicts_markup(derived: DerivedStudy) -> Markup:
    """Return the verdict on every derivation; empty without any."""
    rows = [
        (
            row.derivation,
            row.verdict,
            interval(row.slope, row.slope_low, row.slope_high),
            row.level_verdict,
            interval(row.level, row.level_low, row.level_high, digits=3),
            row.batch_sizes,
            row.reason,
        )
        for row in derived.verdicts.itertuples(index=False)
    ]
    headers = (
        "derivation",
        "shape",
        "derived less fitted exponent [95\u00a0%]",
        "level",
        "derived / fitted rate [95\u00a0%]",
        "batch sizes",
        "why",
    )
    caption = "What the data say of each derivation: its shape (how the rate moves with the batch), and its level."
    return data_table(caption, headers, rows, numeric=(2, 4, 5), kind="said") if rows else ""


def parameters_markup(derived: DerivedStudy) -> Markup:
    """Return the parameters that the derivations give, beside those of the fitted laws; empty without any.

    Intervals are of the derived value and, where there is a fitted one, of the ratio.
    """
    keys = ["derivation", "quantity"]
    run = derived.parameters[derived.parameters["step"].isna()].rename(columns={"parameter": "quantity"})
    of_sweep = derived.comparison[derived.comparison["step"].isna()].rename(columns=_RATIO)
    both = run.merge(of_sweep[[*keys, "fitted", *_RATIO.values()]], on=keys, how="left", sort=False)
    alone = derived.comparison.empty
    rows = []
    for row in both.itertuples(index=False):
        shown = [row.derivation, row.quantity, interval(row.value, row.low, row.high, digits=3)]
        if not alone:
            shown += [number(row.fitted), interval(row.ratio, row.ratio_low, row.ratio_high, digits=3)]
        is_compared = isinstance(row.compared, str)
        rows.append((*shown, _status(row.compared, row.why) if is_compared else _status(row.status, row.reason)))
    headers = ["derivation", "parameter", "derived [95\u00a0%]"]
    headers += [] if alone else ["fitted", "derived / fitted [95\u00a0%]"]
    caption = "Parameters of the closed forms" + ("." if alone else ", and of the fitted laws of the same form.")
    return data_table(caption, [*headers, "status"], rows, numeric=range(2, len(headers)), kind="said") if rows else ""


def curves_markup(derived: DerivedStudy) -> Markup:
    """Return level, growth and exponent of the rates, derived and fitted, folded; empty without a comparison."""
    run = derived.comparison[derived.comparison["step"].isna() & derived.comparison["quantity"].isin(list(_QUANTITIES))]
    rows = [
        (
            row.derivation,
            _QUANTITIES[str(row.quantity)],
            number(row.derived),
            number(row.fitted),
            interval(row.ratio, row.low, row.high, digits=3),
            _status(row.status, row.reason),
        )
        for row in run.itertuples(index=False)
    ]
    headers = ("derivation", "quantity", "derived", "fitted", "derived / fitted [95\u00a0%]", "status")
    caption = "Curves of the rates, derived and fitted, over the batch sizes where both are resolved."
    table = data_table(caption, headers, rows, numeric=(2, 3, 4), kind="said")
    return details("Level, growth and exponent, derived and fitted", table) if rows else ""


def derived_rates_markup(derived: DerivedStudy) -> Markup:
    """Return the mean rate of every derivation at every batch size, folded, beside the fitted one if there is any."""
    run = derived.derived[derived.derived["step"].isna()]
    keys = ["derivation", "batch_size"]
    of_sweep = derived.comparison[
        derived.comparison["step"].isna() & (derived.comparison["quantity"] == "learning_rate")
    ].rename(columns=_RATIO)
    both = run.merge(of_sweep[[*keys, "fitted", *_RATIO.values()]], on=keys, how="left", sort=False)
    alone = of_sweep.empty
    rows = []
    for row in both.itertuples(index=False):
        shown = [row.derivation, number(row.batch_size), interval(row.learning_rate, row.low, row.high)]
        if not alone:
            shown += [number(row.fitted), interval(row.ratio, row.ratio_low, row.ratio_high, digits=3)]
        is_compared = isinstance(row.compared, str)
        rows.append((*shown, _status(row.compared, row.why) if is_compared else _status(row.status, row.reason)))
    headers = ["derivation", "batch size (examples/step)", "derived rate [95\u00a0%]"]
    headers += [] if alone else ["fitted rate", "derived / fitted [95\u00a0%]"]
    caption = "Derived rates, the mean over the probes of all runs."
    table = data_table(caption, [*headers, "status"], rows, numeric=range(1, len(headers)), kind="said")
    return details("Derived rates by batch size", table) if rows else ""


def derivations_markup(derived: DerivedStudy) -> Markup:
    """Return formula and assumptions of the derivations shown."""
    rows = []
    for name in dict.fromkeys(derived.derived["derivation"]):
        closed = DERIVATIONS.get(str(name))
        formula = closed.formula if closed is not None else "measured at the batch sizes of the probe; no closed form"
        rows.append((name, formula, closed.assumes if closed is not None else DIRECT.get(str(name), "")))
    caption = "No derivation has a free parameter; each takes its assumptions for granted."
    return data_table(caption, ("derivation", "best rate at batch size B", "assumes"), rows, kind="laws")


def three_way_markup(derived: DerivedStudy) -> Markup:
    """Return the noise scale by every way it was measured."""
    run = derived.three_way[derived.three_way["step"].isna()]
    rows = [
        (_SOURCES.get(str(row.source), row.source), _bounded(row), _status(row.status, ""), row.definition)
        for row in run.itertuples(index=False)
    ]
    headers = ("measured by", "noise scale (examples/step) [95\u00a0%]", "status", "definition")
    return data_table("One noise scale, measured in different ways.", headers, rows, numeric=(1,), kind="said")


def agreements_markup(derived: DerivedStudy) -> Markup:
    """Return which pairs of noise scales agree."""
    rows = [
        (
            _SOURCES.get(str(row.first), row.first),
            _SOURCES.get(str(row.second), row.second),
            interval(row.ratio, row.low, row.high, digits=3),
            row.agreement,
        )
        for row in derived.agreements.dropna(subset=["ratio", "low", "high"], how="all").itertuples(index=False)
    ]
    headers = ("first", "second", "first / second [95\u00a0%]", "the two")
    return data_table("Noise scales in pairs, by the intervals of their ratios.", headers, rows, numeric=(2,))


def runs_markup(derived: DerivedStudy) -> Markup:
    """Return the batch size and the rate of every probe run."""
    rows = [
        (row.trial_id, number(row.batch_size), number(row.learning_rate), row.points, _percent(row.probe_share))
        for row in derived.runs.itertuples(index=False)
    ]
    headers = ("probe run", "batch size (examples/step)", "learning rate", "probe points", "time in probes")
    return data_table("The runs in which gradients were measured.", headers, rows, numeric=(1, 2, 3, 4))


def _percent(share: float) -> str:
    return f"{100.0 * share:.0f}\u00a0%" if math.isfinite(share) else "\u2013"


def constants_markup(derived: DerivedStudy) -> Markup:
    """Return the constants of the whole model at every probe, a row a probe; a dash is what was not resolved."""
    whole = derived.noise_scales[derived.noise_scales["scope"] == ALL]
    whole = whole.assign(rank=(whole["status"] != "ok") * 2 + (whole["method"] == "two_batch"))
    best = whole.sort_values("rank", kind="stable").drop_duplicates(["trial_id", "step", "quantity"])
    places = {
        (row.trial_id, row.step, row.quantity): interval(row.value, row.low, row.high)
        for row in best[best["status"] == "ok"].itertuples(index=False)
    }
    shown = [name for name in _CONSTANTS if name in set(best.loc[best["status"] == "ok", "quantity"])]
    steps = whole.drop_duplicates(["trial_id", "step"]).sort_values("step", kind="stable")
    rows = [
        (
            number(run.batch_size),
            number(run.learning_rate),
            number(float(step)),
            *(places.get((run.trial_id, step, name), "–") for name in shown),
        )
        for run in derived.runs.itertuples(index=False)
        for step in steps.loc[steps["trial_id"] == run.trial_id, "step"]
    ]
    headers = ("batch size", "rate of the run", "step", *(_CONSTANTS[name] for name in shown))
    caption = (
        "Averages over the draws of one probe, whole model, with 95\u00a0% intervals; noise scales in examples. What "
        "was measured of single tensors is in noise_scales.csv."
    )
    return data_table(caption, headers, rows, numeric=range(1, len(headers)))


def _status(status: object, reason: object) -> str:
    words = _STATUS.get(str(status), str(status))
    return f"{words}: {reason}" if reason and isinstance(reason, str) else words


def _bounded(row: object) -> str:
    value, low, high = (float(getattr(row, name)) for name in ("value", "low", "high"))
    if math.isnan(value) and math.isfinite(low) != math.isfinite(high):
        return f"at least {number(low)}" if math.isfinite(low) else f"at most {number(high)}"
    return interval(value, low, high, digits=3)
