"""Means, ratio and intervals over steps: coverage against simulation, and what is not resolved."""

import math

import numpy as np
import pytest

from trainers.noise_estimate import StepSums, _fieller


def sums(values):
    found = StepSums()
    for grad_sq, grad_var in values:
        found.add(grad_sq=grad_sq, grad_var=grad_var, examples=32)
    return found


def draws(rng, steps, *, correlation, grad_sq=1.0, grad_var=20.0, spread=(2.0, 6.0)):
    """Normal estimates around the truth; neighbours are correlated (an AR(1) process of unit variance)."""
    noise = rng.standard_normal((steps, 2))
    for step in range(1, steps):
        noise[step] = correlation * noise[step - 1] + math.sqrt(1 - correlation**2) * noise[step]
    return np.array([grad_sq, grad_var]) + noise * np.array(spread)


@pytest.mark.parametrize(
    ("steps", "correlation", "half_life"),
    [(8, 0.0, None), (20, 0.0, None), (100, 0.0, None), (400, 0.8, None), (1000, 0.9, None), (200, 0.0, 20)],
)
def test_intervals_cover_the_truth_for_few_and_for_autocorrelated_steps(steps, correlation, half_life):
    rng = np.random.default_rng(steps)
    trials = 200
    hits = np.zeros(3)
    for _ in range(trials):
        got = sums(draws(rng, steps, correlation=correlation)).estimate(half_life_steps=half_life, level=0.95)
        truths = (1.0, 20.0, 20.0)
        intervals = (got.grad_sq_interval, got.grad_var_interval, got.b_simple_interval)
        for at, (truth, (low, high)) in enumerate(zip(truths, intervals, strict=True)):
            hits[at] += low <= truth <= high
    # 95 % promised; 200 trials resolve 3 points (two standard errors). More than promised is allowed.
    assert (hits / trials > 0.91).all(), hits / trials


def test_intervals_are_not_needlessly_wide():
    rng = np.random.default_rng(0)
    got = sums(draws(rng, 4000, correlation=0.0)).estimate(half_life_steps=None, level=0.95)
    width = got.grad_sq_interval[1] - got.grad_sq_interval[0]
    assert 1.0 < width / (2 * 1.96 * 2.0 / math.sqrt(4000)) < 2.0


def test_the_ratio_of_means_is_taken_not_the_mean_of_ratios():
    got = sums([(1.0, 10.0), (3.0, 10.0)] * 4).estimate(half_life_steps=None, level=0.95)
    assert got.b_simple == 5.0  # the mean of ratios is 6.67


def test_a_negative_mean_is_not_resolved_and_not_clipped():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(64)
    doubtful = sums(zip(noise - noise.mean() - 0.01, 20 + noise[::-1], strict=True)).estimate(
        half_life_steps=None, level=0.95
    )
    assert doubtful.status == "not_resolved"
    assert doubtful.grad_sq == pytest.approx(-0.01)
    assert math.isnan(doubtful.b_simple)
    assert doubtful.b_simple_interval[1] == math.inf
    assert doubtful.b_simple_interval[0] > 5
    assert "not positive" in doubtful.message
    wrong = sums(zip(noise - 10, 20 + noise[::-1], strict=True)).estimate(half_life_steps=None, level=0.95)
    assert wrong.status == "not_resolved"
    assert "negative beyond its error" in wrong.message
    assert math.isnan(wrong.b_simple_interval[0])


def test_a_positive_mean_that_may_be_zero_has_no_upper_end():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(64)
    got = sums(zip(noise - noise.mean() + 0.01, 20 + noise[::-1], strict=True)).estimate(
        half_life_steps=None, level=0.95
    )
    assert got.status == "ok"
    assert got.b_simple_interval[1] == math.inf


def test_few_steps_have_means_but_no_interval():
    assert StepSums().estimate(half_life_steps=None, level=0.95).message == "no step has been measured yet"
    got = sums([(1.0, 10.0)] * 7).estimate(half_life_steps=None, level=0.95)
    assert (got.status, got.steps) == ("not_resolved", 7)
    assert (got.grad_sq, got.grad_var) == pytest.approx((1.0, 10.0))
    assert math.isnan(got.b_simple)
    assert math.isnan(got.grad_sq_interval[0])
    narrow = sums([(1.0, 10.0)] * 100).estimate(half_life_steps=0.5, level=0.95)
    assert narrow.status == "not_resolved"


def test_a_half_life_follows_a_drift():
    values = [(2.0, 10.0)] * 500 + [(1.0, 30.0)] * 500
    got = sums(values).estimate(half_life_steps=50, level=0.95)
    weights = 0.5 ** (np.arange(1000)[::-1] / 50)
    assert got.grad_sq == pytest.approx(weights @ np.array(values)[:, 0] / weights.sum())
    assert got.grad_var == pytest.approx(weights @ np.array(values)[:, 1] / weights.sum())


def test_memory_is_bounded_and_sums_are_kept():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((30_000, 2)) + np.array([1.0, 20.0])
    found = sums(values)
    assert len(found._rows) <= 8192
    got = found.estimate(half_life_steps=None, level=0.95)
    assert got.steps == 30_000
    assert got.grad_sq == pytest.approx(values[:, 0].mean())
    assert got.grad_var == pytest.approx(values[:, 1].mean())


def test_fiellers_interval_against_its_definition():
    rng = np.random.default_rng(0)
    grid = np.concatenate([np.linspace(0, 100, 200_001), [1e6]])
    for _ in range(50):
        mean = rng.normal([0.5, 20.0], [1.0, 10.0])
        root = rng.standard_normal((2, 2)) * [[0.5], [3.0]]
        reach = root @ root.T
        inside = (mean[1] - grid * mean[0]) ** 2 <= reach[1, 1] - 2 * grid * reach[0, 1] + grid**2 * reach[0, 0]
        low, high = _fieller(mean, reach)
        if not inside.any():
            assert math.isnan(low) or low > 100
            continue
        if grid[inside][0] < 1e6:
            assert low == pytest.approx(grid[inside][0], abs=1e-3)
        assert (high > 100) if inside[-1] else min(high, 100.0) == pytest.approx(grid[inside][-1], abs=1e-3)
