"""The one-step law and the line search against exact optima, and what they say where they can't know."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.derived import line_search_law, one_step_law
from analysis.derived.derived_law import derived_table
from analysis.derived.line_search import lowest_rate
from analysis.noise_scale import measure_constants

from .simulated_probes import Quadratic, dense, diagonal, probe_rows

RATES = tuple(2.0**k for k in range(-9, 6))


def direct(rows, law=one_step_law):
    (constants,) = measure_constants(rows)
    return derived_table([law(constants)]).set_index("batch_size")


@pytest.mark.parametrize("law", [one_step_law, line_search_law])
@pytest.mark.parametrize("beta_n", [0.5, 1.5])
def test_signs_give_the_exact_rates_with_a_surge_only_where_it_is(law, beta_n):
    problem, ladder = dense(beta_n=beta_n), (4, 16, 64, 256, 1024)
    found = direct(probe_rows(problem, draws=32, ladder=ladder, phi=np.sign, rates=RATES, seed=1), law)
    exact = np.array([problem.sign_rate(b) for b in ladder])
    assert (found["status"] == "ok").all()
    assert found["learning_rate"].to_numpy() == pytest.approx(exact, rel=0.25)
    assert np.mean((found["low"] <= exact) & (exact <= found["high"])) >= 0.6
    falls = found.loc[1024, "high"] < found["low"].max()
    assert falls == (beta_n < 1)


def test_any_optimiser_will_do():
    """A rule that no closed form knows: the cube root of the gradient."""
    problem = dense(beta_n=0.7)
    sampled = np.cbrt(problem.batch_gradient(np.random.default_rng(9), 16, 40_000))
    truth = np.mean(sampled @ problem.gradient) / np.mean(np.sum(sampled @ problem.hessian * sampled, axis=1))
    found = direct(probe_rows(problem, draws=64, ladder=(16,), phi=np.cbrt, seed=3))
    assert found.loc[16, "learning_rate"] == pytest.approx(truth, rel=0.03)
    assert found.loc[16, "low"] <= truth <= found.loc[16, "high"]


def test_the_line_search_is_exact_on_a_parabola_whatever_the_rates():
    problem = diagonal()
    for rates in (RATES, (0.4, 1.1, 29.0), tuple(np.linspace(0.1, 15, 11))):
        rows = probe_rows(problem, draws=6, ladder=(4, 64), rates=rates, seed=3)
        truth = direct(probe_rows(problem, draws=6, ladder=(4, 64), rates=rates, seed=3, reference=10**13))
        assert direct(rows, line_search_law)["learning_rate"].to_numpy() == pytest.approx(
            truth["learning_rate"].to_numpy(), rel=1e-3
        )


@given(
    best=st.floats(0.05, 4.0),
    bend=st.floats(1e-3, 1e3),
    rates=st.lists(st.floats(0.01, 8.0), min_size=3, max_size=9, unique=True),
)
def test_the_vertex_of_a_parabola_is_found_or_its_side_is_told(best, bend, rates):
    ladder = np.array([0.0, *sorted(rates)])
    if np.min(np.diff(ladder)) < 1e-3:
        return
    found = float(lowest_rate(ladder, (bend * (ladder - best) ** 2 - bend * best**2)[None])[0])
    lowest = int(np.argmin((ladder - best) ** 2))
    if lowest == 0:
        assert found == 0.0
    elif lowest == len(ladder) - 1:
        assert np.isposinf(found)
    else:
        assert found == pytest.approx(best, rel=1e-5, abs=1e-5)


def test_the_line_search_sees_what_a_parabola_at_zero_does_not():
    """L = η⁴ - η along the line: the curvature at zero is nought, the minimum lies at (1/4)^(1/3)."""
    rates = np.array([0.0, *2.0 ** np.arange(-4, 1.5, 0.5)])
    found = float(lowest_rate(rates, (rates**4 - rates)[None])[0])
    assert found == pytest.approx(0.25 ** (1 / 3), rel=0.05)


def test_noise_that_hides_the_descent_leaves_it_unresolved_with_a_number_of_draws():
    rows = probe_rows(diagonal(b_simple=1e5), draws=4, ladder=(1, 10**6), seed=5)
    found = direct(rows)
    assert found.loc[1, "status"] == "not_resolved"
    assert "descent along the update may be zero; needs about" in found.loc[1, "reason"]
    assert found.loc[10**6, "status"] == "ok"


def test_negative_curvature_along_the_update_is_said():
    base = diagonal()
    problem = Quadratic(hessian=-base.hessian, gradient=base.gradient, noise=base.noise)
    found = direct(probe_rows(problem, draws=8, ladder=(256,)))
    assert found.loc[256, "status"] == "not_resolved"
    assert found.loc[256, "reason"] == "the curvature along the update is negative"
    assert np.isnan(found.loc[256, "learning_rate"])


def test_an_update_that_climbs_into_negative_curvature_is_no_rate_though_the_ratio_is_positive():
    base = diagonal()
    problem = Quadratic(hessian=-base.hessian, gradient=base.gradient, noise=base.noise)
    found = direct(probe_rows(problem, draws=8, ladder=(256,), phi=lambda g: -g))
    assert found.loc[256, "status"] == "not_resolved"
    assert found.loc[256, ["learning_rate", "low", "high"]].isna().all()


def test_a_minimum_beyond_the_tried_rates_is_no_rate():
    problem = diagonal(b_simple=1.0)
    short = direct(probe_rows(problem, draws=6, ladder=(64,), rates=(0.01, 0.02, 0.04)), line_search_law)
    assert short.loc[64, "status"] == "not_resolved"
    assert "larger ones are needed" in short.loc[64, "reason"]
    long = direct(probe_rows(problem, draws=6, ladder=(64,), rates=(60.0, 80.0, 100.0)), line_search_law)
    assert long.loc[64, "status"] == "not_resolved"
    assert "smaller ones are needed" in long.loc[64, "reason"]
    for found in (short, long):
        assert found[["learning_rate", "low"]].isna().all(axis=None)


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_a_rate_that_diverged_is_too_large_and_not_left_out(value):
    rows = probe_rows(diagonal(), draws=6, ladder=(64,), rates=RATES)
    top = (rows["name"] == "line_loss") & (rows["rate"] >= 16)
    whole = direct(rows, line_search_law)
    lost = direct(rows.assign(total=rows["total"].mask(top & (rows["draw"] == 2), value)), line_search_law)
    assert lost.loc[64, "status"] == "ok"
    assert lost.loc[64, "learning_rate"] == pytest.approx(whole.loc[64, "learning_rate"], rel=0.6)
    assert lost.loc[64, "high"] <= 16


def test_one_draw_and_no_draw_are_statuses():
    rows = probe_rows(diagonal(), draws=1, ladder=(4, 64), rates=RATES)
    for law in (one_step_law, line_search_law):
        found = direct(rows, law)
        assert set(found["status"]) == {"not_resolved"}
        assert found["reason"].str.contains("one draw").all()
        assert found["learning_rate"].notna().all()
    (nothing,) = measure_constants(rows[rows["name"] == "gradient_square"])
    for law in (one_step_law, line_search_law):
        assert law(nothing).missing
        assert derived_table([law(nothing)]).empty


def test_a_direct_law_is_read_between_its_batch_sizes_and_not_outside():
    problem = diagonal()
    (constants,) = measure_constants(probe_rows(problem, draws=16, ladder=(8, 32)))
    law = one_step_law(constants)
    at = law.at([4, 8, 16, 32, 64])
    assert at[:, 1] == pytest.approx(law.rates[:, 0], rel=1e-12)
    assert at[:, 2] == pytest.approx(np.sqrt(law.rates[:, 0] * law.rates[:, 1]), rel=1e-12)
    assert np.isnan(at[:, [0, 4]]).all()


def test_rows_of_unequal_batch_sizes_use_what_both_terms_have():
    rows = probe_rows(diagonal(), draws=6, ladder=(8, 32))
    rows = rows[~((rows["name"] == "update_curvature") & (rows["batch_size"] == 8))]
    assert direct(rows).index.tolist() == [32]
