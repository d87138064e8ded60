"""The laws against closed forms (theory, section 3) and against each other in their limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from analysis.law import Parameter
from analysis.laws import LAWS, AdamEma

from .typical_laws import TYPICAL


def rate(name: str, batch_size: float, *values: float) -> float:
    return float(np.exp(LAWS[name].ln_rate(np.log([batch_size]), np.array(values))[0]))


def peak(name_or_law, *values: float) -> float:
    law = LAWS[name_or_law] if isinstance(name_or_law, str) else name_or_law
    found = minimize_scalar(
        lambda x: -law.ln_rate(np.array([x]), np.array(values))[0],
        bounds=(-5, 25),
        method="bounded",
        options={"xatol": 1e-10},
    )
    return float(np.exp(found.x))


def test_the_registry_holds_every_law_once_under_its_name():
    assert list(LAWS) == list(dict.fromkeys(law.name for law in LAWS.values()))
    assert set(LAWS) == set(TYPICAL)
    assert all(limit in LAWS for law in LAWS.values() for limit in law.limits)


@pytest.mark.parametrize(
    ("name", "values", "ratio"),
    [("constant", [0.1], 1.0), ("sqrt", [0.1], 2.0), ("linear", [0.1], 4.0), ("power", [0.1, 0.25], 2**0.5)],
)
def test_four_times_the_batch_multiplies_the_rate_by_a_known_factor(name, values, ratio):
    assert rate(name, 400, *values) / rate(name, 100, *values) == pytest.approx(ratio, rel=1e-12)


def test_saturating_is_half_at_the_noise_scale_linear_below_and_flat_above():
    assert rate("saturating", 50.0, 0.3, 50.0) == pytest.approx(0.15, rel=1e-12)
    assert rate("saturating", 2e-6, 0.3, 50.0) / rate("saturating", 1e-6, 0.3, 50.0) == pytest.approx(2, rel=1e-6)
    assert rate("saturating", 1e12, 0.3, 50.0) == pytest.approx(0.3, rel=1e-9)


def test_saturating_gives_the_gain_of_adascale():
    b0, b1, noise = 32.0, 1024.0, 210.0
    gain = (1 + noise / b0) / (1 + noise / b1)
    assert rate("saturating", b1, 0.3, noise) / rate("saturating", b0, 0.3, noise) == pytest.approx(gain, rel=1e-12)


def test_half_power_is_reached_to_one_over_root_two_at_the_noise_scale():
    assert rate("half_power", 50.0, 0.3, 50.0) == pytest.approx(0.3 / 2**0.5, rel=1e-12)


@pytest.mark.parametrize("beta_n", [0.2, 0.5, 0.9])
def test_surge_peaks_and_falls_where_the_closed_form_says(beta_n):
    scale = 300.0
    assert peak("surge", 0.3, beta_n, scale) == pytest.approx(scale * beta_n**2 / (1 - beta_n**2), rel=1e-4)
    assert rate("surge", scale * beta_n**2 / (1 - beta_n**2), 0.3, beta_n, scale) == pytest.approx(0.3, rel=1e-12)
    assert rate("surge", 1e13, 0.3, beta_n, scale) == pytest.approx(0.3 * 2 * beta_n / (1 + beta_n**2), rel=1e-6)


def test_surge_with_beta_n_above_one_never_falls():
    ladder = np.linspace(-5, 25, 400)
    assert np.all(np.diff(LAWS["surge"].ln_rate(ladder, np.array([0.3, 1.2, 300.0]))) > 0)


def test_surge_small_batch_is_the_limit_of_surge():
    beta_n, scale = 1e-4, 1e10
    b_peak = scale * beta_n**2
    for batch_size in (1.0, 100.0, 1e4):
        wide = rate("surge", batch_size, 0.3, beta_n, scale)
        assert wide == pytest.approx(rate("surge_small_batch", batch_size, 0.3, b_peak), rel=1e-5)


@pytest.mark.parametrize("beta1", [0.4, 0.9, 0.95])
def test_adam_with_diagonal_curvature_peaks_where_momentum_puts_it(beta1):
    # Diagonal H: s'Hs = tr H, so that d = (s'Hs - c tr H)/tr H = 1 - c.
    law = AdamEma(beta1=beta1)
    diagonal = 1.0 - (1 - beta1) / (1 + beta1)
    assert peak(law, 0.02, 1700.0, diagonal) == pytest.approx(1700.0 * (1 - beta1) / (3 * beta1 - 1), rel=1e-4)


@pytest.mark.parametrize("beta1", [0.0, 0.2, 1 / 3])
def test_adam_with_diagonal_curvature_has_no_peak_up_to_a_third(beta1):
    law = AdamEma(beta1=beta1)
    diagonal = 1.0 - (1 - beta1) / (1 + beta1)
    curve = law.ln_rate(np.linspace(-5, 20, 300), np.array([0.02, 1700.0, diagonal]))
    assert np.all(np.diff(curve) > 0)


def test_adam_repeats_the_curves_of_surge():
    c, d = 0.1 / 1.9, 0.7
    ladder = np.log([1.0, 30.0, 1e3, 1e5])
    adam = LAWS["adam_ema"].ln_rate(ladder, np.array([0.02, 900.0, d]))
    surge = LAWS["surge"].ln_rate(ladder, np.array([0.02 / (2 * np.sqrt(c * d)), np.sqrt(c / d), 900.0]))
    np.testing.assert_allclose(adam, surge, rtol=0, atol=1e-12)


def test_adam_refuses_a_momentum_of_one():
    with pytest.raises(ValueError, match=r"beta1 must lie in \[0, 1\), but got 1.0"):
        AdamEma(beta1=1.0)


@pytest.mark.parametrize("name", LAWS)
def test_a_law_evaluates_many_parameter_vectors_at_once(name):
    values = np.array([TYPICAL[name], np.array(TYPICAL[name]) * 1.3])
    ladder = np.log([4.0, 64.0, 1024.0])
    together = LAWS[name].ln_rate(ladder, values)
    assert together.shape == (2, 3)
    np.testing.assert_allclose(together[1], LAWS[name].ln_rate(ladder, values[1]))


@pytest.mark.parametrize("name", LAWS)
def test_a_law_refuses_the_wrong_number_of_parameters(name):
    with pytest.raises(ValueError, match="parameters on the last axis"):
        LAWS[name].ln_rate(np.zeros(3), np.ones(len(TYPICAL[name]) + 1))


@pytest.mark.parametrize("name", LAWS)
@given(st.data())
def test_coordinates_return_to_the_values(name, data):
    law = LAWS[name]
    coordinates = np.array([data.draw(st.floats(-8, 8)) for _ in law.parameters])
    values = law.from_coordinates(coordinates)
    assert all(p.bounds[0] < v < p.bounds[1] for p, v in zip(law.parameters, values, strict=True))
    np.testing.assert_allclose(law.to_coordinates(values), coordinates, atol=1e-9)


@pytest.mark.parametrize("name", LAWS)
def test_a_guess_has_the_mean_level_of_the_data(name):
    ln_batch, ln_rate = np.log([8.0, 64.0, 512.0]), np.log([0.01, 0.03, 0.05])
    starts = LAWS[name].guess(ln_batch, ln_rate)
    np.testing.assert_allclose(LAWS[name].ln_rate(ln_batch, starts).mean(axis=-1), ln_rate.mean(), atol=1e-9)


def test_a_bounded_parameter_is_measured_from_its_bound():
    parameter = Parameter(name="d", unit="", meaning="", bounds=(-0.5, np.inf))
    assert parameter.to_coordinate(0.5) == pytest.approx(0.0)
    assert parameter.from_coordinate(-np.inf) == pytest.approx(-0.5)
