"""Constants from raw rows: averages by hand, ratios against Fieller's formula, and what is said of what is unknown."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student

from analysis.mean_draws import positive_ratio, sample_means, summarise, summarise_positive
from analysis.noise_scale import CONSTANT_COLUMNS, QUANTITIES, measure_constants, noise_scale_table
from analysis.probe_rows import PROBE_COLUMNS, Draws, read_points

from .simulated_probes import dense, diagonal, probe_rows


def rows_of(*values, step=3, scope="all", **more):
    """Rows from (name, batch_size, draw, total[, count])."""
    return pd.DataFrame(
        [
            {"step": step, "examples": 96, "name": v[0], "scope": scope, "batch_size": v[1], "rate": np.nan}
            | {"draw": v[2], "total": v[3], "count": v[4] if len(v) > 4 else 1}
            | more
            for v in values
        ]
    )


def by_quantity(table, method=None):
    table = table if method is None else table[table["method"] == method]
    return table.drop_duplicates("quantity").set_index("quantity")


TWO_DRAWS = (
    ("gradient_square", 4, 0, 10.0),
    ("gradient_square", 16, 0, 5.0),
    ("gradient_square", 4, 1, 28.0, 2),
    ("gradient_square", 16, 1, 7.0),
    ("curvature_gradient", 4, 0, 3.0),
    ("curvature_gradient", 16, 0, 2.0),
    ("curvature_gradient", 4, 1, 5.0),
    ("curvature_gradient", 16, 1, 3.0),
    ("hessian_trace", 0, 0, 9.0),
    ("hessian_trace", 0, 1, 11.0),
)


def test_two_batches_give_the_numbers_worked_out_by_hand():
    found = by_quantity(noise_scale_table(rows_of(*TWO_DRAWS)))["value"]
    # means 12 and 6: |g|² = (16·6 - 4·12)/12, tr Σ = 6/(1/4 - 1/16)
    assert found["grad_sq"] == pytest.approx(4.0, rel=1e-12)
    assert found["grad_var"] == pytest.approx(32.0, rel=1e-12)
    assert found["b_simple"] == pytest.approx(8.0, rel=1e-12)
    # means 4 and 2.5
    assert found["curvature_grad"] == pytest.approx(2.0, rel=1e-12)
    assert found["curvature_noise"] == pytest.approx(8.0, rel=1e-12)
    assert found["eta_max"] == pytest.approx(2.0, rel=1e-12)
    assert found["b_noise"] == pytest.approx(4.0, rel=1e-12)


def test_the_standard_error_of_the_trace_and_its_t_interval_are_the_textbook_ones():
    values = [9.0, 11.0, 10.5, 8.0, 12.0]
    table = noise_scale_table(rows_of(*[("hessian_trace", 0, k, v) for k, v in enumerate(values)]), resamples=40000)
    found = by_quantity(table).loc["hessian_trace"]
    error = np.std(values, ddof=1) / np.sqrt(5)
    assert found["standard_error"] == pytest.approx(error, rel=1e-12)
    assert (found["high"] - found["low"]) / 2 == pytest.approx(student.ppf(0.975, 4) * error, rel=0.03)


@pytest.mark.parametrize("method", ["two_batch", "per_example"])
def test_the_standard_error_of_a_paired_estimate_is_that_of_its_draws(method):
    rows = probe_rows(diagonal(), draws=6, per_example=True)
    small, name = (4, "gradient_square") if method == "two_batch" else (1, "example_square")
    mean = rows.assign(value=rows["total"] / rows["count"]).set_index(["name", "batch_size", "draw"])["value"]
    each = [(64 * mean["gradient_square", 64, k] - small * mean[name, small, k]) / (64 - small) for k in range(6)]
    found = by_quantity(noise_scale_table(rows), method).loc["grad_sq"]
    assert found["value"] == pytest.approx(np.mean(each), rel=1e-9)
    assert found["standard_error"] == pytest.approx(np.std(each, ddof=1) / np.sqrt(6), rel=1e-9)


def fieller(a, b):
    """Fieller's 95 % interval of mean(a)/mean(b), from its quadratic."""
    k, q = len(a), student.ppf(0.975, len(a) - 1) ** 2
    cov = np.cov(a, b) / k
    ma, mb = np.mean(a), np.mean(b)
    two, one, zero = mb**2 - q * cov[1, 1], -2 * (ma * mb - q * cov[0, 1]), ma**2 - q * cov[0, 0]
    assert two > 0
    return np.sort(np.roots([two, one, zero]).real)


