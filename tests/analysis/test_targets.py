"""Steps to targets along curves: crossings against dense curves, divergence, gaps, and what is suggested."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.targets import TARGET_COLUMNS, first_crossing, steps_to_targets, suggest_targets


def curve(steps, values, run="a") -> pd.DataFrame:
    return pd.DataFrame({"run": run, "step": np.asarray(steps, dtype=float), "value": np.asarray(values, dtype=float)})


def only(table: pd.DataFrame) -> pd.Series:
    assert list(table.columns) == list(TARGET_COLUMNS)
    assert len(table) == 1
    return table.iloc[0]


def power(step):
    return 1.5 + 3.0 * step**-0.4


def power_inverse(value):
    return ((value - 1.5) / 3.0) ** (-1 / 0.4)


def exponential(step):
    return 0.2 + 3.0 * np.exp(-step / 150)


def exponential_inverse(value):
    return -150 * np.log((value - 0.2) / 3.0)


@pytest.mark.parametrize(
    ("shape", "inverse", "targets"),
    [(power, power_inverse, np.linspace(2.6, 1.75, 40)), (exponential, exponential_inverse, np.linspace(2.6, 0.4, 40))],
)
def test_crossings_between_sparse_evaluations_are_those_of_the_dense_curve(shape, inverse, targets):
    sparse = np.unique(np.geomspace(3, 3000, 25).astype(int)).astype(float)
    found = np.array([first_crossing(sparse, shape(sparse), t) for t in targets])
    error = np.log(found / inverse(targets))
    # Evaluations a third apart: the bias stays below one per cent in the mean, and no crossing is three per cent off.
    assert abs(error.mean()) < 0.01
    assert np.abs(error).max() < 0.03
    # Reading off the first evaluation that meets the target would come 15 % late.
    late = np.array([sparse[np.argmax(shape(sparse) <= t)] for t in targets])
    assert np.log(late / inverse(targets)).mean() > 0.1


def test_a_target_met_at_an_evaluation_is_met_there():
    assert first_crossing(np.array([1.0, 2.0, 4.0]), np.array([3.0, 2.0, 1.0]), 2.0) == 2.0
    assert first_crossing(np.array([5.0, 9.0]), np.array([1.0, 0.5]), 2.0) == 5.0
    # From step 0 on a straight line: ln 0 is no place to start from.
    assert first_crossing(np.array([0.0, 10.0]), np.array([3.0, 1.0]), 2.0) == 5.0
    assert np.isnan(first_crossing(np.array([1.0]), np.array([3.0]), 2.0))


def test_the_first_crossing_counts_where_a_curve_comes_back():
    row = only(steps_to_targets(curve([1, 2, 4, 8, 16], [4, 2, 3, 1, 0.5]), [2.5]))
    assert row["steps_to_target"] == pytest.approx(2.0**0.75)


def test_a_run_that_never_meets_its_target_took_at_least_its_last_step():
    row = only(steps_to_targets(curve([10, 20, 30], [3, 2.5, 2.2]), [2.0]))
    assert (row["status"], row["steps"]) == ("exhausted", 30.0)
    assert np.isnan(row["steps_to_target"])


@pytest.mark.parametrize("end", [[np.inf], [np.nan], [np.nan, np.nan], [99.0]])
def test_a_diverged_run_bounds_nothing_but_keeps_the_targets_that_it_met(end):
    frame = curve(np.arange(1, 4 + len(end)), [4, 2, 1, *end])
    table = steps_to_targets(frame, [3.0, 0.5], diverged_above=50.0).set_index("target")
    assert table.loc[3.0, "status"] == "reached"
    assert table.loc[0.5, "status"] == "diverged"


def test_values_that_were_not_evaluated_are_no_divergence():
    frame = curve([1, 2, 3, 4, 5], [4, np.nan, 2, np.nan, np.nan])
    row = only(steps_to_targets(frame, [1.0]))
    assert (row["status"], row["steps"]) == ("exhausted", 3.0)


def test_states_of_runs_are_kept():
    frame = pd.concat([curve([1, 2], [4, 3], run="a"), curve([1, 2], [4, 3], run="b"), curve([1, 2], [4, 3], run="c")])
    table = steps_to_targets(frame, [1.0], statuses={"a": "diverged", "b": "failed"}).set_index("run")
    assert table["status"].to_dict() == {"a": "diverged", "b": "failed", "c": "exhausted"}


def test_accuracies_rise_to_their_target():
    row = only(steps_to_targets(curve([1, 4], [0.2, 0.6]), [0.4], mode="max"))
    assert row["steps_to_target"] == pytest.approx(2.0)


@given(st.randoms(use_true_random=False), st.floats(0.5, 3.9))
@settings(max_examples=30, deadline=None)
def test_the_order_of_rows_does_not_matter_and_harder_targets_take_longer(order, target):
    frame = pd.concat([curve([1, 3, 9, 20], [4, 3, 1, 0.4], run=r) for r in "ab"], ignore_index=True)
    positions = list(range(len(frame)))
    order.shuffle(positions)
    straight = steps_to_targets(frame, [target, target - 0.05])
    pd.testing.assert_frame_equal(straight, steps_to_targets(frame.iloc[positions], [target, target - 0.05]))
    steps = straight[straight["run"] == "a"].sort_values("target")["steps_to_target"].to_numpy()
    assert steps[0] >= steps[1]


@pytest.mark.parametrize("mode", ["min", "max"])
def test_suggested_targets_are_met_by_most_runs(mode):
    rng = np.random.default_rng(0)
    sign = 1 if mode == "min" else -1
    step = np.arange(1, 200, 7)
    frame = pd.concat(
        [curve(step, sign * (0.3 + 2 * (step * s) ** -0.5), run=str(i)) for i, s in enumerate(rng.uniform(0.5, 2, 20))]
    )
    found = suggest_targets(frame, mode=mode)
    assert len(found) == 3
    assert [sign * t for t in found] == sorted((sign * t for t in found), reverse=True)
    for target in found:
        met = steps_to_targets(frame, [target], mode=mode)["status"].eq("reached").mean()
        assert met >= 0.75
