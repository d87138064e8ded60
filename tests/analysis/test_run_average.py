"""One law for several probe runs: direct laws with a batch size a run, closed forms with all."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.derived import derived_table, run_average
from analysis.derived.comparison import compare_derived
from analysis.derived.derived_law import DerivedLaw
from analysis.optimum import OPTIMUM_COLUMNS


def law_of(rates, *, trial_id="a", step=1, name="one_step", spread=0.05, seed=0, open_at=(), **more):
    """A law with these rates (batch size -> rate), known to ``spread`` in ln; without an upper end at ``open_at``."""
    rng = np.random.default_rng([seed, *trial_id.encode(), step])
    sizes = np.array(list(rates), dtype=float)
    samples = np.log(list(rates.values())) + spread * rng.standard_normal((1001, len(sizes)))
    samples[0] = np.log(list(rates.values()))
    samples[1:200, np.isin(sizes, open_at)] = np.inf
    return DerivedLaw(
        derivation=name, law=None, trial_id=trial_id, step=step, batch_size=sizes, rates=np.exp(samples), **more
    )


def mean_of(*laws):
    (found,) = run_average(laws)
    assert found.step is None
    return found, derived_table([found]).set_index("batch_size")


def test_runs_at_their_own_batch_sizes_stand_side_by_side():
    laws = [law_of({b: rate}, trial_id=t) for t, b, rate in (("a", 8, 1.0), ("b", 128, 5.0), ("c", 32, 3.0))]
    found, table = mean_of(*laws)
    assert found.trial_id == ""
    assert table["learning_rate"].to_dict() == pytest.approx({8: 1.0, 32: 3.0, 128: 5.0})
    assert set(table["status"]) == {"ok"}
    assert np.array_equal(found.rates[:, 1], laws[2].rates[:, 0])


def test_points_are_averaged_before_runs():
    points = [law_of({8: rate}, step=step) for step, rate in ((1, 1.0), (2, 4.0))]
    table = mean_of(*points, law_of({8: 8.0}, trial_id="b"))[1]
    assert table.loc[8, "learning_rate"] == pytest.approx(4.0)  # √(√(1·4) · 8), and not ∛(1·4·8)
    alone, table = mean_of(*points)
    assert alone.trial_id == "a"
    assert table.loc[8, "learning_rate"] == pytest.approx(2.0)


def test_a_run_says_nothing_of_a_batch_size_that_it_was_not_probed_at():
    laws = [
        law_of({8: 1.0, 16: 2.0}, trial_id="a"),
        law_of({16: 8.0, 32: 3.0}, trial_id="b"),
        law_of({8: 4.0, 128: 9.0}, trial_id="c"),
    ]
    _, table = mean_of(*laws)
    assert table["learning_rate"].to_dict() == pytest.approx({8: 2.0, 16: 4.0, 32: 3.0, 128: 9.0})


def test_an_open_batch_size_is_told_and_leaves_the_others_alone():
    laws = [law_of({8: 1.0}, trial_id="a", open_at=(8,), reasons={8.0: "too noisy"}), law_of({32: 3.0}, trial_id="b")]
    _, table = mean_of(*laws)
    assert table["status"].to_dict() == {8: "not_resolved", 32: "ok"}
    assert table.loc[8, "reason"] == "too noisy"
    both = [*laws, law_of({8: 2.0}, trial_id="c")]
    _, table = mean_of(*both)
    assert table.loc[8, ["learning_rate", "status"]].tolist() == [pytest.approx(2.0), "ok"]


def test_nothing_measured_in_one_run_and_nothing_resolved_anywhere():
    absent = DerivedLaw(
        derivation="one_step", law=None, trial_id="x", step=1, batch_size=np.empty(0), rates=np.empty((1, 0)),
        missing="the probe did not measure it",
    )  # fmt: skip
    _, table = mean_of(absent, law_of({32: 3.0}, trial_id="b"))
    assert table["learning_rate"].to_dict() == pytest.approx({32: 3.0})
    found, table = mean_of(absent, absent)
    assert (found.missing, len(table)) == ("the probe did not measure it", 0)
    _, table = mean_of(law_of({8: 1.0}, open_at=(8,)), law_of({32: 1.0}, trial_id="b", open_at=(32,)))
    assert table["status"].tolist() == ["not_resolved"] * 2
    assert table["reason"].tolist() == ["noise leaves no upper end"] * 2


def test_a_drift_of_the_level_between_runs_makes_no_bend():
    """The second run holds a quarter of the rates and is open at the largest batch size: no jump there, but no end."""
    sizes = (8, 32, 128)
    laws = [
        law_of(dict.fromkeys(sizes, 1.0), trial_id="a", name="saturating"),
        law_of(dict.fromkeys(sizes, 0.25), trial_id="b", name="saturating", open_at=(128,)),
    ]
    _, table = mean_of(*laws)
    assert table["learning_rate"].tolist() == pytest.approx([0.5] * 3)
    assert table["status"].tolist() == ["ok", "ok", "not_resolved"]


def test_independent_runs_narrow_the_interval():
    laws = [law_of({8: 1.0}, trial_id=name, spread=0.2) for name in "abcd"]
    table = mean_of(*laws)[1]
    half = np.log(table.loc[8, "high"] / table.loc[8, "low"]) / 2.0
    assert half == pytest.approx(1.96 * 0.2 / 2.0, rel=0.1)


def test_a_direct_law_at_one_batch_size_is_compared_there():
    optima = pd.DataFrame(
        {"sweep": "x", "batch_size": [8.0, 32.0, 128.0], "learning_rate": 0.5, "low": 0.45, "high": 0.56}
        | {"status": "interior", "outcome": 1.0, "cells": 5, "seeds": 2}
    )[list(OPTIMUM_COLUMNS)]
    found = compare_derived([law_of({32: 1.0})], optima=optima).table
    rows = found[found["step"].notna()].set_index("batch_size")
    assert rows["status"].to_dict() == {8: "not_measured", 32: "ok", 128: "not_measured"}
    assert rows.loc[32, ["ratio", "trial_id"]].tolist() == [2.0, "a"]
    three = [law_of({b: 1.0}, trial_id=str(b)) for b in (8, 32, 128)]
    verdict = compare_derived(three, optima=optima).verdicts.loc[0]
    assert (verdict["verdict"], verdict["batch_sizes"]) == ("supported", 3)
    assert verdict["level"] == pytest.approx(2.0)