@pytest.mark.parametrize("draws", [4, 8, 16])
def test_the_interval_of_a_ratio_is_fiellers(draws):
    rng = np.random.default_rng(draws)
    b = 5 + rng.normal(size=draws)
    a = 3 + 0.8 * (b - 5) + 0.5 * rng.normal(size=draws)
    series = {(name, 1.0, 0.0): Draws(number=np.arange(draws), value=v) for name, v in (("a", a), ("b", b))}
    samples = sample_means(series, seed=0, resamples=100_000)
    found = summarise(samples["a", 1.0, 0.0] / samples["b", 1.0, 0.0])
    low, high = fieller(a, b)
    assert found.value == pytest.approx(a.mean() / b.mean(), rel=1e-12)
    assert [found.low, found.high] == pytest.approx([low, high], rel=0.02)


def test_a_ratio_of_means_is_near_the_truth_where_means_of_ratios_are_not():
    problem = diagonal(size=20, b_simple=136.0)
    rng = np.random.default_rng(1)
    draws, small, large = 6000, 4, 16
    batches = problem.batch_gradient(rng, small, 4 * draws).reshape(draws, 4, -1)
    squares = (batches**2).sum(axis=2).mean(axis=1), (batches.mean(axis=1) ** 2).sum(axis=1)
    rows = pd.concat(
        [
            pd.DataFrame({"batch_size": b, "draw": np.arange(draws), "total": s, "count": 1})
            for b, s in zip((small, large), squares, strict=True)
        ]
    ).assign(step=1, examples=1, name="gradient_square", scope="all", rate=np.nan)
    found = by_quantity(noise_scale_table(rows)).loc["b_simple"]
    each = ((squares[0] - squares[1]) / (1 / small - 1 / large)) / (
        (large * squares[1] - small * squares[0]) / (large - small)
    )
    assert found["value"] == pytest.approx(136.0, rel=0.2)
    assert found["low"] < 136.0 < found["high"]
    assert abs(np.median(each) - 136) > 60
    assert abs(np.mean(each) - 136) > 60


def test_estimates_approach_the_truth_as_one_over_the_root_of_the_draws():
    problem = diagonal(size=20)
    rng = np.random.default_rng(2)
    counts, errors = np.array([8, 32, 128, 512]), []
    for count in counts:
        missed = []
        for _ in range(30):
            batches = problem.batch_gradient(rng, 4, 8 * count).reshape(count, 8, -1)
            small, large = (batches**2).sum(axis=2).mean(axis=1), (batches.mean(axis=1) ** 2).sum(axis=1)
            series = {
                ("gradient_square", b, 0.0): Draws(number=np.arange(count), value=v)
                for b, v in ((4.0, small), (32.0, large))
            }
            means = sample_means(series, seed=0, resamples=1)
            missed.append((means["gradient_square", 4.0, 0.0][0] - means["gradient_square", 32.0, 0.0][0]) / (7 / 32))
        errors.append(np.sqrt(np.mean((np.array(missed) - problem.grad_var) ** 2)))
    assert np.polyfit(np.log(counts), np.log(errors), 1)[0] == pytest.approx(-0.5, abs=0.12)


def test_every_constant_of_a_dense_quadratic_lies_in_its_interval():
    problem = dense(beta_n=0.5)
    table = noise_scale_table(probe_rows(problem, draws=32, per_example=True, seed=3))
    assert list(table.columns) == list(CONSTANT_COLUMNS)
    assert set(table["quantity"]) == set(QUANTITIES)
    assert (table["status"] == "ok").all()
    truth = {name: getattr(problem, name) for name in QUANTITIES if name != "b_sign"}
    truth["b_sign"] = np.pi / 2 * problem.noise_to_signal
    for row in table.itertuples():
        slack = 1e-3 * abs(row.value)  # the reference gradient has next to no noise
        assert row.low - slack <= truth[row.quantity] <= row.high + slack, row.quantity


