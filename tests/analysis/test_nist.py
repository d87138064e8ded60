"""The search against regression sets whose answers NIST has certified: six significant digits of every parameter.

Parameters are searched as laws search theirs, in ln of their size; their signs are given. MGH09 and MGH10 lie at the
end of long curved valleys, too long for the default number of steps, and MGH09's floor is so flat that the default
tolerance stops a digit early: both get more of either.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import curve_fit

from analysis.least_squares import minimise

from .nist import SETS, NistSet

MORE: dict[str, Any] = {"iterations": 2000, "tolerance": 1e-14}
OPTIONS = {"MGH09": MORE, "MGH10": MORE}
LOST = ("MGH17", 0)
"""From b4 = 1 and b5 = 2 both exponentials have died out by the second row, at x = 10. The search finds its way back
with one of them and leaves the other dead: a local minimum, see the last test."""

CASES = [(name, start) for name in SETS for start in (0, 1) if (name, start) != LOST]


def search(name: str, start: int) -> tuple[np.ndarray, float]:
    """Return the parameters found from a starting point, shape (k,), and their residual sum of squares."""
    given = SETS[name]
    sign = np.sign(given.certified)
    free = np.full(len(sign), np.inf)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # a step too far is taken back
        point, cost = minimise(
            lambda c, _: predict(given, sign * np.exp(c)) - given.y,
            np.log(np.abs(given.starts[[start]])),
            lower=-free,
            upper=free,
            **OPTIONS.get(name, {}),
        )
    return sign * np.exp(point[0]), 2 * cost[0]


def predict(given: NistSet, parameters: np.ndarray) -> np.ndarray:
    return given.model(given.x, *np.moveaxis(parameters, -1, 0)[..., None])


@pytest.mark.parametrize("name", SETS)
def test_the_data_have_the_certified_residual(name):
    given = SETS[name]
    residual = predict(given, given.certified[None])[0] - given.y
    assert np.sum(residual**2) == pytest.approx(given.certified_rss, rel=1e-9)


@pytest.mark.parametrize(("name", "start"), CASES)
def test_certified_parameters_are_found(name, start):
    found, residual = search(name, start)
    np.testing.assert_allclose(found, SETS[name].certified, rtol=1e-6)
    assert residual == pytest.approx(SETS[name].certified_rss, rel=1e-9)


def test_the_start_that_is_lost_ends_in_a_minimum_of_one_exponential():
    given = SETS["MGH17"]
    found, residual = search(*LOST)
    x, y = given.x[1:], given.y[1:]
    one, _ = curve_fit(lambda x, a, b, c: a + b * np.exp(-c * x), x, y, p0=[0.4, 1.0, 0.01])
    # The dead exponential acts on the first row alone, at x = 0, and meets it.
    assert residual == pytest.approx(np.sum((one[0] + one[1] * np.exp(-one[2] * x) - y) ** 2), rel=1e-6)
    assert found[[0, 1, 3]] == pytest.approx(one, rel=1e-4)
    assert residual > 100 * given.certified_rss
