"""Runs with steps to a target from any table: words for a missed target, bounds, budgets, curves, errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.errors import TableError
from analysis.sources import read_source
from analysis.step_tables import measured_steps, run_counts
from analysis.tradeoff import STEP_COLUMNS
from analysis.tradeoff_analysis import analyse_steps, rate_note
from analysis.tradeoff_source import StepRequest, step_trials
from analysis.tradeoff_words import movement, ratio_interval


def read(tmp_path: Path, text: str, **request):
    path = tmp_path / "table.csv"
    path.write_text(text)
    return step_trials(read_source(path), StepRequest(**request))


def steps_of(sweeps) -> pd.DataFrame:
    table = measured_steps(sweeps.trials)
    assert list(table.columns) == list(STEP_COLUMNS)
    return table.set_index("batch_size")


@pytest.mark.parametrize("cell", ["", "inf", "nan", "not reached", "Not-Reached", "never", "exhausted"])
def test_a_missed_target_is_at_least_the_budget(tmp_path, cell):
    table = steps_of(read(tmp_path, f"bs,steps,budget_steps\n8,{cell},900\n16,500,900\n32,300,900\n"))
    assert table.loc[8, "status"] == "at_least"
    assert table.loc[8, "steps"] == pytest.approx(900)
    assert table.loc[16, ["status", "steps"]].tolist() == ["measured", pytest.approx(500)]


@pytest.mark.parametrize("cell", [">900", "> 900", ">=900", "≥900", "900+"])
def test_a_bound_in_the_cell_of_the_steps_is_read(tmp_path, cell):
    table = steps_of(read(tmp_path, f"bs,steps\n8,{cell}\n16,500\n"))
    assert table.loc[8, ["status", "steps"]].tolist() == ["at_least", pytest.approx(900)]


@pytest.mark.parametrize(("column", "no", "yes"), [("reached", "no", "yes"), ("status", "not reached", "finished")])
def test_a_state_says_who_missed_and_then_the_steps_are_the_bound(tmp_path, column, no, yes):
    table = steps_of(read(tmp_path, f"bs,steps,{column}\n8,900,{no}\n16,500,{yes}\n"))
    assert table.loc[8, ["status", "steps"]].tolist() == ["at_least", pytest.approx(900)]
    assert table.loc[16, "status"] == "measured"


def test_a_bound_that_is_not_known_is_said_and_its_batch_size_put_aside(tmp_path):
    sweeps = read(tmp_path, "bs,steps\n8,\n8,100\n16,500\n32,300\n64,200\n")
    assert any(
        "1 run did not reach the target after a number of steps that the table does not say" in n for n in sweeps.notes
    )
    assert any("nor can 1 run beside them" in note for note in sweeps.notes)
    table = steps_of(sweeps)
    assert table.loc[8, "status"] == "unknown_bound"
    assert np.isnan(table.loc[8, "steps"])
    # Nor may a cell's mean be made of the run beside it.
    assert sweeps.trials.loc[sweeps.trials["batch_size"] == 8, "steps_to_target"].isna().all()
    assert run_counts(sweeps.trials, sweeps=["all"]).set_index("batch_size").loc[8, "runs"] == 2


def test_a_missed_run_makes_the_mean_of_its_batch_size_a_bound(tmp_path):
    sweeps = read(tmp_path, "bs,steps,budget_steps,seed\n8,400,900,0\n8,not reached,900,1\n16,500,900,0\n")
    row = steps_of(sweeps).loc[8]
    assert row["status"] == "at_least"
    assert row["steps"] == pytest.approx((400 * 900) ** 0.5)
    assert run_counts(sweeps.trials, sweeps=["all"]).set_index("batch_size").loc[
        8, ["runs", "not_reached"]
    ].tolist() == [2, 1]


def test_a_diverged_run_is_no_bound(tmp_path):
    row = steps_of(read(tmp_path, "bs,steps,budget_steps\n8,diverged,900\n16,500,900\n")).loc[8]
    assert row["status"] == "diverged"
    assert np.isnan(row["steps"])


def test_replicates_give_the_noise_and_it_is_pooled(tmp_path):
    text = "bs,steps,seed\n" + "".join(
        f"{b},{s},{i}\n" for b, part in ((8, (90, 110)), (16, (60, 50, 55))) for i, s in enumerate(part)
    )
    table = steps_of(read(tmp_path, text))
    squares = sum(np.var(np.log(part)) * len(part) for part in ((90, 110), (60, 50, 55)))
    assert table["degrees"].tolist() == [3.0, 3.0]
    np.testing.assert_allclose(table["ln_sd"], np.sqrt(squares / 3 / np.array([2, 3])))
    assert table.loc[8, "steps"] == pytest.approx((90 * 110) ** 0.5)


def grid(*, unknown=False) -> str:
    """Return steps with a parabola over four rates around the best one, at five batch sizes."""
    rows = ["bs,lr,steps"]
    for batch in (8, 16, 32, 64, 128):
        for octave in (-1.5, -0.5, 0.5, 1.5, 3.5):
            steps = 100 * (1 + 40 / batch) * np.exp(0.2 * octave**2)
            cell = "" if octave == 3.5 and unknown else f"{steps:.6f}"
            rows.append(f"{batch},{0.01 * 2**octave:.8g},{cell}")
    return "\n".join(rows) + "\n"


@pytest.mark.parametrize("unknown", [False, True])
def test_with_learning_rates_the_steps_are_those_at_the_best(tmp_path, unknown):
    sweeps = read(tmp_path, grid(unknown=unknown))
    assert not rate_note(sweeps.trials)
    analysis = analyse_steps(sweeps.trials, sweeps=["all"], resamples=40)
    np.testing.assert_allclose(analysis.steps["steps"], 100 * (1 + 40 / analysis.steps["batch_size"]), rtol=1e-3)
    np.testing.assert_allclose(analysis.optima["learning_rate"], 0.01, rtol=0.02)
    assert analysis.tradeoff["b_crit"].iloc[0] == pytest.approx(40, rel=0.01)


def test_one_rate_at_each_batch_size_is_no_choice_of_rates_and_that_is_said(tmp_path):
    sweeps = read(tmp_path, "bs,lr,steps\n8,0.1,600\n16,0.1,350\n32,0.2,225\n64,0.2,162.5\n")
    assert "No batch size has runs at more than one learning rate" in rate_note(sweeps.trials)[0]
    analysis = analyse_steps(sweeps.trials, sweeps=["all"])
    assert analysis.optima.empty
    assert analysis.tradeoff["b_crit"].iloc[0] == pytest.approx(40, rel=1e-6)


def curves(loss="val_loss", blank=False) -> str:
    rows = [f"run,bs,step,{loss}"]
    for number, batch in enumerate((8, 16, 32, 64, 128)):
        for step in np.unique(np.geomspace(2, 3000, 40).astype(int)):
            value = 1 + 5 * (1 + step / (1 + 60 / batch)) ** -0.5
            rows.append(f"r{number},{batch},{step},{value:.8g}")
            if blank:
                rows.append(f"r{number},{batch},{step}.5,")
    return "\n".join(rows) + "\n"


@pytest.mark.parametrize("blank", [False, True])
def test_targets_along_curves_become_the_last_group_the_easiest_first(tmp_path, blank):
    sweeps = read(tmp_path, curves(blank=blank), targets=(1.3, 2.0, 1.5))
    assert list(sweeps.groups.columns) == ["sweep", "target"]
    assert sweeps.groups["target"].tolist() == [2.0, 1.5, 1.3]
    found = analyse_steps(sweeps.trials, sweeps=list(sweeps.groups["sweep"])).tradeoff
    # Every run is the same curve in step / (1 + 60/B): B_crit is 60 at any target.
    np.testing.assert_allclose(found["b_crit"], 60, rtol=0.02)
    # 1 + 5 (1 + s)^(-1/2) = T at s = (5 / (T - 1))^2 - 1.
    np.testing.assert_allclose(found["s_min"], (5 / (np.array([2.0, 1.5, 1.3]) - 1)) ** 2 - 1, rtol=0.02)


def test_a_loss_that_is_written_as_nan_is_divergence_and_a_blank_is_not(tmp_path):
    text = "run,bs,step,val_loss\na,8,1,3\na,8,2,nan\na,8,3,2.9\nb,16,1,3\nb,16,2,\nb,16,3,2.5\nb,16,4,\n"
    trials = read(tmp_path, text, targets=(2.0,)).trials.set_index("batch_size")
    assert trials["status"].to_dict() == {8: "diverged", 16: "exhausted"}
    assert trials.loc[16, "steps"] == 3


def test_curves_without_a_target_suggest_some(tmp_path):
    with pytest.raises(TableError, match=r"curves need a target .* --target \S+ --target \S+ --target \S+$"):
        read(tmp_path, curves())


def test_a_metric_of_unknown_direction_is_asked_for(tmp_path):
    with pytest.raises(TableError, match="say --mode min or --mode max"):
        read(tmp_path, curves(loss="quality"), targets=(1.5,), given={"loss": "quality"})


@pytest.mark.parametrize(
    ("text", "request_", "message"),
    [
        ("bs,steps\n8,abc\n16,3\n", {}, "steps .* must be a number, .* row 2 has 'abc'"),
        ("bs,steps\n8,-5\n16,3\n", {}, "must be above zero, but row 2 has -5"),
        ("bs,steps\n0,5\n16,3\n", {}, "batch size .* must be above zero, but row 2 has '0'"),
        ("bs,steps,reached\n8,5,maybe\n", {}, "must be yes or no, but row 2 has 'maybe'"),
        ("bs,other\n8,5\n", {}, "name it by --steps COLUMN"),
        ("bs,steps\n8,5\n", {"budget_steps": "nope"}, "--budget-steps names a column of the table"),
        ("bs,steps\n8,5\n", {"reached": "nope"}, "--reached names a column of the table"),
        ("bs,steps,target\n8,5,1\n", {"given": {"steps": "nope"}}, "there is no 'nope'"),
        (
            "run,bs,step,val_loss\na,8,1,3\na,8,1,2\n",
            {"targets": (1.0,)},
            "one value at each step, but row 3 is the sec",
        ),
        ("run,bs,step,val_loss\na,8,1,3\na,16,2,2\n", {"targets": (1.0,)}, "one batch size, but at row 3 'bs' is '16'"),
        ("run,bs,step,val_loss\na,8,1,3\na,8,2,2\n", {"targets": (float("nan"),)}, "--target is a finite number"),
        ("run,bs,step,val_loss\na,8,0,3\na,8,2,2\n", {"targets": (4.0,)}, "met after the first step"),
        ("run,bs,step,val_loss\na,8,1,\n", {"targets": (4.0,)}, "need curves, but no run"),
    ],
)
def test_what_cannot_be_read_is_one_line_with_the_row(tmp_path, text, request_, message):
    with pytest.raises(TableError, match=message) as caught:
        read(tmp_path, text, **request_)
    assert "\n" not in str(caught.value)


def test_the_move_of_b_crit_is_a_ratio_with_its_interval():
    def row(target, value, low, high, status="ok"):
        return {"target": target, "b_crit": value, "b_crit_low": low, "b_crit_high": high, "status": status}

    first, last = row(2.5, 50.0, 40.0, 62.5), row(2.0, 100.0, 80.0, 125.0)
    # Two intervals of a factor 1.25 each way: one of 1.25^√2.
    assert ratio_interval(last, first) == pytest.approx((2.0, 2 / 1.25**2**0.5, 2 * 1.25**2**0.5))
    (said,) = movement([first, last], name="")
    assert "by a factor of 2 [1.5, 2.7]: it rises." in said
    (said,) = movement([first, row(2.0, 55.0, 44.0, 70.0)], name="N=1")
    assert said.startswith("N=1: ")
    assert "the data do not show that it moves" in said
    (said,) = movement([first, row(2.0, np.nan, 90.0, np.nan, "unbounded_high")], name="")
    assert "at least 90 at target 2" in said
    assert "its move is not known" in said
