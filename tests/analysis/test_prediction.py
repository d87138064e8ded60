"""Predicted rates: closed forms, a slow reference for the mixture, recovery of a known law, and what is refused."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.assumed_law import predict_by_law
from analysis.cells import tabulate_cells
from analysis.compare import Verdict
from analysis.errors import TableError
from analysis.fit import FitResult
from analysis.laws import LAWS
from analysis.prediction import KnownPair, SweepFit, fit_sweeps, law_weights, predict_rate
from analysis.prediction_words import prediction_sentences

from .sweeps import parabola_sweep

FEW = {name: LAWS[name] for name in ("constant", "sqrt", "linear", "power")}
OPTIMA = pd.DataFrame({"batch_size": [8, 16, 32, 64], "status": "interior"})


def fitted(name, values, draws, *, ln_likelihood=0.0):
    values = np.asarray(values, dtype=float)
    return FitResult(
        law=LAWS[name],
        status="ok",
        values=values,
        draws=np.asarray(draws, dtype=float).reshape(-1, len(values)),
        estimates=(),
        ln_likelihood=ln_likelihood,
        aicc=None,
        extra_scatter=0.0,
        holdout_error_log2=None,
        batch_sizes=4,
    )


def sweep_of(*fits, optima=OPTIMA):
    verdict = Verdict(verdict="undetermined", reason="", smallest_detectable_surge=None, suggested_trials="")
    return SweepFit(
        sweep="s", outcome="value_at_budget", optima=optima, fits={f.law.name: f for f in fits}, verdict=verdict
    )


def cells_of(law, **options):
    return tabulate_cells(parabola_sweep(law, **options), outcome="value_at_budget")


@pytest.mark.parametrize("law", LAWS.values(), ids=list(LAWS))
def test_the_first_parameter_of_every_law_is_its_level(law):
    """A known pair sets the first parameter, whichever law it is."""
    ln_batch = np.log([4.0, 64.0, 1024.0])
    values = np.array([2.0, *(1.5 for _ in law.parameters[1:])])
    raised = values * np.array([3.0, *(1.0 for _ in law.parameters[1:])])
    np.testing.assert_allclose(law.ln_rate(ln_batch, raised) - law.ln_rate(ln_batch, values), np.log(3.0), rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "shape", "factor"),
    [
        ("constant", {}, 1.0),
        ("sqrt", {}, 8**0.5),
        ("linear", {}, 8.0),
        ("power", {"p": 0.25}, 8**0.25),
        # AdaScale's gain (1 + B_noise/B0) / (1 + B_noise/B1), with B_noise = 64: 2 / (1 + 1/8)
        ("saturating", {"B_noise": 64.0}, 16 / 9),
        ("half_power", {"B_noise": 64.0}, 4 / 3),
        # From the peak at 64 to 512: 2 / (8**-0.5 + 8**0.5)
        ("surge_small_batch", {"B_peak": 64.0}, 2 / (8**-0.5 + 8**0.5)),
    ],
)
def test_a_law_moves_a_known_rate_by_its_closed_form(name, shape, factor):
    found = predict_by_law(LAWS[name], batch_size=512, pair=KnownPair(batch_size=64, learning_rate=1e-3), shape=shape)
    assert found.learning_rate == pytest.approx(1e-3 * factor, rel=1e-12)
    assert found.low is None
    assert found.high is None


@given(st.floats(1.0, 1e6), st.floats(1.0, 1e6), st.floats(1.0, 1e5))
def test_there_and_back_is_the_same_rate(one, other, noise):
    law, shape = LAWS["saturating"], {"B_noise": noise}
    there = predict_by_law(law, batch_size=other, pair=KnownPair(batch_size=one, learning_rate=0.01), shape=shape)
    pair = KnownPair(batch_size=other, learning_rate=there.learning_rate)
    assert predict_by_law(law, batch_size=one, pair=pair, shape=shape).learning_rate == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("saturating", {}, "saturating needs a value for B_noise (batch size at half of eta_max, examples/step)"),
        ("saturating", {"eta_max": 1.0}, "eta_max follows from the known pair"),
        ("sqrt", {"B_noise": 1.0}, "sqrt has no shape parameter 'B_noise'; it has none"),
        ("saturating", {"B_noise": -1.0}, "B_noise must lie between 0 and inf, but got -1"),
        ("saturating", {"B_noise": float("nan")}, "B_noise must lie between"),
    ],
)
def test_wrong_shape_parameters_are_named(name, shape, words):
    with pytest.raises(TableError) as caught:
        predict_by_law(LAWS[name], batch_size=8, pair=KnownPair(batch_size=64, learning_rate=1e-3), shape=shape)
    assert words in str(caught.value)


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan"), float("inf")])
def test_numbers_that_are_not_positive_are_refused(wrong):
    with pytest.raises(TableError, match="must be positive and finite"):
        KnownPair(batch_size=wrong, learning_rate=1e-3)
    with pytest.raises(TableError, match="must be positive and finite"):
        predict_rate(sweep_of(fitted("sqrt", [1.0], [[1.0]])), batch_size=wrong)


def test_weights_are_akaikes():
    """exp(ln likelihood - parameters), by hand: equal likelihoods, one parameter more, so a factor of e less."""
    weights = law_weights(
        {
            "sqrt": fitted("sqrt", [1.0], [[1.0]], ln_likelihood=3.0),
            "power": fitted("power", [1.0, 0.5], [[1.0, 0.5]], ln_likelihood=3.0),
            "linear": fitted("linear", [1.0], [[1.0]], ln_likelihood=1.0),
        }
    )
    parts = np.array([1.0, np.exp(-1.0), np.exp(-2.0)])
    np.testing.assert_allclose([weights[n] for n in ("sqrt", "power", "linear")], parts / parts.sum())


def test_a_law_that_repeats_anothers_curves_has_no_weight():
    surge = fitted("surge", [1.0, 0.5, 64.0], [[1.0, 0.5, 64.0]])
    twin = fitted("adam_ema", [1.0, 64.0, 1.0], [[1.0, 64.0, 1.0]])
    assert law_weights({"surge": surge, "adam_ema": twin}) == {"surge": 1.0}


def test_the_interval_is_that_of_all_laws_draws_together():
    """Against every draw written out as often as its law's weight says: three times as often for one of two laws."""
    rng = np.random.default_rng(0)
    first, second = np.exp(rng.normal(0, 0.3, 301)), np.exp(rng.normal(2, 0.1, 301))
    sweep = sweep_of(fitted("constant", [1.0], first, ln_likelihood=np.log(3.0)), fitted("sqrt", [np.exp(2.0)], second))
    found = predict_rate(sweep, batch_size=1.0)  # where sqrt is its own parameter
    pooled = np.concatenate([np.repeat(first, 3), second])
    low, high = np.quantile(pooled, [0.025, 0.975], method="inverted_cdf")
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.learning_rate == pytest.approx(np.exp(0.25 * 2.0))
    assert [share.law for share in found.laws] == ["constant", "sqrt"]
    assert [share.weight for share in found.laws] == pytest.approx([0.75, 0.25])


