"""Known answers: exact constants of quadratics, convergence of the estimators, one-step laws by the real optimisers."""

import math

import numpy as np
import pytest
from scipy.special import erf

from trainers.workloads import load_workload

from .probe_cases import DenseQuadratic, probe, values


def grown(rows, name, small, large):
    """The two constants of E = a + c/b, by draw."""
    low, high = values(rows, name, small), values(rows, name, large)
    return (large * high - small * low) / (large - small), (low - high) / (1 / small - 1 / large)


def assert_zero(found, scale=0.0):
    """Within four standard errors of the mean, and the rounding of numbers of this scale; return that error."""
    error = np.std(found, ddof=1) / math.sqrt(len(found))
    assert abs(np.mean(found)) < 4 * error + 1e-6 * scale
    return error


def assert_mean(found, truth):
    """Within four standard errors, which are not so large that anything would do."""
    assert assert_zero(found - truth, abs(truth)) < 0.1 * abs(truth)


def test_the_quadratics_constants_are_found():
    workload = load_workload("quadratic", {"dimensions": 20, "noise": 2.0})
    ladder = [2, 8, 32]
    rows = probe(
        workload,
        {
            "steps": [0],
            "micro_batch_size": 4096,
            "draws": 240,
            "small_batch_size": 2,
            "large_batch_size": 32,
            "reference_batch_size": 4096,
            "curvature_batch_size": 256,
            "ladder": ladder,
            "quantities": ["two_batch", "per_example", "curvature", "one_step"],
            "per_example_draws": 40,
        },
        learning_rate=0.5,
    )
    h, variance = workload.curvature, workload.noise_variance
    gradient = h  # at the start, where every coordinate is 1
    square, noise = grown(rows, "gradient_square", 2, 32)
    along, met = grown(rows, "curvature_gradient", 2, 32)
    for found, truth in (
        (square, (gradient**2).sum()),
        (noise, variance.sum()),
        (values(rows, "example_square", 1), (gradient**2).sum() + variance.sum()),
        (along, (h * gradient**2).sum()),
        (met, (h * variance).sum()),
    ):
        assert_mean(found, truth)
    law = workload.exact_one_step_law()
    assert np.mean(square) / np.mean(along) == pytest.approx(law["eta_max"], rel=0.1)
    assert_zero(met - law["b_noise"] * along)
    # A diagonal H has vᵀHv = tr H for every v of signs.
    assert values(rows, "hessian_trace") == pytest.approx(h.sum(), rel=1e-5)
    assert values(rows, "curvature_sign") == pytest.approx(h.sum(), rel=1e-5)
    assert values(rows, "gradient_l1") == pytest.approx(gradient.sum(), rel=0.03)
    # SGD: E[φ]ᵀg / E[φᵀHφ] = eta_max / (1 + b_noise/B).
    for size in ladder:
        best = np.mean(values(rows, "update_gradient", size)) / np.mean(values(rows, "update_curvature", size))
        assert best == pytest.approx(law["eta_max"] / (1 + law["b_noise"] / size), rel=0.1)


def test_on_a_quadratic_lines_and_products_agree_draw_by_draw():
    rows = probe(
        DenseQuadratic(),
        {
            "steps": [0],
            "draws": 5,
            "micro_batch_size": 512,
            "reference_batch_size": 512,
            "curvature_batch_size": 512,
            "ladder": [2, 8],
            "line_rate_factors": [0.5, 3.0],
            "quantities": ["one_step", "line_search"],
        },
        learning_rate=0.1,
        optimizer="adamw",
    )
    for size in (2, 8):
        first, second = values(rows, "update_gradient", size), values(rows, "update_curvature", size)
        start = values(rows, "line_loss", size, rate=0.0)
        for rate in (0.1 * 0.5, 0.1 * 3.0):
            change = values(rows, "line_loss", size, rate=rate) - start
            assert change == pytest.approx(-rate * first + rate**2 / 2 * second, rel=1e-4, abs=1e-5)


def test_noise_to_signal_is_kappa_squared_where_the_reference_resolves_it():
    workload = load_workload(
        "quadratic", {"dimensions": 500, "spectrum_exponent": 0.0, "noise": 3.0, "noise_shape": "white"}
    )
    rows = probe(
        workload,
        {"steps": [0], "draws": 10, "large_batch_size": 64, "reference_batch_size": 2048, "micro_batch_size": 2048},
    )
    assert np.mean(values(rows, "noise_to_signal", 2048)) == pytest.approx(3.0, rel=0.05)
    assert {row.count for row in rows if row.name == "noise_to_signal"} == {500}


@pytest.fixture(scope="module")
def dense_draws():
    return probe(
        DenseQuadratic(),
        {
            "steps": [0],
            "draws": 640,
            "small_batch_size": 1,
            "large_batch_size": 4,
            "reference_batch_size": 4096,
            "curvature_batch_size": 4,
            "quantities": ["two_batch", "curvature", "one_step"],
            "ladder": [1, 4],
        },
        optimizer="sign-sgd",
    )


def expected_sign(workload, batch_size):
    """E[sign] of a Gaussian gradient (theory, section 7)."""
    return erf(workload.gradient / np.sqrt(2.0 * workload.variance / batch_size))


