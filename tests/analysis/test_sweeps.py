import numpy as np
import pandas as pd
import pytest

from analysis.columns import choose_columns
from analysis.errors import TableError
from analysis.sources import RunTable
from analysis.sources.table import file_table
from analysis.sweeps import LOSS_TRIAL_COLUMNS, STEP_TRIAL_COLUMNS, loss_sweeps, step_sweeps


def as_file(rows, columns):
    frame = pd.DataFrame(rows, columns=columns, dtype=str)
    return file_table(frame, origin="CSV file x.csv", row_numbers=np.arange(2, len(frame) + 2))


def losses(rows, columns="bs lr loss", groups=(), table=None, **settings):
    table = table or as_file(rows, columns.split())
    chosen = choose_columns(
        table,
        given={},
        roles=("batch_size", "learning_rate", "loss"),
        optional=("seed", "status", "steps", "run"),
        groups=groups,
    )
    return loss_sweeps(table, chosen, **settings)


def steps(rows, columns="bs lr steps", groups=()):
    table = as_file(rows, columns.split())
    chosen = choose_columns(
        table,
        given={},
        roles=("batch_size", "steps"),
        optional=("learning_rate", "seed", "status"),
        groups=groups,
    )
    return step_sweeps(table, chosen)


def values(found):
    return found.trials[["batch_size", "learning_rate", "value"]].to_numpy().tolist()


def said(found, *words):
    assert any(all(word in note for word in words) for note in found.notes), found.notes


def test_a_plain_table():
    found = losses([["8", "0.1", "2.5"], ["16", "0.2", "2.25"]])
    assert tuple(found.trials.columns) == LOSS_TRIAL_COLUMNS
    assert values(found) == [[8, 0.1, 2.5], [16, 0.2, 2.25]]
    assert found.trials["status"].tolist() == ["exhausted", "exhausted"]
    assert found.trials["sweep"].unique().tolist() == ["all"]
    assert found.trials["batch_size"].dtype == np.int64
    assert (found.outcome, found.mode) == ("value_at_budget", "min")
    assert found.groups.to_dict("records") == [{"sweep": "all"}]


def test_batch_sizes_may_be_millions_of_tokens():
    assert losses([["0.125", "0.1", "2.5"], ["0.5", "0.2", "2"]]).trials["batch_size"].tolist() == [0.125, 0.5]


def test_lost_losses_are_diverged_runs_and_counted():
    found = losses([["8", "1", "nan"], ["8", "2", ""], ["8", "3", "inf"], ["8", "4", "diverged"], ["8", "5", "1.0"]])
    assert found.trials["status"].tolist() == ["diverged"] * 4 + ["exhausted"]
    said(found, "4 runs without a finite 'loss'", "diverged")


def test_losses_above_the_limit_are_diverged_runs_and_counted():
    found = losses([["8", "1", "9.5"], ["8", "2", "10"], ["8", "3", "10.5"]], diverged_above=10.0)
    assert found.trials["status"].tolist() == ["exhausted", "exhausted", "diverged"]
    assert np.isnan(found.trials["value"].iloc[2])
    said(found, "1 run with 'loss' above 10")


def test_a_limit_says_nothing_about_an_accuracy():
    with pytest.raises(TableError, match="--diverged-above"):
        losses([["8", "1", "0.5"]], "bs lr accuracy", diverged_above=1.0)


def test_unfinished_runs_are_left_out_and_counted_by_state():
    states = ["finished", "crashed", "Running", "FAILED", "finished"]
    rows = [["8", str(k + 1), "" if state == "crashed" else "1", state] for k, state in enumerate(states)]
    found = losses(rows, "bs lr loss State")
    assert found.trials["learning_rate"].tolist() == [1, 5]
    said(found, "3 runs left out", "1 crashed, 1 failed, 1 running")


def test_unfinished_runs_may_lack_their_settings():
    assert len(losses([["8", "0.1", "1", "finished"], ["", "", "", "crashed"]], "bs lr loss state").trials) == 1


def test_a_run_that_is_said_to_have_diverged_has():
    assert losses([["8", "0.1", "3", "diverged"]], "bs lr loss status").trials["status"].tolist() == ["diverged"]


def test_a_state_nobody_knows_is_refused_by_row():
    with pytest.raises(TableError, match=r"row 3 has 'purple'.*--status"):
        losses([["8", "0.1", "1", "finished"], ["8", "0.2", "1", "purple"]], "bs lr loss status")


def test_no_finished_run_is_an_error():
    with pytest.raises(TableError, match="all 1 runs"):
        losses([["8", "0.1", "1", "failed"]], "bs lr loss status")


@pytest.mark.parametrize(("column", "cell"), [("bs", "0"), ("bs", "-8"), ("lr", "0"), ("lr", "-0.1"), ("lr", "")])
def test_settings_out_of_range_are_refused_by_row(column, cell):
    row = {"bs": "8", "lr": "0.1", "loss": "1"} | {column: cell}
    with pytest.raises(TableError, match=rf"column '{column}'.* row 3 has '{cell}'"):
        losses([["8", "0.1", "1"], list(row.values())])


def test_rows_that_repeat_another_count_once():
    found_table = as_file([["8", "0.1", "1"], ["8", "0.1", "1"], ["8", "0.1", "1.5"]], ["bs", "lr", "loss"])
    assert any("1 row repeats" in note and "row 3" in note for note in found_table.notes)
    assert losses([], table=found_table).trials["value"].tolist() == [1.0, 1.5]


