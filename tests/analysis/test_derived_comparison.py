"""Derived against fitted: the rules of the verdicts on cases whose answer is known, and every row of the table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.derived import Optimizer, derive_laws
from analysis.derived.comparison import COMPARISON_COLUMNS, compare_derived
from analysis.derived.derived_law import DerivedLaw
from analysis.derived.ratios import interval_ratio, interval_samples
from analysis.derived.verdicts import DERIVATION_VERDICT_COLUMNS
from analysis.derived.words import verdict_sentences
from analysis.fit import fit_law
from analysis.fit_tables import fits_table
from analysis.laws import LAWS
from analysis.mean_draws import Estimate
from analysis.optimum import OPTIMUM_COLUMNS

from .simulated_probes import dense, diagonal, probe_rows

LADDER = 2.0 ** np.arange(2, 11)
NAMES = {"study": "s", "workload": "w", "optimizer": "o"}


def optima_of(rate, *, width=0.05, ladder=LADDER, seed=None, **changes):
    """Optima on a curve, with 95 % intervals of ± ``width`` in ln; ``seed`` moves them by as much."""
    rng = np.random.default_rng(seed)
    value = np.array([rate(b) for b in ladder]) * np.exp(
        (seed is not None) * width / 1.96 * rng.normal(size=len(ladder))
    )
    table = pd.DataFrame(
        {"sweep": "x", "batch_size": ladder, "learning_rate": value, "low": value * np.exp(-width)}
        | {"high": value * np.exp(width), "status": "interior", "outcome": 1.0, "cells": 5, "seeds": 2}
    )[list(OPTIMUM_COLUMNS)]
    return table.assign(**changes)


def known_law(rate, *, spread=0.02, ladder=LADDER, name="saturating", seed=0, step=5, **more):
    """A derived law with the given curve and a level that is known to ``spread``."""
    rng = np.random.default_rng(seed)
    ln_rate = np.log([rate(b) for b in ladder])
    samples = np.exp(ln_rate + np.concatenate([[0.0], spread * rng.standard_normal(2000)])[:, None])
    return DerivedLaw(
        derivation=name, law=name, trial_id="", step=step, batch_size=np.asarray(ladder), rates=samples, **more
    )


def saturating(b):
    return 0.3 / (1 + 64 / b)


def verdict_of(law, optima, **more):
    found = compare_derived([law], optima=optima, **NAMES, **more)
    assert list(found.verdicts.columns) == list(DERIVATION_VERDICT_COLUMNS)
    assert list(found.table.columns) == list(COMPARISON_COLUMNS)
    assert len(found.verdicts) == 1
    return found.verdicts.iloc[0], found.table


def test_the_same_curve_is_supported_with_a_level_of_one():
    verdict, table = verdict_of(known_law(saturating), optima_of(saturating))
    assert (verdict["verdict"], verdict["level_verdict"]) == ("supported", "supported")
    assert verdict["level"] == pytest.approx(1.0, rel=1e-9)
    assert verdict["slope_low"] < 0 < verdict["slope_high"]
    assert verdict["batch_sizes"] == len(LADDER)
    rates = table[(table["quantity"] == "learning_rate") & table["step"].isna()]
    assert rates["ratio"].to_numpy() == pytest.approx(1.0)
    # independent sources of 2 % and 5 %/1.96, in quadrature
    half = np.hypot(1.96 * 0.02, 0.05)
    assert np.log(rates["high"] / rates["low"]).to_numpy() / 2 == pytest.approx(half, rel=0.08)


def test_a_wrong_level_is_said_beside_a_right_shape():
    verdict, _ = verdict_of(known_law(lambda b: 3 * saturating(b)), optima_of(saturating))
    assert (verdict["verdict"], verdict["level_verdict"]) == ("supported", "rejected")
    assert verdict["level"] == pytest.approx(3.0, rel=1e-9)
    low = verdict_of(known_law(lambda b: saturating(b) / 1.3), optima_of(saturating))[0]
    assert low["level_verdict"] == "supported"


def test_a_wrong_exponent_is_rejected_and_its_size_is_told():
    verdict, table = verdict_of(known_law(lambda b: 0.01 * b**0.5), optima_of(lambda b: 0.01 * b**0.1))
    assert verdict["verdict"] == "rejected"
    assert verdict["slope"] == pytest.approx(0.4, abs=1e-9)
    assert "exponent" in verdict["reason"]
    run = table[table["step"].isna()].set_index("quantity")
    assert run.loc["exponent", ["derived", "fitted"]].tolist() == pytest.approx([0.5, 0.1])
    assert run.loc["growth_per_doubling", ["derived", "fitted"]].tolist() == pytest.approx([2**0.5, 2**0.1])
    assert run.loc["growth_per_doubling", "ratio"] == pytest.approx(2**0.4)


def test_exponents_that_are_not_both_positive_have_no_ratio():
    _, table = verdict_of(known_law(lambda b: 0.01 * b**-0.2), optima_of(lambda b: 0.01 * b**-0.1))
    row = table[table["step"].isna()].set_index("quantity").loc["exponent"]
    assert row[["derived", "fitted"]].tolist() == pytest.approx([-0.2, -0.1])
    assert np.isnan(row["ratio"])
    assert (row["status"], row["reason"]) == ("not_resolved", "the ratio of exponents needs two positive ones")


def test_a_surge_that_is_not_there_is_rejected_by_its_bend():
    centre = np.exp(np.mean(np.log(LADDER)))

    def surge(b):  # the same slope on average, and a peak in the middle
        return 0.1 * np.exp(-0.12 * np.log(b / centre) ** 2)

    verdict, _ = verdict_of(known_law(surge), optima_of(lambda b: 0.1))
    assert abs(verdict["slope"]) < 0.01
    assert verdict["verdict"] == "rejected"
    assert "bends otherwise" in verdict["reason"]


def test_wide_intervals_leave_it_unresolved_in_both_directions():
    wide = {"width": 1.8}
    assert verdict_of(known_law(saturating), optima_of(saturating, **wide))[0]["verdict"] == "not resolved"
    wrong = verdict_of(known_law(lambda b: 0.01 * b**0.5), optima_of(lambda b: 0.01 * b**0.2, **wide))[0]
    assert wrong["verdict"] == "not resolved"


def test_the_further_the_batches_reach_the_smaller_an_error_of_the_exponent_may_be():
    said = {}
    for last in (6, 11):
        ladder = 2.0 ** np.arange(2, last)
        law = known_law(lambda b: 0.01 * b**0.5, ladder=ladder)
        said[last] = verdict_of(law, optima_of(lambda b: 0.01 * b**0.3, width=0.01, ladder=ladder))[0]["verdict"]
    assert said == {6: "supported", 11: "rejected"}  # a factor of 1.5 over 8, and one of 3 over 256


def test_a_small_error_that_is_surely_there_is_no_rejection():
    verdict, _ = verdict_of(known_law(lambda b: 0.01 * b**0.5), optima_of(lambda b: 0.01 * b**0.4, width=0.01))
    assert verdict["slope_low"] > 0
    assert verdict["verdict"] == "supported"


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_batch_sizes_are_not_resolved(count):
    verdict, _ = verdict_of(known_law(saturating), optima_of(saturating).iloc[:count])
    assert verdict["verdict"] == "not resolved"
    assert "3 are needed" in verdict["reason"]


def test_the_truth_is_hardly_ever_rejected_and_mostly_supported():
    found = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        shift = np.exp(0.1 * rng.normal())
        law = known_law(lambda b, s=shift: s * saturating(b), spread=0.1, seed=seed)
        found.append(verdict_of(law, optima_of(saturating, width=0.3, seed=seed))[0]["verdict"])
    assert found.count("rejected") <= 5  # two are to be expected at 95 %
    assert found.count("supported") >= 30


def test_bounds_and_lost_optima_give_bounds_and_no_number():
    optima = optima_of(saturating)
    optima.loc[0, ["status", "low", "high"]] = ["edge_low", np.nan, 0.01]
    optima.loc[1, ["status", "low", "high"]] = ["edge_high", 0.04, np.nan]
    optima.loc[2, ["status", "learning_rate", "low", "high"]] = ["unresolved", np.nan, np.nan, np.nan]
    optima.loc[3, "low"] = np.nan
    _, table = verdict_of(known_law(saturating), optima)
    rows = table[(table["quantity"] == "learning_rate") & table["step"].isna()].reset_index(drop=True)
    assert rows.loc[:3, "status"].tolist() == ["not_resolved"] * 4
    assert rows.loc[4:, "status"].tolist() == ["ok"] * 5
    for i, word in enumerate(("lowest rate", "highest rate", "did not resolve", "no end")):
        assert word in rows.loc[i, "reason"]
    assert rows.loc[:2, "ratio"].isna().all()
    assert rows.loc[0, "low"] == pytest.approx(saturating(4) / 0.01, rel=0.05)
    assert np.isnan(rows.loc[0, "high"])
    assert rows.loc[1, "high"] == pytest.approx(saturating(8) / 0.04, rel=0.05)
    assert np.isnan(rows.loc[1, "low"])
    assert rows.loc[2, ["low", "high"]].isna().all()
    assert np.isnan(rows.loc[3, "high"])  # the fitted rate may be far lower: no upper end of derived/fitted
    assert np.isfinite(rows.loc[3, "low"])


def test_a_direct_law_is_compared_within_its_own_batch_sizes_only():
    _, table = verdict_of(known_law(saturating, ladder=LADDER[2:5], name="one_step"), optima_of(saturating))
    rows = table[(table["quantity"] == "learning_rate") & table["step"].isna()]
    assert rows["status"].tolist() == ["not_measured"] * 2 + ["ok"] * 3 + ["not_measured"] * 4


def test_every_probe_is_compared_and_the_mean_of_the_run_decides():
    laws = [known_law(lambda b, f=f: f * saturating(b), step=step, seed=step) for step, f in ((1, 0.25), (100, 4.0))]
    found = compare_derived(laws, optima=optima_of(saturating), **NAMES)
    levels = found.table[found.table["quantity"] == "level"].set_index("step")["ratio"]
    assert levels[1] == pytest.approx(0.25)
    assert levels[100] == pytest.approx(4.0)
    assert len(found.verdicts) == 1
    assert found.verdicts.loc[0, "level"] == pytest.approx(1.0)


def test_parameters_are_set_against_those_of_the_same_law():
    problem = dense(beta_n=0.5)
    rows = probe_rows(problem, draws=32, seed=2)
    optima = optima_of(problem.sign_rate, width=0.03)
    columns = {name: optima[name] for name in ("batch_size", "learning_rate", "low", "high", "status")}
    fits = fits_table({"x": {name: fit_law(LAWS[name], **columns) for name in ("surge", "half_power", "power")}})
    laws = derive_laws(rows, optimizer=Optimizer(name="sign-sgd"), batch_sizes=LADDER)
    found = compare_derived(laws, optima=optima, fits=fits, **NAMES)
    run = found.table[found.table["step"].isna()]
    surge = run[run["derivation"] == "surge"].set_index("quantity")
    assert surge.loc["eta_peak", "ratio"] == pytest.approx(1.0, abs=0.1)
    assert surge.loc["beta_n", "derived"] == pytest.approx(0.5, abs=0.06)
    assert surge.loc["B_peak", "fitted"] == pytest.approx(np.pi / 2 * 40 / 3, rel=0.4)
    assert {"eta_max", "B_noise"} <= set(run.loc[run["derivation"] == "half_power", "quantity"])
    verdicts = found.verdicts.set_index("derivation")["verdict"]
    assert verdicts["surge"] == "supported"
    assert verdicts["half_power"] == "rejected"
    assert verdicts["one_step"] == "not resolved"


def test_a_sweep_of_sgd_supports_its_derivation():
    problem = diagonal()
    rows = probe_rows(problem, draws=32, ladder=(4, 32, 256, 1024), seed=3)
    laws = derive_laws(rows, optimizer=Optimizer(name="sgd"), batch_sizes=LADDER)
    found = compare_derived(laws, optima=optima_of(problem.sgd_rate, width=0.1), **NAMES)
    verdicts = found.verdicts.set_index("derivation")
    assert verdicts.loc[["saturating", "one_step"], "verdict"].tolist() == ["supported"] * 2
    assert verdicts.loc["line_search", "reason"] == "the probe did not measure it"
    assert found.table["derived"].notna().sum() > 20


def test_nothing_derived_is_an_empty_table_with_its_columns():
    found = compare_derived([], optima=optima_of(saturating))
    assert found.table.empty
    assert list(found.table.columns) == list(COMPARISON_COLUMNS)
    assert list(found.verdicts.columns) == list(DERIVATION_VERDICT_COLUMNS)
    assert verdict_sentences(found.verdicts) == []


def test_optima_of_several_sweeps_are_refused():
    with pytest.raises(ValueError, match="one sweep"):
        compare_derived([], optima=pd.concat([optima_of(saturating), optima_of(saturating, sweep="y")]))


def test_a_doubted_derivation_decides_nothing():
    law = known_law(lambda b: 0.01 * b, doubt="too much noise")
    verdict, table = verdict_of(law, optima_of(saturating))
    assert (verdict["verdict"], verdict["reason"]) == ("not resolved", "too much noise")
    assert "ok" not in set(table["status"])


def test_the_ratio_of_two_intervals_is_that_of_sampled_ratios():
    one, other = Estimate(value=2.0, low=1.5, high=3.0), Estimate(value=5.0, low=4.0, high=5.5)
    rng = np.random.default_rng(0)
    drawn = interval_samples(one, count=200_000, rng=rng) - interval_samples(other, count=200_000, rng=rng)
    found = interval_ratio(one, other)
    assert found.value == pytest.approx(0.4)
    assert np.log([found.low, found.high]) == pytest.approx(np.quantile(drawn[1:], [0.025, 0.975]), abs=0.04)
    back = interval_ratio(other, one)
    assert [1 / back.high, 1 / back.low] == pytest.approx([found.low, found.high])


def test_sentences_say_verdict_size_and_direction():
    right = verdict_of(known_law(lambda b: 3 * saturating(b)), optima_of(saturating))[0]
    wrong = verdict_of(known_law(lambda b: 0.01 * b**0.6, name="half_power"), optima_of(saturating))[0]
    lines = verdict_sentences(pd.DataFrame([wrong, right]))
    assert lines[0].startswith(
        "s w o, saturating: the way the rate moves with the batch is supported from batch size 4 to"
    )
    assert "The level is wrong; derived rates lie 3 times above the fitted ones (ratio 3.00 [" in lines[0]
    assert lines[1].startswith("s w o, half_power: the way the rate moves with the batch is rejected")
    assert len(lines) == 2
