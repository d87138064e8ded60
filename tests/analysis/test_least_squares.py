"""The vectorised search against scipy's, and the one-sided likelihood against the normal distribution."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.stats import norm

from analysis.laws import LAWS
from analysis.least_squares import bounded_residual, minimise


def test_many_problems_together_equal_scipy_one_by_one():
    law = LAWS["surge"]
    ln_batch = np.log(2.0 ** np.arange(2, 13))
    rng = np.random.default_rng(3)
    truth = law.ln_rate(ln_batch, np.array([0.3, 0.4, 900.0]))
    targets = truth + 0.1 * rng.standard_normal((20, len(ln_batch)))
    start = law.to_coordinates([0.2, 0.6, 300.0])

    def together(coordinates, problems):
        return law.ln_rate(ln_batch, law.from_coordinates(coordinates)) - targets[problems]

    lower, upper = np.array([-9.0, np.log(0.02), 0.0]), np.array([4.0, np.log(50.0), 15.0])
    _, cost = minimise(together, np.tile(start, (20, 1)), lower=lower, upper=upper)
    for target, found in zip(targets, cost, strict=True):
        slow = least_squares(
            lambda c, t=target: law.ln_rate(ln_batch, law.from_coordinates(c)) - t,
            start,
            bounds=(lower, upper),
            xtol=1e-12,
        )
        assert found == pytest.approx(slow.cost, rel=1e-5)


def test_the_search_stops_at_a_wall_and_moves_along_it():
    # (x - 3)^2 + (y - x - 1)^2 with x <= 2 has its minimum at (2, 3).
    point, cost = minimise(
        lambda c, _: np.stack([c[..., 0] - 3.0, c[..., 1] - c[..., 0] - 1.0], axis=-1),
        np.zeros((1, 2)),
        lower=np.array([-np.inf, -np.inf]),
        upper=np.array([2.0, np.inf]),
    )
    np.testing.assert_allclose(point, [[2.0, 3.0]], atol=1e-6)
    assert cost[0] == pytest.approx(0.5)


@pytest.mark.parametrize("difference", [-3.0, -0.5, 0.0, 0.7, 4.0])
def test_a_bound_counts_with_the_probability_of_its_half_line(difference):
    at_least = bounded_residual(np.array([difference]), np.array([1.0]))
    at_most = bounded_residual(np.array([difference]), np.array([-1.0]))
    assert np.exp(-0.5 * at_least[0] ** 2) == pytest.approx(norm.cdf(difference))
    assert np.exp(-0.5 * at_most[0] ** 2) == pytest.approx(norm.sf(difference))
    assert bounded_residual(np.array([difference]), np.array([0.0]))[0] == difference
