"""The whole path on a problem whose answers are exact: SGD on a noisy quadratic (theory, section 7.1).

L = ½ Σ h_i θ_i², gradient noise of variance h_i/B: the expected square of each coordinate follows
v ← (1 - η h)² v + η² h/B, so that the loss after any number of steps is known without sampling.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.optimum import find_optima
from analysis.study_analysis import analyse

CURVATURE = 1.0 / np.arange(1, 201)
START = 0.5 * CURVATURE.sum()
TARGET = 0.05 * START
BATCH_SIZES = (1, 2, 4, 8, 16, 32)
MOST_STEPS = 6000


def steps_to_target(batch_size: int, rates: np.ndarray) -> np.ndarray:
    """Return the steps at which the expected loss meets the target, interpolated in its logarithm; NaN if never."""
    squares = np.ones((len(rates), len(CURVATURE)))
    keep = (1 - rates[:, None] * CURVATURE) ** 2
    kick = rates[:, None] ** 2 * CURVATURE / batch_size
    before, steps = np.full(len(rates), START), np.full(len(rates), np.nan)
    for step in range(1, MOST_STEPS + 1):
        squares = keep * squares + kick
        loss = 0.5 * squares @ CURVATURE
        hit = np.isnan(steps) & (loss <= TARGET)
        steps[hit] = step - 1 + np.log(before[hit] / TARGET) / np.log(before[hit] / loss[hit])
        if not np.isnan(steps[np.argmin(loss)]) and np.all((loss <= TARGET) | (loss >= before)):
            break
        before = loss
    return steps


@pytest.fixture(scope="module")
def best():
    """Return batch size -> (best rate, fewest steps), by search on a ladder of 1/16 octave."""
    ladder = 2.0 ** np.arange(-6, 0.95, 1 / 16)
    found = {}
    for batch_size in BATCH_SIZES:
        steps = steps_to_target(batch_size, ladder)
        i = int(np.nanargmin(steps))
        found[batch_size] = (ladder[i], steps[i])
    return found


@pytest.fixture(scope="module")
def sweep(best):
    rows = []
    for batch_size in BATCH_SIZES:
        centre = round(2 * np.log2(best[batch_size][0])) / 2
        rates = 2.0 ** (centre + 0.5 * np.arange(-3, 4))
        with np.errstate(over="ignore", invalid="ignore"):
            steps = steps_to_target(batch_size, rates[rates < 2])
        steps = np.append(steps, np.full(len(rates) - len(steps), np.nan))
        for rate, needed in zip(rates, steps, strict=True):
            rows.append(
                {
                    "sweep": "sgd",
                    "batch_size": batch_size,
                    "learning_rate": rate,
                    "seed": 0,
                    "status": "reached" if np.isfinite(needed) else "diverged" if rate >= 2 else "exhausted",
                    "steps": MOST_STEPS,
                    "steps_to_target": needed,
                }
            )
    return pd.DataFrame(rows)


def test_the_grid_finds_the_rates_and_steps_of_direct_search(sweep, best):
    table = find_optima(sweep, outcome="steps_to_target")
    assert (table["status"] == "interior").all()
    truth = np.array([best[b][0] for b in table["batch_size"]])
    fewest = np.array([best[b][1] for b in table["batch_size"]])
    # A fifth of an octave on a grid of half octaves.
    assert np.median(np.abs(np.log2(table["learning_rate"] / truth))) < 0.1
    assert np.mean((table["low"] <= truth * 1.02) & (truth <= table["high"] * 1.02)) >= 5 / 6
    np.testing.assert_allclose(table["outcome"], fewest, rtol=0.05)


def test_the_trade_off_is_the_hyperbola_of_the_exact_steps(sweep, best):
    found = analyse(sweep, pd.DataFrame(), outcomes={"sgd": "steps_to_target"}, resamples=40).tradeoff.iloc[0]
    assert found["status"] == "ok"
    # Least squares in ln steps by brute force over B_crit; S_min follows.
    batch, steps = np.array(list(best)), np.array([fewest for _, fewest in best.values()])
    ladder = np.geomspace(1, 1e4, 20_000)
    residual = np.log(steps) - np.log1p(ladder[:, None] / batch)
    spread = residual.var(axis=1)
    b_crit = ladder[np.argmin(spread)]
    assert found["b_crit"] == pytest.approx(b_crit, rel=0.15)
    assert found["b_crit_low"] < b_crit < found["b_crit_high"]
