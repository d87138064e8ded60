"""The hyperbola between steps and examples: exact recovery, bounds, and what is not known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.cells import tabulate_cells
from analysis.optimum import locate_optima
from analysis.tradeoff import DEFINITION, STEP_COLUMNS, TRADEOFF_COLUMNS, steps_table, tradeoff_table

BATCH = (8, 16, 32, 64, 128, 256, 512)


def run(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    cells = tabulate_cells(frame, outcome="steps_to_target")
    optima = locate_optima(cells, resamples=100)
    steps = steps_table(cells, optima)
    table = tradeoff_table(steps, optima)
    assert list(table.columns) == list(TRADEOFF_COLUMNS)
    return steps, table.iloc[0]


def sweep(s_min: float, b_crit: float, *, noise: float = 0.0, missed=(), seed: int = 0) -> pd.DataFrame:
    """Return steps that are exact parabolas in log rate around S_min (1 + B_crit/B); ``missed`` batch sizes fail."""
    rng = np.random.default_rng(seed)
    rows = []
    for batch_size in BATCH:
        fewest = s_min * (1 + b_crit / batch_size)
        for octave in np.arange(-1.5, 1.6, 0.5):
            for trial_seed in range(2):
                reached = batch_size not in missed
                steps = fewest * np.exp(0.2 * octave**2 + noise * rng.standard_normal())
                rows.append(
                    {
                        "sweep": "s",
                        "batch_size": batch_size,
                        "learning_rate": 0.01 * 2.0**octave,
                        "seed": trial_seed,
                        "status": "reached" if reached else "exhausted",
                        "steps": int(np.ceil(steps)) if reached else int(fewest / 3),
                        "steps_to_target": steps if reached else np.nan,
                    }
                )
    return pd.DataFrame(rows)


def test_exact_steps_give_back_the_hyperbola():
    steps, found = run(sweep(75.0, 103.0))
    assert list(steps.columns) == list(STEP_COLUMNS)
    np.testing.assert_allclose(steps["steps"], 75.0 * (1 + 103.0 / np.array(BATCH)), rtol=1e-9)
    np.testing.assert_allclose(steps["examples"], 75.0 * (np.array(BATCH) + 103.0), rtol=1e-9)
    assert found["s_min"] == pytest.approx(75.0, rel=1e-6)
    assert found["b_crit"] == pytest.approx(103.0, rel=1e-6)
    assert found["e_min"] == pytest.approx(75.0 * 103.0, rel=1e-6)
    assert found["status"] == "ok"
    assert found["definition"] == DEFINITION


def test_noisy_steps_hold_the_truth_in_their_intervals():
    inside = []
    for seed in range(8):
        _, found = run(sweep(75.0, 103.0, noise=0.05, seed=seed))
        for name, truth in (("s_min", 75.0), ("b_crit", 103.0), ("e_min", 75.0 * 103.0)):
            inside.append(found[f"{name}_low"] <= truth <= found[f"{name}_high"])
            assert found[f"{name}_low"] < found[name] < found[f"{name}_high"]
    assert np.mean(inside) >= 0.8


def test_batch_sizes_that_missed_the_target_are_kept_as_bounds():
    steps, found = run(sweep(75.0, 103.0, missed=(8,)))
    first = steps.iloc[0]
    assert first["status"] == "at_least"
    assert first["steps"] == first["low"] == pytest.approx(int(75.0 * (1 + 103.0 / 8) / 3))
    assert np.isnan(first["high"])
    # A bound that is true, and a third of the truth, leaves the answer where it is.
    assert found["b_crit"] == pytest.approx(103.0, rel=0.01)


def test_steps_at_the_edge_of_the_rates_are_upper_bounds():
    frame = sweep(75.0, 103.0)
    frame = frame[(frame["batch_size"] > 8) | (frame["learning_rate"] > 0.0101)]
    steps, found = run(frame)
    assert steps.iloc[0]["status"] == "at_most"
    assert found["b_crit"] == pytest.approx(103.0, rel=0.01)


def test_a_grid_far_below_the_critical_batch_knows_the_examples_only():
    _, found = run(sweep(1e-3, 1e6, noise=0.02))
    assert found["status"] == "unbounded_high"
    assert np.isnan(found["b_crit_high"])
    assert np.isnan(found["s_min_low"])
    assert found["b_crit_low"] > 512
    assert found["e_min"] == pytest.approx(1e3, rel=0.05)


def test_a_grid_far_above_the_critical_batch_knows_the_steps_only():
    _, found = run(sweep(100.0, 1e-3, noise=0.02))
    assert found["status"] == "unbounded_low"
    assert np.isnan(found["b_crit_low"])
    assert np.isnan(found["e_min_low"])
    assert found["s_min"] == pytest.approx(100.0, rel=0.05)


def test_too_few_batch_sizes_are_a_status():
    _, found = run(sweep(75.0, 103.0, missed=BATCH[2:]))
    assert found["status"] == "failed"
    assert found.drop(["sweep", "status", "definition"]).isna().all()
