"""Verdicts: right where the data can tell, undetermined where they cannot, and what would decide."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from analysis.compare import VERDICT_COLUMNS, compare, decide
from analysis.design_advice import smallest_detectable_surge, surge_shape
from analysis.fit import fit_law
from analysis.fit_tables import akaike_weights
from analysis.laws import LAWS
from analysis.observations import observe

COMPARED = {name: law for name, law in LAWS.items() if law.same_curves_as is None}


def optima(law: str, values: list[float], *, batches: int = 8, octaves: float = 0.1, seed: int = 0) -> pd.DataFrame:
    """Return measured optima around a law's values, with standard deviations of about ``octaves``."""
    rng = np.random.default_rng(seed)
    batch = 2.0 ** np.arange(3, 3 + batches)
    sd = octaves * np.log(2) * rng.uniform(0.7, 1.3, batches)
    rate = np.exp(LAWS[law].ln_rate(np.log(batch), np.array(values)) + sd * rng.standard_normal(batches))
    ends = {"low": rate * np.exp(-1.96 * sd), "high": rate * np.exp(1.96 * sd)}
    return pd.DataFrame({"batch_size": batch, "learning_rate": rate, **ends, "status": "interior"})


def fit_all(table: pd.DataFrame):
    columns = {name: table[name].to_numpy() for name in table.columns}
    return {name: fit_law(law, **columns, resamples=40) for name, law in COMPARED.items()}


def verdict(table: pd.DataFrame):
    return decide(fit_all(table), table)


@pytest.mark.parametrize(
    ("law", "values"),
    [
        ("constant", [0.1]),
        ("sqrt", [0.01]),
        ("linear", [0.001]),
        ("saturating", [0.5, 90.0]),
        ("surge_small_batch", [0.3, 90.0]),
    ],
)
def test_a_clear_law_is_named(law, values):
    assert verdict(optima(law, values, octaves=0.05)).verdict == law


@pytest.mark.parametrize("law", ["sqrt", "saturating", "half_power", "power"])
def test_noisy_data_are_undetermined_rather_than_wrong(law):
    values = {"sqrt": [0.01], "saturating": [0.5, 90.0], "half_power": [0.5, 90.0], "power": [0.01, 0.3]}[law]
    found = [verdict(optima(law, values, batches=6, octaves=0.4, seed=seed)).verdict for seed in range(3)]
    assert set(found) <= {law, "undetermined"}


def test_undetermined_names_the_rivals_and_the_trials_that_would_decide():
    found = verdict(optima("half_power", [0.5, 90.0], batches=6, octaves=0.3, seed=1))
    assert found.verdict == "undetermined"
    assert "not rejected" in found.reason
    assert "batch size" in found.suggested_trials


def test_the_exponent_and_its_consequences_are_said():
    reason = verdict(optima("sqrt", [0.01], octaves=0.05)).reason
    assert "The exponent is 0.5" in reason or "The exponent is 0.4" in reason
    assert "sqrt is inside" in reason
    assert "constant and linear are rejected" in reason


def test_no_rule_is_read_off_the_mean_exponent_of_a_curve():
    reason = verdict(optima("saturating", [0.5, 90.0], octaves=0.05)).reason
    assert "No single power fits; the mean exponent" in reason
    assert "sqrt is inside" not in reason


def test_three_batch_sizes_decide_nothing():
    found = verdict(optima("sqrt", [0.01], batches=3, octaves=0.01))
    assert found.verdict == "undetermined"
    assert "only 3 of 3" in found.reason
    assert "batch sizes" in found.suggested_trials


def test_edges_ask_for_more_rates_there():
    table = optima("sqrt", [0.01], octaves=0.05)
    table.loc[7, ["status", "high"]] = ["edge_high", np.nan]
    table.loc[7, "low"] = table.loc[7, "learning_rate"]
    found = verdict(table)
    assert "higher rates at batch size 1024" in found.suggested_trials
    assert "1 of 8 optima lie at the edge" in found.reason


def test_optima_without_any_law_are_undetermined():
    table = optima("sqrt", [0.01], octaves=0.02)
    table["learning_rate"] *= np.exp(1.2 * np.resize([1.0, -1.0], len(table)))
    table["low"], table["high"] = table["learning_rate"] * 0.97, table["learning_rate"] * 1.03
    found = verdict(table)
    assert found.verdict == "undetermined"
    assert "stray from it" in found.reason


def test_a_rival_as_simple_and_nearly_as_likely_is_not_rejected():
    table = optima("saturating", [0.5, 60.0], octaves=0.05)
    fits = fit_all(table)
    assert decide(fits, table).verdict == "saturating"
    close = dataclasses.replace(fits["half_power"], ln_likelihood=fits["saturating"].ln_likelihood - 1.0)
    found = decide(fits | {"half_power": close}, table)
    assert found.verdict == "undetermined"
    assert "half_power is not rejected" in found.reason


def test_a_better_prediction_of_large_batches_vetoes():
    table = optima("saturating", [0.5, 60.0], octaves=0.1)
    fits = fit_all(table)
    assert decide(fits, table).verdict == "saturating"
    spoiled = fits | {"saturating": dataclasses.replace(fits["saturating"], holdout_error_log2=3.0)}
    found = decide(spoiled, table)
    assert found.verdict == "undetermined"
    assert "predicts the largest batch sizes better" in found.reason


def test_weights_are_those_of_akaike():
    fits = fit_all(optima("sqrt", [0.01]))
    weights = akaike_weights(fits)
    assert sum(weights.values()) == pytest.approx(1.0)
    pair = np.exp(-0.5 * (fits["power"].aicc - fits["sqrt"].aicc))
    assert weights["power"] / weights["sqrt"] == pytest.approx(pair)


def test_the_detectable_surge_follows_the_interval_of_the_last_optimum():
    # 2.8 standard deviations of a difference of two equal ones, 0.1 each: 1 - exp(-2.8 * 0.1414).
    half = 1.959964 * 0.1
    rate = np.full(5, 0.1)
    seen = observe(
        batch_size=2.0 ** np.arange(3, 8), learning_rate=rate, low=rate * np.exp(-half), high=rate * np.exp(half)
    )
    assert smallest_detectable_surge(seen) == pytest.approx(1 - np.exp(-2.8 * 0.1 * 2**0.5), rel=1e-5)
    assert smallest_detectable_surge(seen.take(np.arange(1))) is None


def test_a_fall_of_a_fifth_is_a_surge_with_beta_n_of_a_half():
    assert surge_shape(0.2) == pytest.approx(0.5)


def test_one_row_per_sweep():
    table = pd.concat([optima("sqrt", [0.01]).assign(sweep="a"), optima("linear", [0.001]).assign(sweep="b")])
    fits = {sweep: fit_all(part.drop(columns="sweep")) for sweep, part in table.groupby("sweep")}
    found = compare(fits, table)
    assert list(found.columns) == list(VERDICT_COLUMNS)
    assert found["sweep"].tolist() == ["a", "b"]
