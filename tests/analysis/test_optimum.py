"""From cells to the best rate of each batch size: exact curves, noise, edges, divergence, missed targets."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.cells import CELL_COLUMNS, from_score, tabulate_cells, to_score
from analysis.optimum import OPTIMUM_COLUMNS, find_optima, locate_optima

from .sweeps import one_step_sweep, parabola_sweep


def root(batch_size: float) -> float:
    return 0.013 * batch_size**0.5


def curve(values: dict[float, float | str | None], **more) -> pd.DataFrame:
    """Return one batch size's trials: rate -> steps to the target, None (missed within 1000) or "diverged"."""
    rows = [
        {
            "sweep": "s",
            "batch_size": 32,
            "learning_rate": rate,
            "seed": 0,
            "status": "diverged" if value == "diverged" else "exhausted" if value is None else "reached",
            "steps": 1000,
            "steps_to_target": value if isinstance(value, float | int) else np.nan,
        }
        | more
        for rate, value in values.items()
    ]
    return pd.DataFrame(rows)


def only(frame: pd.DataFrame) -> pd.Series:
    table = find_optima(frame, outcome="steps_to_target")
    assert len(table) == 1
    return table.iloc[0]


def test_the_vertex_of_an_exact_parabola_is_found():
    table = find_optima(parabola_sweep(root), outcome="value_at_budget")
    assert list(table.columns) == list(OPTIMUM_COLUMNS)
    np.testing.assert_allclose(table["learning_rate"], root(table["batch_size"]), rtol=1e-4)
    np.testing.assert_allclose(table["outcome"], 1.0, rtol=1e-4)
    assert set(table["status"]) == {"interior"}
    assert (table["cells"] == 7).all()
    assert (table["seeds"] == 2).all()


def test_a_curve_symmetric_in_the_rate_itself_is_found_through_the_shared_skew():
    # The loss of a quadratic after one step, (u - 1)^2 + 1, on a log scale of rates.
    frame = parabola_sweep(root, step=1.0)
    u = frame["learning_rate"] / root(frame["batch_size"])
    table = find_optima(frame.assign(value=np.exp(0.05 * (u - 1) ** 2)), outcome="value_at_budget")
    np.testing.assert_allclose(table["learning_rate"], root(table["batch_size"]), rtol=5e-3)


@pytest.mark.parametrize(("seeds", "step"), [(1, 0.5), (2, 1.0), (3, 0.5)])
def test_intervals_hold_the_truth_about_as_often_as_they_say(seeds, step):
    inside = []
    for seed in range(8):
        table = find_optima(
            parabola_sweep(root, seeds=seeds, step=step, noise=0.02, seed=seed), outcome="value_at_budget", seed=seed
        )
        truth = root(table["batch_size"])
        inside += list((table["low"] <= truth) & (truth <= table["high"]))
    # 56 intervals at 95 %: 48 or fewer inside has a chance below 1 in 100.
    assert np.sum(inside) > 48


def test_more_noise_and_fewer_seeds_widen_the_interval():
    def width(**settings_):
        table = find_optima(parabola_sweep(root, **settings_), outcome="value_at_budget")
        return np.log(table["high"] / table["low"]).median()

    assert width(noise=0.05) > 1.5 * width(noise=0.01)
    assert width(noise=0.02, seeds=2) > 1.3 * width(noise=0.02, seeds=8)


def test_three_exact_cells_are_not_believed_beyond_the_error_of_a_parabola():
    # A quarter of an octave between exact cells an octave apart, falling with the square of the gap.
    for step, octaves in ((1.0, 0.25), (0.5, 0.0625)):
        frame = parabola_sweep(root, offsets=(-1, 0, 1), step=step)
        table = find_optima(frame, outcome="value_at_budget", resamples=400)
        widths = np.log2(table["high"] / table["low"])
        assert widths.median() == pytest.approx(2 * 1.96 * octaves, rel=0.2)


def test_curves_that_no_parabola_follows_get_intervals_that_hold_the_truth():
    # |d|^1.5 and d^4 bend unlike any parabola, in noise far below their bend.
    for power in (1.5, 4.0):
        frame = parabola_sweep(root, step=1.0)
        distance = np.abs(np.log2(frame["learning_rate"] / root(frame["batch_size"])))
        table = find_optima(frame.assign(value=np.exp(0.05 * distance**power)), outcome="value_at_budget")
        truth = root(table["batch_size"])
        assert np.sum((table["low"] <= truth) & (truth <= table["high"])) >= 6


