"""From the probes of a study to its derived laws, on simulated runs whose truth is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from analysis.derived import Optimizer
from analysis.derived.fitted_noise import fitted_noise_scale
from analysis.derived_study import FILES, RUN_COLUMNS, DerivedStudy, derive_study
from analysis.laws import LAWS
from analysis.study_analysis import analyse

from .simulated_probes import dense, diagonal, probe_runs, with_rate
from .synthetic_study import B_NOISE, ETA_MAX, make_trials

SIZES = (8, 32, 128, 512)
SGD = with_rate(diagonal(b_simple=B_NOISE), eta_max=ETA_MAX)
SIGN = dense(beta_n=0.5)
SIGN = dataclasses.replace(SIGN, hessian=SIGN.hessian * SIGN.sign_rate(32) / 0.004)
OPTIMIZERS = {"toy sgd": Optimizer(name="sgd"), "toy sign": Optimizer(name="sign-sgd")}
GRID = dict.fromkeys(OPTIMIZERS, SIZES)
EMPTY_RUNS = pd.DataFrame(columns=list(RUN_COLUMNS))


def given(analysis):
    return {"optima": analysis.optima, "fits": analysis.fits, "tradeoff": analysis.tradeoff}


@pytest.fixture(scope="module")
def analysis():
    rates = tuple(float(f"{0.0005 * 2 ** (k / 2):.6g}") for k in range(11))
    parts = [
        make_trials(sweep=sweep, batch_sizes=SIZES, seeds=(0, 1), rates=rates, optimizer=name, best_rate=rate, seed=3)
        for sweep, name, rate in (("toy sgd", "sgd", SGD.sgd_rate), ("toy sign", "sign-sgd", SIGN.sign_rate))
    ]
    trials = pd.concat([rows for rows, _ in parts], ignore_index=True)
    outcomes = dict.fromkeys(OPTIMIZERS, "steps_to_target")
    return analyse(trials, parts[0][1].iloc[:0], outcomes=outcomes, resamples=60)


@pytest.fixture(scope="module")
def probes():
    sgd = probe_runs(SGD, batch_sizes=SIZES, draws=12, per_example=True, seed=1)
    sign = probe_runs(SIGN, sweep="toy sign", batch_sizes=SIZES, draws=12, phi=np.sign, rate=SIGN.sign_rate, seed=2)
    return tuple(pd.concat(pair, ignore_index=True) for pair in zip(sgd, sign, strict=True))


@pytest.fixture(scope="module")
def study(probes, analysis) -> DerivedStudy:
    rows, runs = probes
    return derive_study(
        rows, runs=runs, optimizers=OPTIMIZERS, batch_sizes=GRID, study="s", workloads={"toy sgd": "w"},
        **given(analysis),
    )  # fmt: skip


def run_rows(table, **wanted):
    rows = table[table["step"].isna()] if "step" in table.columns else table
    for name, value in wanted.items():
        rows = rows[rows[name] == value]
    return rows


def test_every_table_begins_with_the_sweep_and_has_its_columns(study):
    for name in FILES:
        table = getattr(study, name)
        assert table.columns[0] == "sweep"
        assert set(table["sweep"]) == set(OPTIMIZERS), name
    assert list(study.runs.columns) == ["sweep", "trial_id", "batch_size", "learning_rate", "points", "probe_share"]
    assert study.runs["probe_share"].isna().all()
    assert study.sweeps == list(OPTIMIZERS)
    assert study.runs["points"].tolist() == [3] * 8


def test_intervals_hold_the_truth(study):
    found = run_rows(study.parameters, sweep="toy sgd", derivation="saturating").set_index("parameter")
    for name, truth in (("eta_max", ETA_MAX), ("B_noise", B_NOISE)):
        assert found.loc[name, "low"] < truth < found.loc[name, "high"]
        assert found.loc[name, "value"] == pytest.approx(truth, rel=0.15)
    for sweep, exact in (("toy sgd", SGD.sgd_rate), ("toy sign", SIGN.sign_rate)):
        rates = run_rows(study.derived, sweep=sweep, derivation="one_step")
        truth = [exact(b) for b in rates["batch_size"]]
        assert rates["batch_size"].tolist() == list(SIZES)
        assert rates["learning_rate"].to_numpy() == pytest.approx(truth, rel=0.12)
    surge = run_rows(study.parameters, sweep="toy sign", derivation="surge").set_index("parameter")["value"]
    assert surge["beta_n"] == pytest.approx(0.5, abs=0.02)
    assert surge["B_s"] == pytest.approx(np.pi / 2.0 * 40.0, rel=0.02)


def test_the_verdicts_are_those_of_the_truth(study):
    verdicts = study.verdicts.set_index(["sweep", "derivation"])
    assert verdicts.loc[("toy sgd", "saturating"), ["verdict", "level_verdict"]].tolist() == ["supported"] * 2
    assert verdicts.loc[("toy sgd", "one_step"), "verdict"] == "supported"
    assert verdicts.loc[("toy sign", "surge"), "verdict"] == "supported"
    assert verdicts.loc[("toy sign", "half_power"), "verdict"] == "rejected"
    assert verdicts.loc[("toy sign", "one_step"), "verdict"] == "supported"
    assert (verdicts["study"] == "s").all()
    assert verdicts["workload"].tolist() == ["w"] * 3 + [""] * 5
    assert verdicts["optimizer"].tolist() == ["sgd"] * 3 + ["sign-sgd"] * 5


def test_a_reader_sees_in_which_run_a_rate_was_measured(study):
    points = study.derived[(study.derived["derivation"] == "one_step") & study.derived["step"].notna()]
    where = points.merge(study.runs, on=["sweep", "trial_id"], suffixes=("", "_run"))
    assert len(where) == len(points) == 2 * 4 * 3
    assert (where["batch_size"] == where["batch_size_run"]).all()
    compared = study.comparison[study.comparison["step"].notna() & (study.comparison["derivation"] == "one_step")]
    assert set(compared["trial_id"]) == set(study.runs["trial_id"])


def test_three_ways_to_the_noise_scale(study):
    table = run_rows(study.three_way, sweep="toy sgd").set_index("source")
    assert table.loc["fit", "definition"] == "B_noise of saturating fitted to the best rates"
    for source, truth in (("fit", B_NOISE), ("hyperbola", 96.0), ("probe_b_noise", B_NOISE), ("probe_b_simple", 64.0)):
        assert table.loc[source, "value"] == pytest.approx(truth, rel=0.2)
    pairs = study.agreements.set_index(["sweep", "first", "second"])["agreement"]
    assert pairs["toy sgd", "fit", "probe_b_noise"] == "agree"
    assert pairs["toy sgd", "hyperbola", "probe_b_simple"] == "differ"  # B_crit is 96 here, and the noise scale 64
    sign = run_rows(study.three_way, sweep="toy sign").set_index("source")
    assert sign.loc["probe_b_sign", "value"] == pytest.approx(np.pi / 2.0 * 40.0, rel=0.05)
    assert "probe_b_sign" not in table.index


def test_the_runs_of_a_sweep_have_the_same_say_in_its_noise_scale(probes):
    """One run is probed at 3 steps and has half the noise scale of the other, which is probed at 1."""
    low = probe_runs(SGD, batch_sizes=(8,), draws=32, sweep="x")
    other = dataclasses.replace(SGD, noise=SGD.noise * 2.0)
    high = probe_runs(other, batch_sizes=(32,), draws=32, sweep="x", steps=(7,))
    rows, runs = (pd.concat(pair) for pair in zip(low, high, strict=True))
    found = derive_study(rows, runs=runs, optimizers={"x": OPTIMIZERS["toy sgd"]}, batch_sizes={"x": SIZES})
    value = run_rows(found.three_way).set_index("source").loc["probe_b_simple", "value"]
    assert value == pytest.approx(B_NOISE * 2.0, rel=0.15)  # the geometric mean of 64 and 256


def test_sentences_begin_with_the_sweep_and_say_the_sum_first(study):
    for sweep in OPTIMIZERS:
        lines = study.sentences(sweep)
        assert all(line.startswith(f"{sweep}: ") for line in lines)
    first, *others = study.sentences("toy sign")
    assert "the data support one_step" in first
    assert "reject half_power (rates 3." in first
    assert "line_search" not in first
    assert any("half_power: the way the rate moves with the batch is rejected" in line for line in others)
    assert any("the noise scale in examples per step" in line for line in others)
    assert study.sentences("elsewhere") == []


def test_without_a_sweep_there_is_nothing_to_compare_and_everything_to_derive(probes, study):
    rows, runs = probes
    alone = derive_study(rows, runs=runs, optimizers=OPTIMIZERS, batch_sizes=GRID)
    pd.testing.assert_frame_equal(alone.derived, study.derived)
    for name in ("comparison", "verdicts"):
        assert getattr(alone, name).empty
        assert list(getattr(alone, name).columns) == list(getattr(study, name).columns)
    three = run_rows(alone.three_way, sweep="toy sgd").set_index("source")["status"]
    assert three.to_dict() == {
        "fit": "not_measured", "hyperbola": "not_measured", "probe_b_noise": "ok", "probe_b_simple": "ok",
    }  # fmt: skip
    assert alone.sentences("toy sgd")[0].startswith("toy sgd: the best rate, derived without a sweep by one_step: 0.00")


def test_nothing_probed_is_empty_tables_with_their_columns(study, analysis):
    for rows in (pd.DataFrame(), pd.DataFrame(columns=["trial_id", "step"]).iloc[:0, :0]):
        empty = derive_study(rows, runs=EMPTY_RUNS, optimizers={}, batch_sizes={}, **given(analysis))
        assert empty.sweeps == []
        for name in FILES:
            assert getattr(empty, name).empty
            assert list(getattr(empty, name).columns) == list(getattr(study, name).columns)


def test_a_sweep_without_probes_and_rows_of_strangers_are_left_out(probes, analysis):
    rows, runs = probes
    own = rows["trial_id"].str.startswith("toy sgd")
    stranger = rows[own].assign(trial_id="stranger")
    found = derive_study(
        pd.concat([rows[own], stranger]), runs=runs, optimizers=OPTIMIZERS, batch_sizes=GRID, **given(analysis)
    )
    assert found.sweeps == ["toy sgd"]
    assert "stranger" not in set(found.noise_scales["trial_id"])
    missing = derive_study(rows[rows["trial_id"] == "toy sgd-8"], runs=runs, optimizers=OPTIMIZERS, batch_sizes=GRID)
    assert missing.runs["points"].tolist() == [3, 0, 0, 0]


def test_the_share_of_time_in_probes_is_that_of_the_whole_run(probes, analysis):
    rows, runs = probes
    seconds = {"train_seconds": 2.0, "evaluate_seconds": 1.0, "setup_seconds": 1.0, "probe_seconds": 12.0}
    found = derive_study(rows, runs=runs.assign(**seconds), optimizers=OPTIMIZERS, batch_sizes=GRID, resamples=50)
    assert set(found.runs["probe_share"]) == {0.75}


@pytest.mark.parametrize("draws", [1, 2])
def test_what_noise_hides_is_a_status(draws, analysis):
    hidden = dataclasses.replace(SGD, noise=SGD.noise * 1000.0)
    rows, runs = probe_runs(hidden, batch_sizes=SIZES, draws=draws, steps=(5,))
    found = derive_study(rows, runs=runs, optimizers=OPTIMIZERS, batch_sizes=GRID, **given(analysis))
    assert set(found.derived["status"]) <= {"not_resolved", "not_measured"}
    assert set(found.verdicts["verdict"]) == {"not resolved"}
    assert found.sentences("toy sgd")[0].startswith("toy sgd: of the laws derived from gradients")


def test_an_optimiser_without_a_derivation_has_the_direct_laws(probes, analysis):
    rows, runs = probes
    optimizers = dict.fromkeys(OPTIMIZERS, Optimizer(name="lamb"))
    found = derive_study(rows, runs=runs, optimizers=optimizers, batch_sizes=GRID, **given(analysis))
    assert set(found.derived["derivation"]) == {"one_step"}  # the probes measured no line search
    assert set(found.verdicts["derivation"]) == {"one_step", "line_search"}


def test_equal_arguments_give_equal_tables_and_another_seed_others(probes):
    rows, runs = probes
    settings = {"runs": runs, "optimizers": OPTIMIZERS, "batch_sizes": GRID, "resamples": 200}
    one, same, other = (derive_study(rows, **settings, seed=seed) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(one.derived, same.derived)
    pd.testing.assert_frame_equal(one.three_way, same.three_way)
    assert not one.derived["low"].equals(other.derived["low"])
    assert one.derived["learning_rate"].equals(other.derived["learning_rate"])


def test_wrong_arguments_are_refused(probes):
    rows, runs = probes
    for name in ("optimizers", "batch_sizes"):
        right = {"optimizers": OPTIMIZERS, "batch_sizes": GRID}
        with pytest.raises(ValueError, match=f"{name} must name every sweep.*'toy sgd'"):
            derive_study(rows, runs=runs, **right | {name: {"toy sign": right[name]["toy sign"]}})
    with pytest.raises(ValueError, match=r"probes need the columns .* but lack trial_id"):
        derive_study(rows.drop(columns="trial_id"), runs=runs, optimizers=OPTIMIZERS, batch_sizes=GRID)
    with pytest.raises(ValueError, match=r"runs need the columns .* but lack learning_rate"):
        derive_study(rows, runs=runs.drop(columns="learning_rate"), optimizers=OPTIMIZERS, batch_sizes=GRID)


def test_tables_are_written_under_their_names(study, tmp_path):
    paths = study.select("toy sgd").write_tables(tmp_path / "deep")
    assert [path.stem for path in paths] == list(FILES.values())
    assert {"derived_vs_fitted", "derivation_verdicts"} <= {path.stem for path in paths}
    back = pd.read_csv(tmp_path / "deep" / "derived_rates.csv")
    assert set(back["sweep"]) == {"toy sgd"}
    assert back["learning_rate"].to_numpy() == pytest.approx(
        study.select("toy sgd").derived["learning_rate"].to_numpy(), nan_ok=True
    )


def fits_of(**status):
    """Fits of all laws with every parameter known, but for laws named with another status."""
    rows = [
        {"sweep": "x", "law": name, "parameter": p.name, "value": 1.0, "low": 0.5, "high": 2.0}
        | {"status": status.get(name, "ok")}
        for name, law in LAWS.items()
        for p in law.parameters
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("name", "fits", "law", "factor"),
    [
        ("sgd", fits_of(), "saturating", 1.0),
        ("momentum", fits_of(), "saturating", 0.1 / 1.9),
        ("sgd", fits_of(saturating="unbounded_high"), "saturating", 1.0),
        ("sign-sgd", fits_of(), "half_power", 1.0),
        ("sign-sgd", fits_of(half_power="failed"), "surge", 1.0),
        ("adamw", fits_of(), "adam_ema", 1.0),
        ("adamw", fits_of(adam_ema="unbounded_low"), "surge", 0.1 / 1.9),
        ("adamw", fits_of(surge="unbounded_low", adam_ema="failed"), "adam_ema", 1.0),
        ("adamw", None, "adam_ema", 1.0),
        ("lamb", fits_of(), "saturating", 0.1 / 1.9),
    ],
)
def test_the_fitted_law_that_the_probes_are_held_against(name, fits, law, factor):
    found = fitted_noise_scale(Optimizer(name=name, settings={"betas": (0.9, 0.99)} if "a" in name else {}), fits)
    assert found == (law, pytest.approx(factor))
