"""Closed forms against exact one-step optima and Monte Carlo: right where their assumptions hold, wrong where not."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import erf

from analysis.derived import DERIVATIONS, DIRECT, Derivation, Optimizer, derive_laws, derived_table, run_average
from analysis.derived.derived_law import derived_parameters_table
from analysis.laws import LAWS, AdamEma

from .simulated_probes import Quadratic, dense, diagonal, probe_rows

LADDER = 2.0 ** np.arange(0, 13)


X = np.geomspace(1e-3, 1e2, 2000)
SIGN_ERROR = float(np.max(np.abs(np.log(erf(X)) + 0.5 * np.log1p(np.pi / 4 / X**2))))
"""How far (1 + π σ²/(2 B g²))^(-1/2) lies from the mean of a sign, in ln; a rate's error is at most as large."""


def exact_constants(problem, **more):
    names = ("grad_sq", "grad_var", "curvature_grad", "curvature_noise", "hessian_trace", "curvature_sign")
    names += ("grad_l1", "noise_to_signal", "b_simple")
    return {name: np.array([getattr(problem, name)]) for name in names} | {k: np.array([v]) for k, v in more.items()}


def rates(name, problem, batch_sizes=LADDER, optimizer=None, **more):
    optimizer = optimizer or Optimizer(name=DERIVATIONS[name].optimizers[0])
    return DERIVATIONS[name].rates(np.asarray(batch_sizes, dtype=float), exact_constants(problem, **more), optimizer)[0]


def monte_carlo(problem, directions):
    """Return mean(φᵀg)/mean(φᵀHφ) of directions, shape (k, d)."""
    curvature = np.einsum("ki,ij,kj->k", directions, problem.hessian, directions)
    return float(np.mean(directions @ problem.gradient) / np.mean(curvature))


def test_the_registry_names_laws_and_optimisers_that_exist():
    known = {"sgd", "momentum", "ema-momentum", "adamw", "sign-sgd", "lamb", "muon", "lion"}
    for name, derivation in DERIVATIONS.items():
        assert name == derivation.name
        assert derivation.law is None or derivation.law in LAWS
        assert set(derivation.optimizers) <= known
        assert derivation.assumes
        assert derivation.formula
        assert derivation.needs
    assert not set(DERIVATIONS) & set(DIRECT)


