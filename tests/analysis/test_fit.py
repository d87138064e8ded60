"""Fits recover known truths, treat bounds and weights as they should, and say what they do not know."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from analysis.fit import fit_law
from analysis.laws import LAWS

from .typical_laws import TYPICAL

BATCH = 2.0 ** np.arange(2, 14)


def rates(name: str, batch=BATCH) -> np.ndarray:
    return np.exp(LAWS[name].ln_rate(np.log(batch), np.array(TYPICAL[name])))


def fit(name: str, batch, rate, *, half_width=None, **given_):
    ends = {} if half_width is None else {"low": rate * np.exp(-half_width), "high": rate * np.exp(half_width)}
    return fit_law(LAWS[name], batch_size=batch, learning_rate=rate, **(ends | {"resamples": 40} | given_))


@pytest.mark.parametrize("name", TYPICAL)
def test_parameters_come_back_from_exact_data(name):
    found = fit(name, BATCH, rates(name))
    np.testing.assert_allclose(found.values, TYPICAL[name], rtol=1e-6)
    assert found.extra_scatter == 0.0
    if found.holdout_error_log2 is not None:
        assert found.holdout_error_log2 < 1e-6


@pytest.mark.parametrize("name", ["sqrt", "power", "saturating", "half_power", "surge_small_batch"])
def test_intervals_hold_the_truth_about_as_often_as_they_say(name):
    inside, sd = [], 0.1
    for seed in range(20):
        noisy = rates(name) * np.exp(sd * np.random.default_rng(seed).standard_normal(len(BATCH)))
        found = fit(name, BATCH, noisy, half_width=1.96 * sd, seed=seed, resamples=100)
        inside += [
            (e.low is None or e.low <= true) and (e.high is None or true <= e.high)
            for e, true in zip(found.estimates, TYPICAL[name], strict=True)
        ]
    # Of 20 to 40 intervals at 95 %, fewer than 80 % inside has a chance below 1 in 100.
    assert np.mean(inside) >= 0.8


def test_intervals_are_not_wider_than_theory():
    # For a constant the interval of ln eta is 2 * 1.96 sd / sqrt(n).
    found = fit("constant", BATCH, rates("constant"), half_width=1.96 * 0.1, resamples=400)
    width = np.log(found.estimates[0].high / found.estimates[0].low)
    assert width == pytest.approx(2 * 1.96 * 0.1 / np.sqrt(len(BATCH)), rel=0.2)


def test_precise_optima_outweigh_vague_ones():
    batch = np.array([8.0, 16.0, 32.0, 64.0])
    rate = np.array([0.1, 0.1, 0.1, 0.2])
    half = 1.96 * np.array([0.2, 0.2, 0.2, 2.0])
    found = fit("constant", batch, rate, half_width=half)
    weight = 1 / (half / 1.96) ** 2
    assert np.log(found.values[0]) == pytest.approx(np.sum(weight * np.log(rate)) / np.sum(weight), abs=1e-6)


def test_aicc_is_the_textbook_number():
    half = np.full(6, norm.ppf(0.975) * 0.3)
    batch, rate = 2.0 ** np.arange(3, 9), np.array([0.1, 0.12, 0.09, 0.11, 0.1, 0.08])
    found = fit("constant", batch, rate, half_width=half)
    assert found.extra_scatter == 0.0
    likelihood = norm.logpdf(np.log(rate), np.log(found.values[0]), 0.3).sum()
    assert found.ln_likelihood == pytest.approx(likelihood)
    assert found.aicc == pytest.approx(-2 * likelihood + 4 + 2 * 2 * 3 / (6 - 2 - 1))


def test_optima_that_stray_further_than_their_intervals_add_scatter():
    noisy = rates("sqrt") * np.exp(0.5 * np.random.default_rng(1).standard_normal(len(BATCH)))
    found = fit("sqrt", BATCH, noisy, half_width=0.05)
    assert found.extra_scatter == pytest.approx(np.std(np.log(noisy / rates("sqrt"))), rel=0.1)
    calm = fit("sqrt", BATCH, rates("sqrt"), half_width=0.05, resamples=100)
    width, narrow = (np.log(f.estimates[0].high / f.estimates[0].low) for f in (found, calm))
    assert width > 4 * narrow


def test_a_bound_that_holds_says_almost_nothing_and_one_that_does_not_pulls():
    batch, rate = BATCH[:6], rates("sqrt")[:6]
    free = fit("sqrt", batch[:5], rate[:5], half_width=0.2)
    status = ["interior"] * 5 + ["edge_high"]
    loose, tight = (
        fit("sqrt", batch, np.append(rate[:5], last), low=np.append(rate[:5] * 0.82, last), status=status)
        for last in (rate[5] / 10, rate[5] * 10)
    )
    assert loose.values[0] == pytest.approx(free.values[0], rel=1e-3)
    assert tight.values[0] > 1.05 * free.values[0]
    low = fit("sqrt", batch, np.append(rate[:5], rate[5] / 10), status=["interior"] * 5 + ["edge_low"])
    assert low.values[0] < 0.95 * free.values[0]


def test_treating_an_edge_as_an_optimum_would_bend_the_law():
    rate = rates("linear", BATCH[:8])
    seen = np.minimum(rate, rate[5])
    status = np.where(rate > rate[5], "edge_high", "interior")
    right, wrong = (fit("power", BATCH[:8], seen, status=s) for s in (status, None))
    assert right.values[1] == pytest.approx(1.0, abs=0.02)
    assert wrong.values[1] < 0.9


def test_what_the_data_do_not_bound_is_none_and_never_a_huge_number():
    noisy = rates("linear") * np.exp(0.05 * np.random.default_rng(0).standard_normal(len(BATCH)))
    eta_max, noise = fit("saturating", BATCH, noisy, half_width=0.1).estimates
    assert noise.status == eta_max.status == "unbounded_high"
    assert noise.high is None
    assert eta_max.high is None
    assert noise.low > BATCH.max()
    flat = np.full(len(BATCH), 0.1)
    eta_max, noise = fit("saturating", BATCH, flat, half_width=0.1).estimates
    assert (noise.status, noise.low) == ("unbounded_low", None)
    assert eta_max.value == pytest.approx(0.1, rel=1e-2)


def test_too_few_optima_are_a_status():
    found = fit("surge", [8, 16], [0.1, 0.2])
    assert found.status == "failed"
    assert found.aicc is None
    assert all(e.value is None and e.low is None for e in found.estimates)
    assert np.isnan(found.predict([8.0])[0]).all()


def test_unresolved_optima_are_not_used():
    batch, rate = BATCH[:5], np.append(rates("sqrt")[:4], 99.0)
    found = fit("sqrt", batch, rate, status=["interior"] * 4 + ["unresolved"])
    assert found.values[0] == pytest.approx(0.01, rel=1e-6)
    assert found.batch_sizes == 4


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), unit=st.floats(1e-3, 1e3))
def test_order_of_rows_and_unit_of_the_rate_do_not_matter(seed, unit):
    rng = np.random.default_rng(seed)
    rate = rates("half_power") * np.exp(0.1 * rng.standard_normal(len(BATCH)))
    order = rng.permutation(len(BATCH))
    plain = fit("half_power", BATCH, rate, half_width=0.2)
    other = fit("half_power", BATCH[order], rate[order] * unit, half_width=0.2)
    np.testing.assert_allclose(other.values, plain.values * [unit, 1.0], rtol=1e-4)
    assert other.ln_likelihood == pytest.approx(plain.ln_likelihood, abs=1e-5)


def test_a_seed_decides_the_draws_and_nothing_else():
    noisy = rates("saturating") * np.exp(0.1 * np.random.default_rng(5).standard_normal(len(BATCH)))
    one, same, other = (fit("saturating", BATCH, noisy, half_width=0.2, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.draws, same.draws)
    assert not np.array_equal(one.draws, other.draws)
    np.testing.assert_array_equal(one.values, other.values)


def test_the_band_holds_the_law_and_widens_outside_the_grid():
    found = fit("power", BATCH, rates("power"), half_width=0.3)
    rate, low, high = found.predict([BATCH[5], BATCH[-1] * 64])
    assert np.all((low < rate) & (rate < high))
    assert np.log(high[1] / low[1]) > 2 * np.log(high[0] / low[0])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"learning_rate": [0.1, 0.0]}, "learning_rate must be positive"),
        ({"batch_size": [8, np.nan]}, "batch_size must be positive"),
        ({"status": ["interior", "fine"]}, "status must be one of"),
        ({"low": [0.1]}, "one length"),
    ],
)
def test_wrong_arguments_are_exceptions(wrong, message):
    with pytest.raises(ValueError, match=message):
        fit_law(LAWS["sqrt"], **({"batch_size": [8, 16], "learning_rate": [0.1, 0.2]} | wrong))