def test_a_negative_square_is_kept_and_said_with_the_draws_that_are_missing():
    values = [-3.0, 1.0, 1.2, -1.0]
    rows = rows_of(
        *[("gradient_square", 4, k, 12.0) for k in range(4)],
        *[("gradient_square", 16, k, 3.0 + 0.75 * v) for k, v in enumerate(values)],
    )
    found = by_quantity(noise_scale_table(rows), "two_batch")
    assert found.loc["grad_sq", "value"] == pytest.approx(np.mean(values))
    assert found.loc["grad_sq", "status"] == "not_resolved"
    assert "not positive" in found.loc["grad_sq", "reason"]
    assert "more draws" in found.loc["grad_sq", "reason"]
    assert found.loc["grad_sq", "more_draws"] >= 1
    assert found.loc["b_simple", "status"] == "not_resolved"
    assert np.isnan(found.loc["b_simple", ["value", "high"]].astype(float)).all()
    assert "|g|²" in found.loc["b_simple", "reason"]


def test_the_draws_it_asks_for_resolve_it():
    problem = diagonal(b_simple=400.0)
    few = by_quantity(noise_scale_table(probe_rows(problem, draws=6, seed=4)), "two_batch").loc["grad_sq"]
    assert few["status"] == "not_resolved"
    more = int(few["more_draws"])
    assert 5 < more < 400
    many = by_quantity(noise_scale_table(probe_rows(problem, draws=6 + 2 * more, seed=4)), "two_batch").loc["grad_sq"]
    assert many["status"] == "ok"


def test_a_noise_scale_without_an_upper_end_keeps_its_lower_one():
    rows = probe_rows(diagonal(b_simple=400.0), draws=6, seed=7)
    found = by_quantity(noise_scale_table(rows), "two_batch").loc["b_simple"]
    assert found["status"] == "not_resolved"
    assert 0 < found["low"] < 400
    assert np.isnan(found["high"])


def test_curvature_that_is_surely_negative_is_said_and_gives_no_rate():
    rows = rows_of(
        *[("gradient_square", b, k, v) for k in range(4) for b, v in ((4, 12 + 0.1 * k), (16, 6))],
        *[("curvature_gradient", b, k, v) for k in range(4) for b, v in ((4, -5 + 0.1 * k), (16, -4))],
    )
    found = by_quantity(noise_scale_table(rows), "two_batch")
    assert found.loc["curvature_grad", "status"] == "ok"
    assert found.loc["curvature_grad", "value"] < 0
    assert found.loc["eta_max", "reason"] == "gᵀHg is negative"
    assert np.isnan(found.loc["eta_max", "value"])


def test_one_draw_has_values_and_no_interval():
    table = noise_scale_table(rows_of(*[row for row in TWO_DRAWS if row[2] == 0]))
    found = by_quantity(table, "two_batch")
    assert found.loc["grad_sq", "value"] == pytest.approx((16 * 5 - 4 * 10) / 12)
    assert set(found["status"]) == {"not_resolved"}
    assert found[["low", "high"]].isna().all(axis=None)
    assert found["reason"].str.contains("one draw").all()


def test_missing_quantities_are_not_measured_for_the_model_and_absent_for_a_layer():
    rows = pd.concat([rows_of(*TWO_DRAWS), rows_of(*TWO_DRAWS[:4], scope="layer.weight")])
    table = noise_scale_table(rows)
    whole, layer = (table[table["scope"] == scope] for scope in ("all", "layer.weight"))
    assert set(whole.loc[whole["status"] == "not_measured", "quantity"]) == {
        "grad_sq", "grad_var", "b_simple", "grad_l1", "curvature_sign", "noise_to_signal", "b_sign",
    }  # fmt: skip
    assert set(layer["quantity"]) == {"grad_sq", "grad_var", "b_simple"}
    assert layer["value"].tolist() == pytest.approx([4.0, 32.0, 8.0])


@pytest.mark.parametrize(
    "rows", [pd.DataFrame(), pd.DataFrame(columns=list(PROBE_COLUMNS)), rows_of(("other", 1, 0, 1.0))]
)
def test_nothing_measured_is_no_error(rows):
    table = noise_scale_table(rows)
    assert list(table.columns) == list(CONSTANT_COLUMNS)
    assert set(table["status"]) <= {"not_measured"}


def test_a_value_that_is_not_finite_is_a_draw_less():
    lost = rows_of(*TWO_DRAWS, ("hessian_trace", 0, 2, np.nan), ("hessian_trace", 0, 3, np.inf))
    lost = pd.concat([lost, rows_of(("hessian_trace", 0, 4, 7.0, 0))])
    found = by_quantity(noise_scale_table(lost)).loc["hessian_trace"]
    assert found["value"] == pytest.approx(10.0)
    assert found["draws"] == 2