def test_a_ratio_shares_its_draws():
    """Levels that differ by a factor of e between draws leave no trace in a ratio; the exponents 0 to 1 do."""
    exponents = np.linspace(0.0, 1.0, 201)
    draws = np.column_stack([np.exp(np.linspace(-1, 1, 201)), exponents])
    sweep = sweep_of(fitted("power", [1.0, 0.5], draws))
    pair = KnownPair(batch_size=64, learning_rate=1e-3)
    same = predict_rate(sweep, batch_size=64, pair=pair)
    assert (same.low, same.learning_rate, same.high) == pytest.approx((1e-3, 1e-3, 1e-3))
    moved = predict_rate(sweep, batch_size=128, pair=pair)
    assert moved.learning_rate == pytest.approx(1e-3 * 2**0.5)
    assert (moved.low, moved.high) == pytest.approx((1e-3 * 2**0.025, 1e-3 * 2**0.975), rel=1e-2)


def test_a_known_law_is_predicted_where_nothing_was_tried():
    def law(batch):
        return 1e-3 * batch**0.5

    sweep = fit_sweeps(cells_of(law, noise=0.01), laws=FEW)["s"]
    for batch_size in (24, 1024, 2048):
        found = predict_rate(sweep, batch_size=batch_size)
        assert found.status == "ok"
        assert found.learning_rate == pytest.approx(law(batch_size), rel=0.08)
        assert found.low < law(batch_size) < found.high
    assert found.beyond == pytest.approx(4.0)
    assert predict_rate(sweep, batch_size=2).beyond == pytest.approx(4.0)
    assert predict_rate(sweep, batch_size=24).beyond == 1.0


