"""The three-way check on noise scales whose agreement is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.derived.three_way import (
    AGREEMENT_COLUMNS,
    THREE_WAY_COLUMNS,
    agreement,
    agreement_table,
    three_way_table,
)
from analysis.derived.words import three_way_sentences
from analysis.mean_draws import Estimate
from analysis.noise_scale import noise_scale_table

from .simulated_probes import diagonal, probe_rows


def fits_of(value, low, high, status="ok"):
    row = {"sweep": "x", "law": "saturating", "parameter": "B_noise", "value": value, "low": low, "high": high}
    return pd.DataFrame([row | {"status": status}])


def tradeoff_of(value, low, high, status="ok"):
    return pd.DataFrame([{"sweep": "x", "b_crit": value, "b_crit_low": low, "b_crit_high": high, "status": status}])


def scales_of(*rows):
    """Rows of (quantity, step, value, low, high[, status])."""
    return pd.DataFrame(
        [
            {"trial_id": "", "step": r[1], "examples": 0, "scope": "all", "quantity": r[0], "method": "two_batch"}
            | {"value": r[2], "low": r[3], "high": r[4], "status": r[5] if len(r) > 5 else "ok"}
            for r in rows
        ]
    )


ONE = scales_of(("b_noise", 10, 50.0, 40.0, 62.0), ("b_simple", 10, 300.0, 250.0, 360.0))


def pairs(table):
    found = agreement_table(table)
    assert list(found.columns) == list(AGREEMENT_COLUMNS)
    return found.set_index(["first", "second"])["agreement"]


def test_what_agrees_and_what_differs_is_told():
    table = three_way_table(noise_scales=ONE, fits=fits_of(55.0, 40.0, 75.0), tradeoff=tradeoff_of(60.0, 5.0, 700.0))
    assert list(table.columns) == list(THREE_WAY_COLUMNS)
    found = pairs(table)
    assert found["fit", "probe_b_noise"] == "agree"
    assert found["fit", "probe_b_simple"] == "differ"
    assert found["fit", "hyperbola"] == "not resolved"
    assert found["probe_b_noise", "probe_b_simple"] == "differ"


def test_a_bound_on_one_side_can_contradict():
    table = three_way_table(noise_scales=ONE, fits=fits_of(np.nan, 900.0, np.nan, "unbounded_high"))
    assert table.set_index("source").loc["fit", "status"] == "not_resolved"
    found = pairs(table)
    assert found["fit", "probe_b_noise"] == "differ"
    assert found["fit", "hyperbola"] == "not resolved"


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.5, 2.0, "agree"),
        (1.1, 2.0, "differ"),
        (0.1, 0.9, "differ"),
        (0.2, 2.0, "not resolved"),
        (np.nan, 2.0, "not resolved"),
        (np.nan, 0.5, "differ"),
        (np.nan, np.nan, "not resolved"),
    ],
)
def test_the_rule_of_agreement(low, high, said):
    assert agreement(Estimate(value=1.0, low=low, high=high)) == said


def test_the_run_is_the_mean_over_steps_of_the_resolved_probes():
    scales = scales_of(
        ("b_noise", 0, 10.0, 9.99, 10.01), ("b_noise", 10, 20.0, 19.99, 20.01), ("b_noise", 100, 100.0, 99.9, 100.1),
        ("b_noise", 50, np.nan, 5.0, np.nan, "not_resolved"),
    )  # fmt: skip
    table = three_way_table(noise_scales=scales)
    run = table[table["step"].isna()].set_index("source")
    # trapezoid: (15·10 + 60·90)/100
    assert run.loc["probe_b_noise", "value"] == pytest.approx(55.5, rel=1e-6)
    assert run.loc["probe_b_noise", "low"] < 55.5 < run.loc["probe_b_noise", "high"]
    assert run.loc["probe_b_simple", "status"] == "not_measured"
    steps = table[table["step"].notna()]
    assert steps["step"].tolist() == [0, 10, 50, 100]


def test_the_average_of_an_optimiser_scales_the_probes():
    table = three_way_table(noise_scales=ONE, noise_factor=0.1).set_index(["source"])
    run = table[table["step"].isna()]
    assert run.loc["probe_b_noise", ["value", "low", "high"]].tolist() == pytest.approx([5.0, 4.0, 6.2], rel=0.03)


def test_probes_of_a_known_quadratic_agree_with_its_noise_scale():
    problem = diagonal()
    parts = [probe_rows(problem, draws=32, step=step, seed=step, per_example=True) for step in (1, 10, 100)]
    table = three_way_table(
        noise_scales=noise_scale_table(pd.concat(parts)),
        fits=fits_of(problem.b_noise, problem.b_noise / 1.2, problem.b_noise * 1.2),
    )
    found = pairs(table)
    assert found["fit", "probe_b_noise"] == "agree"
    assert found["probe_b_noise", "probe_b_simple"] == "agree"  # all coordinates have one signal-to-noise ratio
    assert len(table) == 4 + 2 * 3


def test_nothing_measured_is_said_as_such():
    table = three_way_table(noise_scales=noise_scale_table(pd.DataFrame()))
    assert set(table["status"]) == {"not_measured"}
    assert three_way_sentences(table, agreement_table(table)) == []


def test_sentences_hold_the_numbers_and_the_drift():
    scales = pd.concat([ONE, ONE.assign(step=100, value=ONE["value"] * 4, high=ONE["high"] * 4, low=ONE["low"] * 4)])
    table = three_way_table(noise_scales=scales, fits=fits_of(55.0, 40.0, 75.0))
    lines = three_way_sentences(table, agreement_table(table))
    assert "the fit of the best rates: 55 [40, 75]" in lines[0]
    assert any("went from 50 to 200" in line for line in lines)
    assert not any("hyperbola" in line or "trade-off" in line for line in lines)