def dense_truths(rows):
    w = DenseQuadratic()
    square, noise = grown(rows, "gradient_square", 1, 4)
    along, met = grown(rows, "curvature_gradient", 1, 4)
    return {
        "|g|²": (square, w.gradient @ w.gradient),
        "tr Σ": (noise, w.variance.sum()),
        "gᵀHg": (along, w.gradient @ w.hessian @ w.gradient),
        "tr(HΣ)": (met, (np.diag(w.hessian) * w.variance).sum()),
        "tr H": (values(rows, "hessian_trace"), np.trace(w.hessian)),
        "E[sign]ᵀg": (values(rows, "update_gradient", 4), expected_sign(w, 4) @ w.gradient),
        "E[signᵀH sign]": (values(rows, "update_curvature", 4), _sign_curvature(w, 4)),
    }


def _sign_curvature(w, batch_size):
    mean = expected_sign(w, batch_size)  # independent coordinates, squares of one
    return mean @ w.hessian @ mean + (np.diag(w.hessian) * (1.0 - mean**2)).sum()


@pytest.mark.parametrize("name", ["|g|²", "tr Σ", "gᵀHg", "tr(HΣ)", "tr H", "E[sign]ᵀg", "E[signᵀH sign]"])
def test_estimators_converge_to_the_truth_as_one_over_the_root_of_the_draws(dense_draws, name):
    draws, truth = dense_truths(dense_draws)[name]
    counts = [1, 4, 16, 64]
    errors = [np.sqrt(np.mean((draws.reshape(-1, n).mean(axis=1) - truth) ** 2)) for n in counts]
    slope = np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert -0.65 < slope < -0.35


def test_the_sign_of_a_dense_quadratic_has_its_exact_curvature(dense_draws):
    w = DenseQuadratic()
    sign = np.sign(w.gradient)
    assert values(dense_draws, "curvature_sign") == pytest.approx(sign @ w.hessian @ sign, rel=1e-4)
    assert values(dense_draws, "gradient_l1") == pytest.approx(np.abs(w.gradient).sum(), rel=0.1)
    assert np.all(values(dense_draws, "update_square", 1) == w.dimensions)


def one_step_rates(workload, ladder, probes, **changes):
    asked = {"steps": [0], "quantities": ["one_step"], "ladder": ladder, "micro_batch_size": 4096}
    rows = probe(workload, asked | probes, **changes)
    return np.array(
        [
            np.mean(values(rows, "update_gradient", size)) / np.mean(values(rows, "update_curvature", size))
            for size in ladder
        ]
    )


def test_adams_best_rate_peaks_at_the_noise_scale_over_seventeen():
    """With β₁ = 0.9 on a diagonal quadratic: B_simple (1 − β₁)/(3β₁ − 1) (theory, section 3)."""
    noise = 17 * 8.0  # so that the peak is at 8
    workload = load_workload(
        "quadratic", {"dimensions": 300, "spectrum_exponent": 0.0, "noise": noise, "noise_shape": "white"}
    )
    ladder = [1, 2, 4, 8, 16, 32, 64]
    found = one_step_rates(
        workload,
        ladder,
        {"draws": 3, "warm_steps": 200, "reference_batch_size": 16384, "curvature_batch_size": 8},
        optimizer="adamw",
        optimizer_settings={"betas": [0.9, 0.99]},
    )
    beta = (1 + noise / np.array(ladder)) ** -0.5
    c = (1 - 0.9) / (1 + 0.9)
    expected = beta / (beta**2 + c * (1 - beta**2))  # g = h = 1
    assert found == pytest.approx(expected, rel=0.06)
    top = int(np.argmax(found))
    assert ladder[top] == 8
    log_peak = np.polyfit(np.log(ladder[top - 1 : top + 2]), np.log(found[top - 1 : top + 2]), 2)
    assert math.exp(-log_peak[1] / (2 * log_peak[0])) == pytest.approx(noise / 17, rel=0.35)


def test_a_first_step_of_adam_has_no_such_peak():
    """From no state m̂/√v̂ is the gradient's sign: B must be larger by (1 + β₁)/(1 − β₁), and no surge is left."""
    workload = load_workload(
        "quadratic", {"dimensions": 300, "spectrum_exponent": 0.0, "noise": 136.0, "noise_shape": "white"}
    )
    ladder = [1, 8, 64]
    found = one_step_rates(workload, ladder, {"draws": 10, "reference_batch_size": 16384}, optimizer="adamw")
    assert found == pytest.approx([math.erf(math.sqrt(size / 136.0 / 2)) for size in ladder], rel=0.1)


@pytest.mark.parametrize(("optimizer", "effective"), [("momentum", 1.0 / (1.0 - 0.9)), ("ema-momentum", 1.0)])
def test_momentum_is_a_larger_batch_once_its_average_is_stationary(optimizer, effective):
    """B (1 + μ)/(1 − μ), and for heavy ball the rate 1/(1 − μ) (theory, section 3)."""
    workload = load_workload("quadratic", {"dimensions": 300, "spectrum_exponent": 0.5, "noise": 20.0})
    law = workload.exact_one_step_law()
    ladder = [1, 8]
    found = one_step_rates(
        workload,
        ladder,
        {"draws": 30, "warm_steps": 50, "reference_batch_size": 16384, "curvature_batch_size": 8},
        optimizer=optimizer,
    )
    larger = np.array(ladder) * 1.9 / 0.1
    assert effective * found == pytest.approx(law["eta_max"] / (1 + law["b_noise"] / larger), rel=0.1)