def test_repeated_runs_without_seeds_are_replicates():
    found = losses([["8", "0.1", "1"], ["8", "0.1", "2"], ["8", "0.2", "1"], ["8", "0.1", "3"]])
    assert found.trials["seed"].tolist() == [0, 1, 0, 2]
    said(found, "no column of seeds")


def test_seeds_are_numbers_or_names():
    assert losses([["8", "1", "1", "7"], ["8", "1", "2", "3"]], "bs lr loss seed").trials["seed"].tolist() == [7, 3]
    assert losses([["8", "1", "1", "b"], ["8", "1", "2", "a"]], "bs lr loss seed").trials["seed"].tolist() == [1, 0]


def test_rates_that_differ_by_rounding_are_one_and_noted():
    rows = [["8", "0.0009765", "1"], ["16", "0.00098", "1"], ["32", "0.000977", "1"], ["8", "0.001953", "1"]]
    found = losses(rows)
    assert found.trials["learning_rate"].tolist() == [0.0009765, 0.0009765, 0.0009765, 0.001953]
    said(found, "differ by rounding", "0.00098 as 0.0009765")


def test_rates_are_snapped_within_a_sweep_alone():
    rows = [["8", "0.0009765", "1", "a"], ["8", "0.00098", "1", "b"]]
    assert losses(rows, "bs lr loss g", groups=["g"]).trials["learning_rate"].tolist() == [0.0009765, 0.00098]


def test_each_combination_of_group_values_is_a_sweep():
    rows = [["8", "1", "1", "1e8", "adam"], ["8", "1", "2", "100000000", "sgd"], ["8", "1", "3", "2.5e9", "adam"]]
    found = losses(rows, "bs lr loss N opt", groups=["N", "opt"])
    assert found.trials["sweep"].tolist() == ["N=1e+08, opt=adam", "N=1e+08, opt=sgd", "N=2.5e+09, opt=adam"]
    assert found.groups["N"].tolist() == [100000000, 100000000, 2500000000]
    assert found.groups["opt"].tolist() == ["adam", "sgd", "adam"]
    assert list(found.outcomes) == found.groups["sweep"].tolist()


def test_groups_that_read_alike_stay_apart():
    rows = [["8", "1", "1", "a, y=b", "c"], ["8", "1", "2", "a", "b, y=c"], ["8", "1", "3", "", "c"]]
    rows = [[*row[:3], row[3], row[4]] for row in rows]
    found = losses(rows, "bs lr loss x y", groups=["x", "y"])
    assert found.groups["sweep"].is_unique
    assert found.trials["sweep"].nunique() == 3
    close = losses([["8", "1", "1", "1.0000001"], ["8", "1", "2", "1.0000002"]], "bs lr loss g", groups=["g"])
    assert close.trials["sweep"].tolist() == ["g=1.0000001", "g=1.0000002"]


def test_a_group_called_sweep_keeps_its_values():
    found = losses([["8", "1", "1", "b"], ["8", "1", "2", "a"]], "bs lr loss sweep", groups=["sweep"])
    assert found.groups.to_dict("list") == {"sweep": ["a", "b"]}
    assert found.trials["sweep"].tolist() == ["b", "a"]


@pytest.mark.parametrize(
    ("name", "mode"), [("val_loss", "min"), ("eval/accuracy", "max"), ("error", "min"), ("top1_acc", "max")]
)
def test_the_direction_is_read_from_the_name_and_said(name, mode):
    found = losses([["8", "1", "0.5"]], f"bs lr {name}")
    assert found.mode == mode
    said(found, name, "low" if mode == "min" else "high", "--mode")


def test_a_direction_that_can_not_be_told_is_asked_for():
    with pytest.raises(TableError, match="--mode"):
        losses([["8", "1", "0.5"]], "bs lr value")
    assert losses([["8", "1", "0.5"]], "bs lr value", mode="max").mode == "max"


def test_the_source_s_direction_holds():
    runs = pd.DataFrame({"run": ["a"], "bs": [8], "lr": [0.1], "value": [0.5]})
    assert losses([], table=RunTable(runs=runs, origin="x", directions={"value": "max"})).mode == "max"


def test_settings_that_vary_unnamed_are_told():
    rows = [["8", "0.1", str(1 + n + d / 10), str(n), "x"] for n in (1, 2) for d in range(4)]
    said(losses(rows, "bs lr loss width name"), "'width'", "--group")
    assert not any("--group" in note for note in losses(rows, "bs lr loss width name", groups=["width"]).notes)


def test_steps_to_a_target():
    found = steps([["8", "0.1", "120"], ["8", "0.2", ""], ["16", "0.1", "80"]])
    assert tuple(found.trials.columns) == STEP_TRIAL_COLUMNS
    assert found.trials["status"].tolist() == ["reached", "exhausted", "reached"]
    assert found.outcome == "steps_to_target"
    said(found, "1 run without a number in 'steps'")


def test_steps_without_rates():
    assert steps([["8", "120"], ["16", "80"]], "bs steps").trials["learning_rate"].isna().all()


def test_steps_are_above_zero():
    with pytest.raises(TableError, match="row 3 has 0"):
        steps([["8", "0.1", "120"], ["8", "0.2", "0"]])