def test_rows_of_several_workers_add_up():
    parts = rows_of(*TWO_DRAWS).assign(total=lambda t: t["total"] / 2)
    halves = pd.concat([parts, parts.assign(count=0.0)]).assign(
        count=lambda t: np.where(t["count"] > 0, t["count"] / 2, 0)
    )
    both = pd.concat([halves[halves["count"] > 0]] * 2)
    pd.testing.assert_frame_equal(noise_scale_table(both), noise_scale_table(rows_of(*TWO_DRAWS)))


def test_rows_without_a_column_are_refused_in_one_line():
    with pytest.raises(ValueError, match=r"lack draw$"):
        noise_scale_table(rows_of(*TWO_DRAWS).drop(columns="draw"))


def test_runs_and_steps_are_kept_apart_and_in_order():
    parts = [rows_of(*TWO_DRAWS, step=step, trial_id=run) for run in ("b", "a") for step in (30, 4)]
    points = read_points(pd.concat(parts))
    assert [(p.trial_id, p.step) for p in points] == [("a", 4), ("a", 30), ("b", 4), ("b", 30)]
    alone = noise_scale_table(parts[1])
    together = noise_scale_table(pd.concat(parts))
    same = together[(together["trial_id"] == "b") & (together["step"] == 4)].reset_index(drop=True)
    pd.testing.assert_frame_equal(same, alone)  # other points do not move it


def test_the_seed_decides_the_samples_and_not_the_values():
    rows = probe_rows(diagonal(), draws=6)
    one, same, other = (noise_scale_table(rows, seed=seed) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(one, same)
    assert not one["low"].equals(other["low"])
    pd.testing.assert_series_equal(one["value"], other["value"])


def test_a_noisy_reference_gradient_is_doubted_and_a_good_one_has_a_small_interval():
    noisy = by_quantity(noise_scale_table(probe_rows(diagonal(b_simple=40.0), draws=24, reference=32)))
    for name in ("grad_l1", "curvature_sign"):
        assert noisy.loc[name, "status"] == "not_resolved"
        assert "too much noise for its signs" in noisy.loc[name, "reason"]
    assert "lower bound" in noisy.loc["noise_to_signal", "reason"]
    problem = diagonal(b_simple=40.0)
    good = by_quantity(noise_scale_table(probe_rows(problem, draws=24, reference=400))).loc["grad_l1"]
    assert good["status"] == "ok"
    assert good["low"] < problem.grad_l1 * 1.02
    assert good["value"] / good["low"] < 1.1


@settings(max_examples=15, deadline=None)
@given(
    values=st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=9),
    factor=st.floats(1e-3, 1e3),
    order=st.randoms(use_true_random=False),
)
def test_an_estimate_scales_with_its_unit_and_does_not_know_the_order_of_rows(values, factor, order):
    rows = [("hessian_trace", 0, k, v) for k, v in enumerate(values)]
    one = by_quantity(noise_scale_table(rows_of(*rows), resamples=100)).loc["hessian_trace"]
    shuffled = list(rows)
    order.shuffle(shuffled)
    scaled = rows_of(*shuffled).assign(total=lambda t: t["total"] * factor)
    other = by_quantity(noise_scale_table(scaled, resamples=100)).loc["hessian_trace"]
    scale = max(abs(v) for v in values) * factor
    for name in ("value", "low", "high", "standard_error"):
        assert other[name] == pytest.approx(factor * one[name], rel=1e-9, abs=1e-9 * scale)
    assert one["low"] <= one["value"] <= one["high"]


@given(a=st.floats(-10, 10), b=st.floats(-10, 10))
def test_a_ratio_of_positive_numbers_is_never_negative(a, b):
    ratio = float(positive_ratio(np.array([a]), np.array([b]))[0])
    assert np.isnan(ratio) == (a <= 0 and b <= 0)
    assert not ratio < 0
    if a > 0 and b > 0:
        assert ratio == a / b


def test_samples_that_bound_nothing_leave_both_ends_open():
    found = summarise_positive(np.array([2.0, *[np.nan] * 50, *[2.0] * 50]))
    assert (found.value, np.isnan(found.low), np.isnan(found.high)) == (2.0, True, True)


def test_constants_prefer_single_examples_where_enough_draws_have_them():
    rows = probe_rows(diagonal(), draws=6, per_example=True)
    few = rows[(rows["name"] != "example_square") | (rows["draw"] == 0)]
    for part, method in ((rows, "per_example"), (few, "two_batch")):
        (found,) = measure_constants(part)
        assert found.values["grad_var"] is found.values[f"grad_var:{method}"]
