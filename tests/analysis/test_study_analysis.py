"""A whole study in one call: tables, words, files."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest

from analysis.compare import VERDICT_COLUMNS
from analysis.fit_tables import BAND_COLUMNS, FIT_COLUMNS
from analysis.laws import LAWS
from analysis.optimum import OPTIMUM_COLUMNS
from analysis.sentences import _rate_growth, _speed_up
from analysis.study_analysis import TABLES, analyse
from analysis.tradeoff import TRADEOFF_COLUMNS

from .sweeps import one_step_sweep, parabola_sweep

OUTCOMES = {"root": "steps_to_target", "sat": "value_at_budget"}


def root(batch_size: float) -> float:
    return 0.013 * batch_size**0.5


def saturating(batch_size: float) -> float:
    return 0.5 / (1 + 60 / batch_size)


@pytest.fixture(scope="module")
def trials():
    return pd.concat(
        [one_step_sweep(root, sweep="root"), parabola_sweep(saturating, sweep="sat", noise=0.003, seed=1)],
        ignore_index=True,
    )


@pytest.fixture(scope="module")
def analysis(trials):
    return analyse(trials, pd.DataFrame({"name": ["loss"]}), outcomes=OUTCOMES)


def test_tables_have_the_agreed_columns(analysis):
    assert list(analysis.optima.columns) == list(OPTIMUM_COLUMNS)
    assert list(analysis.fits.columns) == list(FIT_COLUMNS)
    assert list(analysis.bands.columns) == list(BAND_COLUMNS)
    assert list(analysis.verdicts.columns) == list(VERDICT_COLUMNS)
    assert list(analysis.tradeoff.columns) == list(TRADEOFF_COLUMNS)
    assert analysis.curves["name"].tolist() == ["loss"]


def test_both_sweeps_get_their_law(analysis):
    assert analysis.verdicts.set_index("sweep")["verdict"].to_dict() == {"root": "sqrt", "sat": "saturating"}
    noise = analysis.fits.query("sweep == 'sat' and law == 'saturating' and parameter == 'B_noise'").iloc[0]
    assert noise["low"] < 60 < noise["high"]


def test_every_law_has_a_row_per_parameter(analysis):
    counts = analysis.fits.groupby(["sweep", "law"]).size()
    for sweep in OUTCOMES:
        assert {name: counts[sweep, name] for name in LAWS} == {n: len(law.parameters) for n, law in LAWS.items()}
    weights = analysis.fits.drop_duplicates(["sweep", "law"]).groupby("sweep")["weight"].sum()
    np.testing.assert_allclose(weights, 1.0)


def test_the_trade_off_holds_the_truth(analysis):
    found = analysis.tradeoff.set_index("sweep").loc["root"]
    assert found["b_crit_low"] < 200 < found["b_crit_high"]
    assert found["s_min_low"] < 100 < found["s_min_high"]
    # The other sweep has no target.
    assert analysis.tradeoff.set_index("sweep").loc["sat", "status"] == "failed"


def test_sentences_begin_with_the_verdict_and_say_the_outcome(analysis):
    lines = analysis.sentences()
    assert lines[0].startswith("root (fewest steps to the target): the best rate follows sqrt.")
    assert any(line.startswith("sat (best metric at the budget): the best rate follows saturating.") for line in lines)
    assert any("Doubling the batch multiplies the rate by 1.41" in line for line in lines)
    assert any("B_crit" in line and "twice the fewest steps" in line for line in lines)
    assert not any("nan" in line for line in lines)


def test_one_sweep_can_be_selected(analysis):
    one = analysis.select("sat")
    assert set(one.optima["sweep"]) == {"sat"}
    assert one.outcomes == {"sat": "value_at_budget"}
    with pytest.raises(ValueError, match="sweep must be one of"):
        analysis.select("none")


def test_written_tables_read_back_and_leave_nothing_else(analysis, tmp_path):
    folder = tmp_path / "deep" / "tables"
    paths = analysis.write_tables(folder)
    assert sorted(os.listdir(folder)) == sorted(f"{name}.csv" for name in TABLES)
    assert [path.stem for path in paths] == list(TABLES)
    pd.testing.assert_frame_equal(pd.read_csv(folder / "optima.csv"), analysis.optima, check_dtype=False, rtol=1e-12)


def test_a_table_that_cannot_be_written_leaves_the_old_one(analysis, tmp_path, monkeypatch):
    analysis.write_tables(tmp_path)
    before = (tmp_path / "fits.csv").read_text()

    def torn(_, file, **__):
        file.write("sweep,")
        raise OSError("disk full")

    monkeypatch.setattr(pd.DataFrame, "to_csv", torn)
    with pytest.raises(OSError, match="disk full"):
        analysis.write_tables(tmp_path)
    assert (tmp_path / "fits.csv").read_text() == before
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_the_order_of_rows_does_not_matter_and_other_sweeps_are_left_out(trials, analysis):
    shuffled = trials.sample(frac=1.0, random_state=3)
    alone = analyse(shuffled, pd.DataFrame(), outcomes={"sat": "value_at_budget"})
    pd.testing.assert_frame_equal(alone.optima, analysis.select("sat").optima)
    pd.testing.assert_frame_equal(alone.fits, analysis.select("sat").fits, rtol=1e-6)


def test_a_hopeless_study_is_reported_and_not_an_exception(trials):
    hopeless = trials.assign(status="diverged", value=np.nan, steps_to_target=np.nan)
    found = analyse(hopeless, pd.DataFrame(), outcomes=OUTCOMES, resamples=40)
    assert set(found.verdicts["verdict"]) == {"undetermined"}
    assert found.sentences()
    failed = analyse(trials.assign(status="failed"), pd.DataFrame(), outcomes=OUTCOMES, resamples=40)
    assert failed.optima.empty
    assert set(failed.verdicts["sweep"]) == set(OUTCOMES)
    assert "no trial that can be used" in failed.sentences()[0]


def test_predicted_rates_are_the_law_at_the_tested_batch_sizes(analysis):
    fits = analysis.fits.query("sweep == 'root' and law == 'sqrt'")
    band = analysis.bands.query("sweep == 'root' and law == 'sqrt'").set_index("batch_size")["learning_rate"]
    for batch_size in (8, 64, 512, 1024):
        assert band[float(batch_size)] == pytest.approx(fits["value"].iloc[0] * batch_size**0.5, rel=1e-9)


def test_a_sweep_without_trials_is_refused(trials):
    with pytest.raises(ValueError, match=r"without trials: \['typo'\]"):
        analyse(trials, pd.DataFrame(), outcomes={"typo": "steps_to_target"})


def test_the_growth_of_rate_and_steps_is_said_in_plain_numbers():
    optima = pd.DataFrame(
        {
            "batch_size": [64.0, 8.0, 256.0],
            "learning_rate": [4e-3, 1e-3, 9e-3],
            "status": ["interior", "interior", "edge_high"],
        }
    )
    steps = pd.DataFrame(
        {"batch_size": [8.0, 64.0, 256.0], "steps": [600.0, 120.0, 60.0], "status": ["measured", "measured", "at_most"]}
    )
    # 64/8 = 8 times the batch: rate 4 times as large, 600/120 = 5 times fewer steps, 5/8 = 62.5 %.
    grown = _rate_growth(optima, "s")
    assert "from batch size 8 to 64, 8 times as large, the best rate became 4 times as large (0.001 to 0.004)" in grown
    faster = _speed_up(steps, "s")
    assert "8 times the devices" in faster
    assert "5 times fewer steps (600 to 120): 62% of a perfect speed-up" in faster
    assert _rate_growth(optima[:1], "s") == _speed_up(steps[:1], "s") == ""
