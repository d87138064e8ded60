"""Tables that hold whole curves."""

import pytest

from analysis.errors import TableError

from .test_sweeps import losses, said, values


def curve_rows(ends, columns=("seed",)):
    """Rows at steps 10, 20, … of runs (bs, lr, seed) -> losses along the run."""
    return [[*map(str, run), str(10 * (k + 1)), value] for run, along in ends.items() for k, value in enumerate(along)]


def test_of_a_table_of_curves_the_last_step_counts():
    rows = curve_rows({(8, 0.1, 0): ["5", "4", "3"], (8, 0.1, 1): ["5", "4", "2"], (16, 0.1, 0): ["5", "4", "1"]})
    found = losses(rows[::-1], "bs lr seed step loss")
    assert sorted(values(found)) == [[8, 0.1, 2.0], [8, 0.1, 3.0], [16, 0.1, 1.0]]
    said(found, "curves", "9 rows of 3 runs", "'step'")


def test_runs_of_a_table_of_curves_must_be_told_apart():
    rows = curve_rows({(8, 0.1, 0): ["5", "4", "3"], (8, 0.1, 1): ["5", "4.5", "2"], (16, 0.1, 0): ["5", "4", "1"]})
    with pytest.raises(TableError, match="--seed"):
        losses([row[:2] + row[3:] for row in rows], "bs lr step loss")


def test_runs_may_be_told_apart_by_their_name():
    rows = curve_rows(
        {(8, 0.1, "a"): ["5", "4", "3"], (8, 0.1, "b"): ["5", "4.5", "2"], (16, 0.1, "c"): ["5", "4", "1"]}
    )
    assert sorted(found[2] for found in values(losses(rows, "bs lr run step loss"))) == [1.0, 2.0, 3.0]


def test_steps_without_a_measurement_are_passed_over():
    ends = {(8, 0.1, k): ["5", "", "3", ""] for k in range(3)}
    assert losses(curve_rows(ends), "bs lr seed step loss").trials["value"].tolist() == [3.0] * 3


def test_a_curve_that_is_lost_on_the_way_is_a_diverged_run():
    ends = {(8, r, 0): ["5", "4", "3", "2"] for r in (0.1, 0.2, 0.4)} | {(8, 0.8, 0): ["5", "9", "", ""]}
    found = losses(curve_rows(ends), "bs lr seed step loss")
    assert found.trials.set_index("learning_rate")["status"].to_dict() == {
        0.1: "exhausted",
        0.2: "exhausted",
        0.4: "exhausted",
        0.8: "diverged",
    }
    sparse = {(8, r, 0): ["5", "", "3", ""] for r in (0.1, 0.2, 0.4)} | {(8, 0.8, 0): ["5", "", "", ""]}
    found = losses(curve_rows(sparse), "bs lr seed step loss")
    assert found.trials.set_index("learning_rate")["status"][0.8] == "diverged"


def test_a_curve_that_ends_in_a_lost_value_is_a_diverged_run():
    ends = {(8, r, 0): ["5", "4", "3", "2"] for r in (0.1, 0.2, 0.4)} | {(8, 0.8, 0): ["9", ""]}
    found = losses(curve_rows(ends), "bs lr seed step loss")
    assert found.trials.set_index("learning_rate")["status"][0.8] == "diverged"


def test_runs_that_were_stopped_early_are_left_out_and_noted():
    ends = {(8, r, 0): ["5", "4", "3", "2"] for r in (0.1, 0.2, 0.4)} | {(8, 0.8, 0): ["5", "4.9"]}
    found = losses(curve_rows(ends), "bs lr seed step loss")
    assert found.trials["learning_rate"].tolist() == [0.1, 0.2, 0.4]
    said(found, "1 run ended before", "20 to 20")


def test_replicates_of_one_length_are_no_curves():
    rows = [["8", "0.1", "1000", v] for v in ("3", "2", "1")] + [["16", "0.1", "500", v] for v in ("3", "2", "1")]
    assert len(losses(rows, "bs lr steps loss").trials) == 6