@pytest.mark.parametrize("name", [n for n, d in DERIVATIONS.items() if d.law])
def test_rates_are_those_of_the_fitted_law_at_the_derived_parameters(name):
    problem, derivation = dense(beta_n=0.7), DERIVATIONS[name]
    constants = exact_constants(problem, update_gradient=2.0, update_curvature=5.0, update_batch_size=256.0)
    for optimizer in (Optimizer(name=n) for n in derivation.optimizers):
        found = derivation.parameters(constants, optimizer)
        law = AdamEma(beta1=optimizer.betas[0]) if name == "adam_ema" else LAWS[derivation.law]
        values = np.array([found[parameter.name][0] for parameter in law.parameters])
        expected = np.exp(law.ln_rate(np.log(LADDER), values))
        assert derivation.rates(LADDER, constants, optimizer)[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("problem", [diagonal(), dense(beta_n=0.5)], ids=["diagonal", "dense"])
def test_saturating_is_exact_for_the_plain_gradient(problem):
    assert rates("saturating", problem) == pytest.approx([problem.sgd_rate(b) for b in LADDER], rel=1e-12)
    sampled = problem.batch_gradient(np.random.default_rng(0), 16, 16_000)
    assert rates("saturating", problem, [16]) == pytest.approx([monte_carlo(problem, sampled)], rel=0.03)


def test_a_hessian_along_the_noise_is_met_by_tr_h_sigma_and_not_by_b_simple():
    # Noise in the flat directions only: B_simple says 40 examples, curvature meets hardly any of it.
    base = diagonal()
    noise = np.where(np.arange(60) < 30, 0.0, base.noise * 2**0.5)
    problem = Quadratic(hessian=base.hessian, gradient=base.gradient, noise=noise)
    assert problem.b_simple == pytest.approx(40.0)
    sampled = problem.batch_gradient(np.random.default_rng(1), 4, 16_000)
    truth = monte_carlo(problem, sampled)
    assert rates("saturating", problem, [4])[0] == pytest.approx(truth, rel=0.03)
    assert problem.eta_max / (1 + problem.b_simple / 4) < truth / 2


def averaged(problem, weights, batch_size, count, seed=0):
    """Return averages of independent batch gradients with the given weights, shape (count, d)."""
    noise = np.random.default_rng(seed).standard_normal((count, len(weights), len(problem.gradient)))
    return weights.sum() * problem.gradient + problem.noise / batch_size**0.5 * np.einsum("w,kwd->kd", weights, noise)


@pytest.mark.parametrize("name", ["momentum", "ema-momentum"])
def test_momentum_is_a_larger_batch_and_heavy_ball_a_smaller_rate(name):
    problem, kept = diagonal(size=12), 0.8
    optimizer = Optimizer(name=name, settings={"momentum": kept})
    weights = kept ** np.arange(60) * (1.0 if name == "momentum" else 1 - kept)
    truth = monte_carlo(problem, averaged(problem, weights, 4, 4000))
    assert rates("saturating", problem, [4], optimizer)[0] == pytest.approx(truth, rel=0.03)
    assert rates("saturating", problem, [4])[0] < 0.8 * rates(
        "saturating", problem, [4], Optimizer(name="ema-momentum")
    )


@pytest.mark.parametrize(
    ("optimizer", "response"),
    [
        (Optimizer(name="sgd"), lambda g, s: (g, s)),
        (Optimizer(name="ema-momentum"), lambda g, m: (0.9 * m + 0.1 * g,) * 2),
        (Optimizer(name="momentum", settings={"momentum": 0.5}), lambda g, m: (0.5 * m + g,) * 2),
        (Optimizer(name="adamw", settings={"betas": [0.7, 0.99]}), lambda g, m: (0.7 * m + 0.3 * g,) * 2),
        (Optimizer(name="adamw", settings={"beta1": 0.7}), lambda g, m: (0.7 * m + 0.3 * g,) * 2),
        (Optimizer(name="sign-sgd"), lambda g, s: (g, s)),
        (Optimizer(name="lion"), lambda g, m: (0.9 * m + 0.1 * g, 0.99 * m + 0.01 * g)),
        (Optimizer(name="muon"), lambda g, m: (g + 0.95 * (0.95 * m + g), 0.95 * m + g)),
    ],
    ids=lambda x: x.name if isinstance(x, Optimizer) else "",
)
def test_the_noise_factor_is_the_variance_of_the_average_of_noise(optimizer, response):
    """An average is linear: its answer to one gradient of size one holds all of its weights."""
    weights, state = [], 0.0
    for g in [1.0, *[0.0] * 3000]:
        update, state = response(g, state)
        weights.append(update)
    weights = np.array(weights)
    assert optimizer.noise_factor == pytest.approx(np.sum(weights**2) / np.sum(weights) ** 2, rel=1e-9)


@pytest.mark.parametrize("settings", [{"momentum": 1.0}, {"betas": (-0.1, 0.9)}, {"epsilon": -1.0}])
def test_settings_that_no_average_has_are_refused(settings):
    with pytest.raises(ValueError, match="got"):
        Optimizer(name="sgd", settings=settings)


@pytest.mark.parametrize("beta_n", [0.3, 0.5, 0.7])
def test_the_surge_appears_where_curvature_between_coordinates_makes_it(beta_n):
    problem = dense(beta_n=beta_n)
    exact = np.array([problem.sign_rate(b) for b in LADDER])
    assert 0 < np.argmax(exact) < len(LADDER) - 1
    derived = rates("surge", problem)
    assert derived == pytest.approx(exact, rel=np.expm1(SIGN_ERROR))
    assert abs(int(np.argmax(derived)) - int(np.argmax(exact))) <= 1
    found = DERIVATIONS["surge"].parameters(exact_constants(problem), Optimizer(name="sign-sgd"))
    assert found["beta_n"][0] == pytest.approx(beta_n, rel=1e-9)
    assert found["B_peak"][0] == pytest.approx(np.pi / 2 * 40 * beta_n**2 / (1 - beta_n**2), rel=1e-9)
    assert found["eta_peak"][0] == pytest.approx(exact.max(), rel=0.03)


def test_no_surge_appears_where_beta_n_is_above_one():
    problem = dense(beta_n=1.5)
    exact = np.array([problem.sign_rate(b) for b in LADDER])
    assert np.all(np.diff(exact) > 0)
    derived = rates("surge", problem)
    assert np.all(np.diff(derived) > 0)
    assert derived == pytest.approx(exact, rel=np.expm1(SIGN_ERROR))
    assert np.isposinf(DERIVATIONS["surge"].parameters(exact_constants(problem), Optimizer(name="sign-sgd"))["B_peak"])


def test_the_exact_sign_law_of_the_tests_is_that_of_simulated_signs():
    problem = dense(beta_n=0.5)
    for b in (4, 64):
        signs = np.sign(problem.batch_gradient(np.random.default_rng(b), b, 16_000))
        assert problem.sign_rate(b) == pytest.approx(monte_carlo(problem, signs), rel=0.02)


def test_the_sign_needs_pi_over_two_and_a_division_by_the_root_mean_square_does_not():
    problem = diagonal()
    rng, small = np.random.default_rng(2), 1
    g = problem.batch_gradient(rng, small, 16_000)
    rms = np.sqrt(problem.gradient**2 + problem.noise**2 / small)
    constants = exact_constants(problem)
    sign, mean_field = (
        float(DERIVATIONS[name].rates(np.array([1.0]), constants, Optimizer(name="sign-sgd"))[0, 0])
        for name in ("surge", "surge_mean_field")
    )
    assert sign == pytest.approx(monte_carlo(problem, np.sign(g)), rel=0.03)
    assert mean_field == pytest.approx(monte_carlo(problem, g / rms), rel=0.03)
    assert mean_field > 1.2 * sign


def test_half_power_holds_with_a_diagonal_and_fails_with_curvature_between_coordinates():
    flat, off = diagonal(), dense(beta_n=0.5)
    rms = np.sqrt(flat.gradient**2 + flat.noise**2 / 8)
    sampled = flat.batch_gradient(np.random.default_rng(3), 8, 16_000) / rms
    assert rates("half_power", flat, [8])[0] == pytest.approx(monte_carlo(flat, sampled), rel=0.03)
    assert rates("half_power", off, [4096])[0] > 4 * off.sign_rate(4096)
    assert rates("half_power", flat, [4096])[0] == pytest.approx(flat.sign_rate(4096), rel=0.02)


def test_mean_field_fails_where_signal_to_noise_differs_between_coordinates():
    base = diagonal()
    gradient = base.gradient * np.where(np.arange(60) % 2, 3.0, 0.03)
    problem = Quadratic(hessian=np.eye(60), gradient=gradient, noise=base.noise)
    exact = np.array([problem.sign_rate(b) for b in (4, 64, 1024)])
    mean_field = rates("surge_mean_field", problem, [4, 64, 1024])
    with_kappa = rates("surge", problem, [4, 64, 1024])
    assert mean_field[0] / exact[0] == pytest.approx(1.0, abs=0.35)
    assert with_kappa[0] < exact[0] / 5  # coordinates without signal fill κ² and tell nothing of the others


@pytest.mark.parametrize("beta1", [0.0, 0.3, 0.9])
def test_adam_with_an_averaged_gradient_is_met_exactly(beta1):
    problem = dense(beta_n=0.8, size=12)
    optimizer = Optimizer(name="adamw", settings={"betas": (beta1, 0.999)})
    weights = (1 - beta1) * beta1 ** np.arange(120.0)
    for b in (1, 16):
        rms = np.sqrt(problem.gradient**2 + problem.noise**2 / b)
        truth = monte_carlo(problem, averaged(problem, weights, b, 4000) / rms)
        assert rates("adam_ema", problem, [b], optimizer)[0] == pytest.approx(truth, rel=0.04)


@given(beta1=st.floats(0.0, 0.99), b_simple=st.floats(1.0, 1e4))
def test_with_a_diagonal_hessian_adam_surges_only_beyond_a_momentum_of_one_third(beta1, b_simple):
    problem = diagonal(size=5, b_simple=b_simple)
    optimizer = Optimizer(name="adamw", settings={"betas": (beta1, 0.999)})
    peak = DERIVATIONS["adam_ema"].parameters(exact_constants(problem), optimizer)["B_peak"][0]
    if beta1 > 1 / 3 + 1e-9:
        assert peak == pytest.approx(b_simple * (1 - beta1) / (3 * beta1 - 1), rel=1e-6)
        found = minimize_scalar(
            lambda x: -np.log(rates("adam_ema", problem, [np.exp(x)], optimizer)[0]),
            bounds=(np.log(peak) - 6, np.log(peak) + 6),
            method="bounded",
            options={"xatol": 1e-8},
        )
        if beta1 > 0.36:  # near one third the peak is too flat for a search
            assert np.exp(found.x) == pytest.approx(peak, rel=1e-2)
    elif beta1 < 1 / 3 - 1e-9:
        assert np.isposinf(peak)
        assert np.all(np.diff(rates("adam_ema", problem, b_simple * LADDER / 64, optimizer)) > 0)


def test_adam_with_its_usual_momentum_peaks_at_a_seventeenth_of_b_simple():
    problem = diagonal(b_simple=1700.0)
    found = DERIVATIONS["adam_ema"].parameters(exact_constants(problem), Optimizer(name="adamw"))
    assert found["B_peak"][0] == pytest.approx(100.0, rel=1e-9)


@pytest.mark.parametrize("share", [0.01, 1.0, 30.0])
def test_epsilon_turns_adam_into_sgd(share):
    problem = dense(beta_n=0.8, size=12)
    epsilon = 0.1 * share  # every coordinate of the gradient is 0.1
    optimizer = Optimizer(name="adamw", settings={"betas": (0.5, 0.999), "epsilon": epsilon})
    weights = 0.5 * 0.5 ** np.arange(40.0)
    for b in (1, 16):
        rms = np.sqrt(problem.gradient**2 + problem.noise**2 / b)
        truth = monte_carlo(problem, averaged(problem, weights, b, 4000) / (rms + epsilon))
        assert rates("adam_epsilon", problem, [b], optimizer)[0] == pytest.approx(truth, rel=0.04)
        if share > 1:
            assert rates("adam_ema", problem, [b], optimizer)[0] < truth / 5
    without = Optimizer(name="adamw", settings={"betas": (0.5, 0.999), "epsilon": 0.0})
    assert rates("adam_epsilon", problem, optimizer=without) == pytest.approx(
        rates("adam_ema", problem, optimizer=without)
    )


@pytest.mark.parametrize(("shape", "holds"), [((96, 4), True), ((12, 12), False)], ids=["tall", "square"])
def test_muon_follows_half_power_for_tall_matrices_and_not_for_square_ones(shape, holds):
    rng = np.random.default_rng(5)
    rows, width = shape
    signal = np.linalg.qr(rng.normal(size=shape))[0]  # all singular values are one
    b_simple, ladder = 64.0, np.array([4.0, 16.0, 64.0, 256.0, 4096.0])
    sigma = np.sqrt(b_simple * width / (rows * width))
    measured = []
    for b in ladder:
        u, _, v = np.linalg.svd(signal + sigma / np.sqrt(b) * rng.normal(size=(60, rows, width)), full_matrices=False)
        measured.append(np.mean(np.einsum("kij,ij->k", u @ v, signal)))  # with H the identity, φᵀHφ is the width
    constants = {
        "grad_sq": np.array([1.0]), "grad_var": np.array([b_simple]), "update_gradient": np.array([measured[-1]]),
        "update_curvature": np.array([float(width)]), "update_batch_size": np.array([ladder[-1]]),
    }  # fmt: skip
    optimizer = Optimizer(name="muon", settings={"momentum": 0.0})
    derived = DERIVATIONS["muon"].rates(ladder, constants, optimizer)[0]
    off = np.max(np.abs(np.log(derived * width / np.array(measured))))
    assert (off < 0.05) if holds else (off > 0.1)


def test_the_level_of_muon_does_not_depend_on_the_batch_size_it_was_measured_at():
    shape = {"grad_sq": np.array([1.0]), "grad_var": np.array([64.0]), "update_curvature": np.array([2.0])}
    optimizer = Optimizer(name="muon", settings={"momentum": 0.0})
    for anchor in (16.0, 64.0, 4096.0):
        descent = np.array([6.0 / np.sqrt(1 + 64 / anchor)])
        constants = shape | {"update_gradient": descent, "update_batch_size": np.array([anchor])}
        assert DERIVATIONS["muon"].parameters(constants, optimizer)["eta_max"] == pytest.approx([3.0], rel=1e-12)


@given(
    b_simple=st.floats(0.1, 1e5),
    beta_n=st.floats(0.1, 5.0),
    factor=st.floats(1e-3, 1e3),
)
def test_rates_scale_with_the_inverse_of_curvature_and_rise_to_at_most_one_peak(b_simple, beta_n, factor):
    problem = dense(beta_n=beta_n, size=8, b_simple=b_simple)
    flatter = Quadratic(hessian=problem.hessian / factor, gradient=problem.gradient, noise=problem.noise)
    for name in ("saturating", "half_power", "surge", "surge_mean_field", "adam_ema"):
        here = rates(name, problem)
        assert rates(name, flatter) == pytest.approx(factor * here, rel=1e-9)
        rising = np.diff(here) > -1e-12 * here[1:]
        if name in ("saturating", "half_power"):
            assert rising.all()
        else:
            assert not np.any(~rising[:-1] & rising[1:] & (np.diff(here)[1:] > 1e-9 * here[1:-1]))


def test_measured_rows_give_the_exact_rates_within_their_intervals():
    problem = dense(beta_n=0.5)
    rows = probe_rows(problem, draws=24, seed=6)
    table = derived_table(derive_laws(rows, optimizer=Optimizer(name="sgd"), batch_sizes=[4, 64, 1024]))
    found = table[table["derivation"] == "saturating"]
    assert (found["status"] == "ok").all()
    for row in found.itertuples():
        assert row.low <= problem.sgd_rate(row.batch_size) <= row.high
    surge = derived_parameters_table(derive_laws(rows, optimizer=Optimizer(name="sign-sgd"), batch_sizes=[4]))
    surge = surge[surge["derivation"] == "surge"].set_index("parameter")
    assert surge.loc["beta_n", "low"] <= 0.5 <= surge.loc["beta_n", "high"]
    assert surge.loc["B_peak", "status"] == "ok"


def test_only_derivations_for_the_optimiser_are_given_and_the_direct_ones_always():
    rows = probe_rows(diagonal(), draws=4)
    names = {
        optimizer: {law.derivation for law in derive_laws(rows, optimizer=Optimizer(name=optimizer), batch_sizes=[8])}
        for optimizer in ("sgd", "adamw", "lamb", "somebody's own")
    }
    assert names["sgd"] == {*DIRECT, "saturating"}
    assert names["adamw"] == {*DIRECT, "surge", "surge_mean_field", "adam_ema", "adam_epsilon"}
    assert names["lamb"] == names["somebody's own"] == set(DIRECT)


def test_a_derivation_without_its_constants_is_not_measured_and_says_what_it_lacks():
    rows = probe_rows(diagonal(), draws=4)
    rows = rows[~rows["name"].isin(["hessian_trace", "curvature_gradient"])]
    table = derived_table(derive_laws(rows, optimizer=Optimizer(name="adamw"), batch_sizes=[8, 64]))
    found = table[table["derivation"] == "surge"]
    assert set(found["status"]) == {"not_measured"}
    assert found["reason"].str.contains("hessian_trace").all()
    assert found[["learning_rate", "low", "high"]].isna().all(axis=None)


@pytest.mark.parametrize("rows", [pd.DataFrame(), probe_rows(diagonal(), draws=1)], ids=["empty", "one draw"])
def test_too_little_is_a_status(rows):
    laws = derive_laws(rows, optimizer=Optimizer(name="sgd"), batch_sizes=[8, 64])
    table = derived_table(laws)
    assert "ok" not in set(table["status"])
    assert "ok" not in set(derived_table(run_average(laws))["status"])
    if len(rows):
        found = table[table["derivation"] == "saturating"]
        assert set(found["status"]) == {"not_resolved"}
        assert found["reason"].str.contains("one draw").all()
        assert found["learning_rate"].notna().all()


def test_a_doubted_reference_gradient_leaves_the_sign_laws_unresolved():
    rows = probe_rows(diagonal(b_simple=40.0), draws=24, reference=32)
    table = derived_table(derive_laws(rows, optimizer=Optimizer(name="sign-sgd"), batch_sizes=[8]))
    assert set(table["status"]) <= {"not_resolved", "not_measured"}
    assert table.loc[table["derivation"] == "surge", "reason"].str.contains("reference gradient").all()


def test_batch_sizes_must_be_positive():
    with pytest.raises(ValueError, match="batch_sizes must be positive"):
        derive_laws(probe_rows(diagonal(), draws=2), optimizer=Optimizer(name="sgd"), batch_sizes=[8, 0])


def test_a_newcomer_needs_one_class():
    class Flat(Derivation):
        """η* = |g|²/gᵀHg at any batch size."""

        name, law, optimizers, needs = "flat", "constant", ("sgd",), ("grad_sq", "curvature_grad")
        formula, assumes = "|g|^2/g'Hg", "no noise"

        def rates(self, batch_size, constants, optimizer):
            return self.parameters(constants, optimizer)["eta"][:, None] + 0.0 * batch_size

        def parameters(self, constants, optimizer):
            return {"eta": constants["grad_sq"] / constants["curvature_grad"]}

    problem = diagonal()
    more = MappingProxyType({**DERIVATIONS, "flat": Flat()})
    laws = derive_laws(
        probe_rows(problem, draws=24), optimizer=Optimizer(name="sgd"), batch_sizes=[8, 64], derivations=more
    )
    found = derived_table(laws)
    found = found[found["derivation"] == "flat"]
    assert ((found["low"] < problem.eta_max) & (problem.eta_max < found["high"])).all()


def test_the_mean_over_a_run_is_geometric_and_skips_what_is_not_resolved():
    parts = [
        probe_rows(Quadratic(hessian=h * q.hessian, gradient=q.gradient, noise=q.noise), draws=24, step=step, seed=step)
        for step, h, q in ((1, 1.0, diagonal(b_simple=1.0)), (10, 9.0, diagonal(b_simple=1.0)))
    ]
    lost = probe_rows(diagonal(b_simple=1e6), draws=2, step=30)
    laws = derive_laws(pd.concat([*parts, lost]), optimizer=Optimizer(name="sgd"), batch_sizes=[8, 64])
    (mean,) = [law for law in run_average(laws) if law.derivation == "saturating"]
    singles = [law for law in laws if law.derivation == "saturating"]
    assert mean.step is None
    assert mean.rates[0] == pytest.approx(np.sqrt(singles[0].rates[0] * singles[1].rates[0]), rel=1e-12)
    assert mean.rates[0] == pytest.approx([diagonal(b_simple=1.0).sgd_rate(b) / 3 for b in (8, 64)], rel=0.15)
