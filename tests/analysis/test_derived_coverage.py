"""How often 95 % intervals from few draws hold the truth: known quadratics, drawn again and again."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.derived import Optimizer, derive_closed_form, one_step_law
from analysis.derived.saturating import SaturatingDerivation
from analysis.mean_draws import summarise_positive
from analysis.noise_scale import constants_at
from analysis.probe_rows import Draws, ProbePoint

from .simulated_probes import dense, diagonal

GIVE = 0.02
"""The one-step law of signs hardly varies between draws near its peak, and what is left is far from normal."""


def drawn_point(problem, *, draws, seed, ladder=(), phi=np.sign, small=4, large=64):
    rng = np.random.default_rng([seed, draws])
    batches = problem.batch_gradient(rng, small, large // small * draws).reshape(draws, large // small, -1)
    mean = batches.mean(axis=1)
    found = {
        ("gradient_square", small): (batches**2).sum(axis=2).mean(axis=1),
        ("gradient_square", large): (mean**2).sum(axis=1),
        ("curvature_gradient", small): ((batches @ problem.hessian) * batches).sum(axis=2).mean(axis=1),
        ("curvature_gradient", large): ((mean @ problem.hessian) * mean).sum(axis=1),
    }
    for b in ladder:
        p = phi(problem.batch_gradient(rng, b, draws))
        found["update_gradient", b] = p @ problem.gradient
        found["update_curvature", b] = ((p @ problem.hessian) * p).sum(axis=1)
    number = np.arange(draws, dtype=float)
    series = {(name, float(b), 0.0): Draws(number=number, value=value) for (name, b), value in found.items()}
    return ProbePoint(trial_id="", step=seed, examples=0, scope="all", series=series)


def holds(samples, truth, give=0.0):
    """An end that is not known holds everything on its side."""
    found = summarise_positive(samples)
    return not (found.low > truth * (1 + give) or found.high < truth * (1 - give))


def coverage(problem, draws, count, resamples):
    hits = []
    for seed in range(count):
        point = drawn_point(problem, draws=draws, seed=seed)
        constants = constants_at(point, resamples=resamples)
        law = derive_closed_form(SaturatingDerivation(), constants, optimizer=Optimizer(name="sgd"), batch_sizes=[16])
        hits.append(
            [
                holds(constants.values["b_simple"], problem.b_simple),
                holds(law.parameters["B_noise"], problem.b_noise),
                holds(law.parameters["eta_max"], problem.eta_max),
                holds(law.rates[:, 0], problem.sgd_rate(16)),
            ]
        )
    return np.mean(hits, axis=0)


def sign_coverage(draws, count, resamples):
    problem, ladder, hits = dense(beta_n=0.5), (4, 64, 256), []
    for seed in range(count):
        law = one_step_law(
            constants_at(drawn_point(problem, draws=draws, seed=seed, ladder=ladder), resamples=resamples)
        )
        hits.append([holds(law.rates[:, j], problem.sign_rate(b), GIVE) for j, b in enumerate(ladder)])
    return np.mean(hits, axis=0)


@pytest.mark.parametrize("draws", [4, 8, 16])
def test_intervals_of_constants_and_rates_hold_the_truth_as_often_as_they_say(draws):
    found = coverage(dense(beta_n=0.5), draws, 120, 300)
    assert np.all(found >= 0.87)
    assert found.mean() <= 0.985


@pytest.mark.parametrize("draws", [4, 16])
def test_intervals_of_the_one_step_law_hold_the_exact_rate_give_or_take_two_per_cent(draws):
    assert np.all(sign_coverage(draws, 100, 300) >= 0.85)


@pytest.mark.slow
@pytest.mark.parametrize("draws", [4, 8, 16])
@pytest.mark.parametrize("problem", [diagonal(), dense(beta_n=0.5), diagonal(b_simple=400.0)])
def test_campaign_of_coverage(problem, draws):
    found = coverage(problem, draws, 1500, 1000)
    assert np.all(found >= 0.91)
    assert np.all(found <= 0.995)  # open ends hold everything beyond them
    assert np.all(sign_coverage(draws, 1000, 1000) >= 0.88)