def test_an_answer_that_flips_with_the_window_gets_an_interval_that_holds_both():
    # A dent beside the minimum of a wide bowl: three cells see the dent, seven see the bowl.
    bowl = parabola_sweep(root, step=1.0, batch_sizes=(8, 16, 32, 64, 128, 256), noise=1e-4)
    offset = np.log2(bowl["learning_rate"] / root(bowl["batch_size"]))
    here = (bowl["batch_size"] == 64) & (offset > 0.5) & (offset < 1.5)
    table = find_optima(
        bowl.assign(value=bowl["value"] * np.where(here, np.exp(-0.13), 1.0)), outcome="value_at_budget"
    )
    row = table[table["batch_size"] == 64].iloc[0]
    assert row["low"] <= 1.2 * root(64)
    assert row["high"] >= 1.45 * root(64)


def test_an_optimum_at_the_lowest_rate_is_a_bound():
    found = only(curve({0.1: 100, 0.2: 150, 0.4: 300}))
    assert found["status"] == "edge_low"
    assert found["learning_rate"] == pytest.approx(0.1)
    assert np.isnan(found["low"])
    assert found["high"] >= 0.1
    assert found["outcome"] == pytest.approx(100)


def test_an_optimum_at_the_highest_rate_is_a_bound():
    found = only(curve({0.1: 300, 0.2: 150, 0.4: 100}))
    assert found["status"] == "edge_high"
    assert found["learning_rate"] == pytest.approx(0.4)
    assert np.isnan(found["high"])
    assert found["low"] <= 0.4


def test_divergence_next_to_the_best_rate_brackets_it():
    found = only(curve({0.1: 300, 0.2: 150, 0.4: 100, 0.8: "diverged", 1.6: "diverged"}))
    assert found["status"] == "interior"
    assert found["learning_rate"] == pytest.approx(0.4)
    assert found["high"] == pytest.approx(0.8)
    assert 0.1 < found["low"] < 0.4


def test_a_missed_target_brackets_on_both_sides():
    found = only(curve({0.1: None, 0.2: 150, 0.4: None}))
    assert found["status"] == "interior"
    assert found["learning_rate"] == pytest.approx(0.2)
    assert (found["low"], found["high"]) == (pytest.approx(0.1), pytest.approx(0.4))


def test_a_missed_target_that_could_have_been_faster_brackets_nothing():
    frame = curve({0.1: 300, 0.2: 150, 0.4: 100, 0.8: None})
    frame.loc[3, "steps"] = 50
    assert only(frame)["status"] == "edge_high"


def test_one_usable_cell_without_worse_neighbours_is_unresolved():
    assert only(curve({0.1: 300}))["status"] == "unresolved"
    assert only(curve({0.1: 300, 0.2: "diverged"}))["status"] == "edge_low"
    assert only(curve({0.1: None, 0.2: 300}))["status"] == "edge_high"


def test_no_usable_cell_invents_nothing():
    missed = only(curve({0.1: None, 0.2: None}))
    assert missed["status"] == "unresolved"
    assert missed[["learning_rate", "low", "high", "outcome"]].isna().all()
    burst = only(curve({0.1: "diverged", 0.2: "diverged"}))
    assert (burst["status"], burst["high"]) == ("edge_low", pytest.approx(0.1))
    assert np.isnan(burst["outcome"])


def test_pure_noise_is_unresolved_more_often_than_not():
    frame = parabola_sweep(root, steepness=0.0, noise=0.1, seeds=1, batch_sizes=[2**k for k in range(3, 13)])
    table = find_optima(frame, outcome="value_at_budget")
    known = table["status"].eq("interior") & table["low"].notna() & table["high"].notna()
    assert known.sum() <= 3