def test_same_seed_same_numbers_other_seed_other_numbers():
    cells = cells_of(lambda b: 1e-3 * b**0.5, noise=0.05, batch_sizes=(8, 16, 32, 64))
    laws = {"sqrt": LAWS["sqrt"]}
    first, again, other = (
        predict_rate(fit_sweeps(cells, seed=seed, resamples=40, laws=laws)["s"], batch_size=128) for seed in (0, 0, 1)
    )
    assert first == again
    assert first.low != other.low


@pytest.mark.parametrize(
    ("statuses", "words"),
    [
        (["edge_low"] * 4, "4 of 4 batch sizes give only an upper bound"),
        (["edge_high", "unresolved", "unresolved", "edge_high"], "2 of 4 batch sizes give nothing"),
        (["interior", "interior", "unresolved", "unresolved"], "at least 4 batch sizes"),
    ],
)
def test_a_rate_that_the_data_cannot_carry_is_refused(statuses, words):
    sweep = sweep_of(fitted("sqrt", [1.0], [[1.0]]), optima=OPTIMA.assign(status=statuses))
    found = predict_rate(sweep, batch_size=8)
    assert found.status == "refused"
    assert (found.learning_rate, found.low, found.high) == (None, None, None)
    assert words in found.reason
    assert prediction_sentences(found) == [f"s: no rate for batch size 8: {found.reason}."]


def test_one_law_can_be_asked_for_where_laws_cannot_be_weighed():
    optima = OPTIMA.assign(status=["interior", "interior", "unresolved", "unresolved"])
    found = predict_rate(sweep_of(fitted("sqrt", [1.0], [[1.0]]), optima=optima), batch_size=4, law="sqrt")
    assert found.learning_rate == pytest.approx(2.0)
    assert "the 95 % interval leaves out the choice between laws" in prediction_sentences(found)[0]
    with pytest.raises(TableError, match="the law must be one of sqrt, but got 'quadratic'"):
        predict_rate(sweep_of(fitted("sqrt", [1.0], [[1.0]])), batch_size=4, law="quadratic")


def test_a_far_batch_size_is_called_an_extrapolation():
    sweep = sweep_of(fitted("sqrt", [1.0], [[1.0]]), fitted("linear", [1.0], [[1.0]]))
    far = " ".join(prediction_sentences(predict_rate(sweep, batch_size=512)))
    assert "512 is 8 times the largest batch size tested, 64: an extrapolation" in far
    near = " ".join(prediction_sentences(predict_rate(sweep, batch_size=128)))
    assert "128 is 2 times the largest batch size tested, 64." in near
    assert "extrapolation" not in near
    below = " ".join(prediction_sentences(predict_rate(sweep, batch_size=1)))
    assert "1 is 8 times smaller than the smallest batch size tested, 8: an extrapolation" in below
    inside = " ".join(prediction_sentences(predict_rate(sweep, batch_size=10)))
    assert "tested" not in inside
    assert "sqrt (0.50), linear (0.50) share the weight" in inside


def test_a_verdict_is_said():
    sweep = sweep_of(fitted("sqrt", [1.0], [[1.0]]))
    named = dataclasses.replace(sweep, verdict=dataclasses.replace(sweep.verdict, verdict="sqrt"))
    assert "The verdict is sqrt." in prediction_sentences(predict_rate(named, batch_size=8))
