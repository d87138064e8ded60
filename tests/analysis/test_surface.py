"""The ridge of a surface is the truth, its solver agrees with a slow one, and it says what it cannot know."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares

from analysis.cells import tabulate_cells
from analysis.fit import Estimate
from analysis.fit_tables import fit_laws
from analysis.laws import LAWS
from analysis.optimum import locate_optima
from analysis.surface import (
    SURFACE_COLUMNS,
    SURFACE_OPTIMUM_COLUMNS,
    _comparison,
    find_ridges,
    fit_surface,
    surface_optima,
)
from analysis.surface_fit import fit_surface_law
from analysis.surface_grid import surface_data
from analysis.surface_model import bend, solve_surfaces
from analysis.surface_solver import SurfaceProblems

from .surface_studies import RATES, SHAPES, TRUTH, study
from .sweeps import one_step_sweep, parabola_sweep


def root(batch_size: float) -> float:
    return 0.013 * batch_size**0.5


def parabolas(**changes) -> pd.DataFrame:
    return tabulate_cells(parabola_sweep(root, **({"noise": 0.01} | changes)), outcome="value_at_budget")


def law_of(cells: pd.DataFrame, law: str, *, seed: int = 0):
    return fit_surface_law(LAWS[law], find_ridges(cells, seed=seed), rng=np.random.default_rng(seed))


def test_the_law_behind_exact_parabolas_comes_back():
    found = law_of(parabolas(noise=0.0), "power")
    np.testing.assert_allclose(found.values, [0.013, 0.5], rtol=1e-5)
    assert found.lack_of_fit > 0.99
    assert found.cells == 49


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("law", TRUTH)
def test_the_law_behind_valleys_of_another_shape_comes_back(law, shape):
    cells = study(law, shape, noise=0.0, step=0.5, seeds=1, seed=0)
    found = law_of(cells, law)
    # Levels err by what the shape does that the model's does not, by a hundredth; the rest by less.
    np.testing.assert_allclose(found.values, TRUTH[law], rtol=0.01)
    assert found.values[1] == pytest.approx(TRUTH[law][1], rel=1e-3)


def test_the_solver_finds_what_a_general_one_finds_for_all_unknowns_together():
    cells = study("saturating", "lopsided", noise=0.03, step=1.0, seeds=2, seed=3)
    data = surface_data(cells[cells["score"] < np.log(1000.0) + 1.0])
    grid, n = data.grid, len(data.grid.ln_batch)
    z = grid.ln_batch - grid.ln_batch.mean()

    def residuals(unknown: np.ndarray) -> np.ndarray:
        line, (p, b), bottom, (h, k) = unknown[:n], unknown[n : n + 2], unknown[n + 2 : 2 * n + 2], unknown[2 * n + 2 :]
        t = (np.exp(p * (grid.ln_rate - line[:, None])) - 1.0) / p
        fitted = bottom[:, None] + np.exp(b * z)[:, None] * (h * t**2 + k * t**4)
        return (np.sqrt(grid.precision) * (grid.score - fitted)).ravel()

    line = np.log([RATES["saturating"](b) for b in np.exp(grid.ln_batch)])
    slow = least_squares(residuals, [*line, 0.4, 0.0, *[np.log(1000.0)] * n, 0.25, 0.0], xtol=1e-14, ftol=1e-14)
    problems = SurfaceProblems(grid=grid, score=grid.score[None], precision=grid.precision[None], quartic=True)
    fast = problems.solve(np.array([[*(line + 0.1), 0.2, 0.1]]), tolerance=1e-12)
    assert fast.square[0] == pytest.approx(2.0 * slow.cost, rel=1e-7)
    np.testing.assert_allclose(fast.point[0], slow.x[: n + 2], atol=2e-4)
    # The covariance of the ridge, linear unknowns projected out, is the block of the whole one.
    whole = np.linalg.inv(slow.jac.T @ slow.jac)[:n, :n]
    np.testing.assert_allclose(fast.covariance(0)[:n, :n], whole, rtol=0.02, atol=0.02 * whole.max())


@given(st.integers(0, 10_000), st.booleans())
@settings(max_examples=15, deadline=None)
def test_slopes_are_the_differences_of_the_powers(seed, near_the_logarithm):
    rng = np.random.default_rng(seed)
    rates, z = rng.normal(0.0, 1.0, (1, 4, 5)), np.linspace(-1.5, 1.5, 4)
    point = np.array([[*rng.normal(0.0, 0.5, 4), 0.01 if near_the_logarithm else rng.uniform(0.1, 1.5), 0.3]])
    curvature, quartic = np.array([0.7]), np.array([-0.2])

    def height(at):
        square, fourth = bend(rates, at, z).powers()
        return curvature * square + quartic * fourth

    slopes = bend(rates, point, z).slopes(curvature, quartic, z)
    for which, moved in ((0, slice(0, 4)), (1, slice(4, 5)), (2, slice(5, 6))):
        ahead, behind = point.copy(), point.copy()
        ahead[:, moved] += 1e-5
        behind[:, moved] -= 1e-5
        np.testing.assert_allclose(slopes[which], (height(ahead) - height(behind)) / 2e-5, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("quartic", [False, True])
def test_a_ridge_on_top_of_a_hill_has_no_curvature(quartic):
    grid = surface_data(parabolas(noise=0.0)).grid
    square = (grid.ln_rate - np.log(root(np.exp(grid.ln_batch)))[:, None]) ** 2
    # A hill at the ridge with walls further out.
    score = (square**2 - 2.0 * square)[None]
    point = np.array([[*np.log(root(np.exp(grid.ln_batch))), 0.0, 0.0]])
    found = solve_surfaces(grid, point, score=score, precision=grid.precision[None], quartic=quartic)
    assert found.curvature[0] == 0.0
    assert found.quartic[0] >= 0.0


@pytest.mark.parametrize("quartic", [False, True])
def test_the_gradient_counts_missed_targets_that_the_surface_reaches(quartic):
    cells = study("saturating", "lopsided", noise=0.02, step=0.5, seeds=1, seed=1)
    high = cells["score"] > np.log(1000.0) + 0.7
    grid = surface_data(cells.assign(status=cells["status"].mask(high, "right_censored"))).grid
    assert np.isfinite(grid.floor).any()
    problems = SurfaceProblems(grid=grid, score=grid.score[None], precision=grid.precision[None], quartic=quartic)
    rng = np.random.default_rng(0)
    point = np.array([*np.log([RATES["saturating"](b) for b in np.exp(grid.ln_batch)]), 0.3, 0.1])
    point += 0.05 * rng.standard_normal(len(point))
    _, gradient, _ = problems._evaluate(point[None], np.arange(1))
    slow = []
    for step in 1e-6 * np.eye(len(point)):
        up, down = (problems._evaluate((point + sign * step)[None], np.arange(1))[0][0] for sign in (1, -1))
        slow.append((up - down) / 4e-6)
    np.testing.assert_allclose(gradient[0], slow, rtol=1e-4, atol=1e-6)
    without = dataclasses.replace(problems, grid=dataclasses.replace(grid, floor=np.full_like(grid.floor, -np.inf)))
    assert without._evaluate(point[None], np.arange(1))[0][0] < problems._evaluate(point[None], np.arange(1))[0][0]


def test_a_rate_that_diverged_bounds_the_ridge():
    cells = tabulate_cells(one_step_sweep(root, noise=0.05, step=1.0, seeds=1), outcome="steps_to_target")
    grid = surface_data(cells).grid
    assert np.isfinite(grid.ceiling).all()
    problems = SurfaceProblems(grid=grid, score=grid.score[None], precision=grid.precision[None], quartic=False)
    point = np.array([*(grid.ceiling - 0.1), 0.5, 0.0])
    beyond = point + np.array([*[0.3] * len(grid.ceiling), 0.0, 0.0])
    free = dataclasses.replace(problems, grid=dataclasses.replace(grid, ceiling=np.full_like(grid.ceiling, np.inf)))
    here, there = (p._evaluate(beyond[None], np.arange(1))[0][0] for p in (problems, free))
    assert here == pytest.approx(there + len(grid.ceiling) * 0.2**2)
    assert problems._evaluate(point[None], np.arange(1))[0][0] == free._evaluate(point[None], np.arange(1))[0][0]


@given(st.floats(1e-4, 1e4), st.floats(-5.0, 5.0))
@settings(max_examples=5, deadline=None)
def test_the_unit_of_rates_and_the_level_of_scores_do_not_matter(factor, level):
    cells = parabolas(seeds=1, batch_sizes=(8, 32, 128, 512))
    plain = law_of(cells, "power")
    moved = law_of(cells.assign(learning_rate=cells["learning_rate"] * factor, score=cells["score"] + level), "power")
    assert moved.values[0] == pytest.approx(plain.values[0] * factor, rel=1e-4)
    assert moved.values[1] == pytest.approx(plain.values[1], abs=1e-4)


def test_a_wrong_law_lacks_fit_and_a_right_one_does_not():
    table = fit_surface(parabolas(), {}).drop_duplicates("law").set_index("law")
    assert table.loc["constant", "lack_of_fit"] < 1e-6
    assert table.loc["linear", "lack_of_fit"] < 1e-6
    assert table.loc["sqrt", "lack_of_fit"] > 0.01
    assert table["weight"].idxmax() == "sqrt"
    assert table["weight"].sum() == pytest.approx(1.0)


def test_both_routes_agree_on_a_clean_study_and_the_surface_is_narrower():
    cells = study("power", "lopsided", noise=0.02, step=0.5, seeds=1, seed=0)
    fits = fit_laws(locate_optima(cells), laws={"power": LAWS["power"]})
    table = fit_surface(cells, fits, laws={"power": LAWS["power"]})
    assert list(table.columns) == list(SURFACE_COLUMNS)
    assert table["agrees"].tolist() == [True, True]
    first = fits["s"]["power"].estimates[1]
    assert table["high"].iloc[1] - table["low"].iloc[1] < 0.7 * (first.high - first.low)


def test_routes_that_differ_by_more_than_both_intervals_disagree():
    exponent = LAWS["power"].parameters[1]

    def estimate(value, low, high):
        return Estimate(parameter=exponent, value=value, low=low, high=high, status="ok")

    # Halves that face each other: 0.1 and 0.2 at 1.96 standard deviations; the others do not count.
    found = _comparison(estimate(0.5, 0.4, 9.0), estimate(0.2, -9.0, 0.4))
    assert found["difference_sd"] == pytest.approx(0.3 / (np.hypot(0.1, 0.2) / 1.96), rel=1e-3)
    assert found["agrees"] is False
    assert _comparison(estimate(0.5, 0.4, 0.6), estimate(0.6, 0.3, 0.9))["agrees"] is True
    assert np.isnan(_comparison(estimate(0.5, None, 0.6), estimate(0.2, 0.1, 0.3))["difference_sd"])
    assert np.isnan(_comparison(estimate(0.5, 0.4, 0.6), None)["agrees"])


def test_the_optima_of_a_surface_hold_the_truth_and_beat_those_of_single_curves():
    cells = study("saturating", "parabola", noise=0.05, step=0.5, seeds=1, seed=2)
    table = surface_optima(cells)
    assert list(table.columns) == list(SURFACE_OPTIMUM_COLUMNS)
    true = np.array([RATES["saturating"](b) for b in table["batch_size"]])
    assert ((table["low"] < true) & (true < table["high"])).sum() >= 6
    alone = locate_optima(cells).table
    width, width_alone = (np.log(t["high"] / t["low"]).median() for t in (table, alone))
    assert width < 0.8 * width_alone


def test_unequal_noise_is_seen_and_equal_noise_is_left_alone():
    data = surface_data(parabolas())
    n = len(data.grid.ln_batch)
    equal = data.reweighted(np.full(n, 10.0), np.full(n, 10.0))
    assert equal is data
    square = np.full(n, 10.0)
    square[0] = 1000.0
    seedless = dataclasses.replace(data, seed_square=np.zeros(n), seed_degrees=np.zeros(n))
    unequal = seedless.reweighted(square, np.full(n, 10.0))
    ratio = unequal.grid.precision[0, 0] / unequal.grid.precision[1, 0]
    # 1000 and 10 over 10 degrees, each with four degrees of the pooled 1060/70.
    assert ratio == pytest.approx((10 + 4 * 1060 / 70) / (1000 + 4 * 1060 / 70))


def test_seeds_that_agree_while_the_shape_misfits_are_not_believed():
    data = surface_data(parabolas())
    data = dataclasses.replace(data, seed_square=np.ones(7), seed_degrees=np.full(7, 2.0))
    assert data.noise(10.0, 20.0) == (17.0 / 34.0, 34.0)
    assert data.noise(100.0, 20.0) == (5.0, 20.0)


def test_nothing_to_fit_is_a_status():
    lost = [
        parabolas(batch_sizes=(8,)).iloc[:2],
        parabolas().assign(status="diverged", score=np.nan),
        parabolas(noise=0.05, steepness=0.0, seed=1),
        parabolas(offsets=(0,)),
    ]
    for cells in lost:
        table = fit_surface(cells, {}, resamples=40)
        assert set(table["status"]) == {"failed"}
        assert table[["value", "low", "high", "aicc", "weight"]].isna().all(axis=None)
    assert fit_surface(parabolas().iloc[:0], {}).empty
    assert surface_optima(parabolas(offsets=(0,))).empty


def test_the_same_seed_gives_the_same_table_whatever_other_sweeps_there_are():
    one = parabolas(sweep="one", seeds=1)
    other = parabolas(sweep="two", seeds=1, seed=5)
    laws = {"power": LAWS["power"]}
    alone = fit_surface(one, {}, laws=laws, seed=3)
    together = fit_surface(pd.concat([other, one.sample(frac=1.0, random_state=0)]), {}, laws=laws, seed=3)
    pd.testing.assert_frame_equal(alone, together[together["sweep"] == "one"].reset_index(drop=True), rtol=1e-9)
    assert not fit_surface(one, {}, laws=laws, seed=4).equals(alone)