def test_failed_trials_change_nothing():
    frame = one_step_sweep(root)
    failed = frame.iloc[::3].assign(status="failed", steps_to_target=1.0, seed=9)
    pd.testing.assert_frame_equal(
        find_optima(pd.concat([frame, failed]), outcome="steps_to_target"),
        find_optima(frame, outcome="steps_to_target"),
    )


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), unit=st.sampled_from([1e-3, 0.3, 7.0, 1e4]))
def test_order_of_rows_and_unit_of_the_rate_do_not_matter(seed, unit):
    frame = parabola_sweep(root, noise=0.03, seed=seed)
    plain = find_optima(frame, outcome="value_at_budget")
    shuffled = frame.sample(frac=1.0, random_state=seed)
    pd.testing.assert_frame_equal(find_optima(shuffled, outcome="value_at_budget"), plain)
    scaled = find_optima(frame.assign(learning_rate=frame["learning_rate"] * unit), outcome="value_at_budget")
    assert list(scaled["status"]) == list(plain["status"])
    for name in ("learning_rate", "low", "high"):
        np.testing.assert_allclose(scaled[name] / unit, plain[name], rtol=1e-6)


def test_another_batch_size_without_noise_of_its_own_does_not_move_an_optimum():
    frame = parabola_sweep(root)
    fewer = find_optima(frame[frame["batch_size"] < 512], outcome="value_at_budget")
    pd.testing.assert_frame_equal(find_optima(frame, outcome="value_at_budget").iloc[:-1], fewer)


def test_the_seed_decides_the_draws():
    cells = tabulate_cells(parabola_sweep(root, noise=0.03), outcome="value_at_budget")
    one, same, other = (locate_optima(cells, seed=s).draws["s"].ln_rate for s in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_a_metric_to_maximise_gives_the_same_optimum_as_its_shortfall():
    frame = parabola_sweep(root, noise=0.02)
    shortfall = frame.assign(value=frame["value"] * 0.1)
    accuracy = shortfall.assign(value=1 - shortfall["value"], mode="max")
    low, high = (find_optima(f, outcome="value_at_budget") for f in (shortfall, accuracy))
    np.testing.assert_allclose(high["learning_rate"], low["learning_rate"], rtol=1e-9)
    np.testing.assert_allclose(high["outcome"], 1 - low["outcome"], rtol=1e-9)


def test_cells_average_the_logarithm_over_seeds():
    frame = pd.concat([curve({0.1: 100.0}), curve({0.1: 400.0}, seed=1)])
    cell = tabulate_cells(frame, outcome="steps_to_target").iloc[0]
    assert cell["outcome"] == pytest.approx(200.0)
    assert cell["spread"] == pytest.approx(np.std(np.log([100, 400]), ddof=1))
    assert list(tabulate_cells(frame, outcome="steps_to_target").columns) == list(CELL_COLUMNS)


@pytest.mark.parametrize(("value", "status"), [("diverged", "diverged"), (None, "right_censored")])
def test_one_bad_seed_marks_its_cell(value, status):
    frame = pd.concat([curve({0.1: 100.0}), curve({0.1: value}, seed=1)])
    assert tabulate_cells(frame, outcome="steps_to_target")["status"].tolist() == [status]


@given(st.floats(0.01, 0.99), st.sampled_from(["log", "log_shortfall", "raw", "raw_negated"]))
def test_scores_return_to_their_outcome(value, scale):
    assert from_score(to_score(np.array([value]), scale), scale)[0] == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="status"), "are missing"),
        (lambda f: f.assign(status="fine"), "status must be"),
        (lambda f: f.assign(learning_rate=-1.0), "learning_rate must be positive"),
        (lambda f: f.assign(batch_size=0), "batch_size must be positive"),
        (lambda f: f.assign(mode="up"), "one mode"),
        (lambda f: f.assign(mode=np.where(f.index % 2, "min", "max")), "one mode"),
        (lambda f: f.assign(steps=np.arange(len(f)) + 1), "runs of one length"),
    ],
)
def test_malformed_tables_are_refused_with_the_rule(change, message):
    with pytest.raises(ValueError, match=message):
        find_optima(change(parabola_sweep(root)), outcome="value_at_budget")


def test_unknown_outcomes_and_too_few_resamples_are_refused():
    with pytest.raises(ValueError, match="outcome must be one of"):
        find_optima(parabola_sweep(root), outcome="loss")
    with pytest.raises(ValueError, match="at least 40"):
        find_optima(parabola_sweep(root), outcome="value_at_budget", resamples=10)


def test_an_empty_table_gives_an_empty_table():
    assert find_optima(parabola_sweep(root).iloc[:0], outcome="value_at_budget").empty
