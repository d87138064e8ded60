"""Simulated studies of every law through the whole chain: intervals cover, verdicts are right or undetermined."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.compare import UNDETERMINED
from analysis.laws import LAWS

from .campaign import (
    GRIDS,
    NOISES,
    WRONG_TARGET,
    Study,
    all_studies,
    coverage,
    judge,
    misses,
    run,
    simulate,
    verdicts,
)
from .typical_laws import TYPICAL

REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "recovery"


def test_every_law_is_in_the_campaign():
    assert set(TYPICAL) == set(LAWS)
    studies = all_studies(3)
    assert len(studies) == len(set(studies)) == 3 * len(LAWS) * len(NOISES) * len(GRIDS)


def test_a_simulated_study_has_its_lowest_loss_next_to_the_law():
    trials = simulate(Study(law="saturating", noise=1e-9, grid="64x", seed=1))
    assert sorted(trials["batch_size"].unique()) == [16, 32, 64, 128, 256, 512, 1024]
    eta_max, b_noise = TYPICAL["saturating"]
    for batch_size, row in trials.groupby("batch_size"):
        best = row.loc[row["value"].idxmin(), "learning_rate"]
        assert abs(np.log2(best / (eta_max / (1 + b_noise / batch_size)))) <= 0.51


def test_single_studies_name_their_law_or_none():
    covered = []
    for law in ("sqrt", "saturating"):
        judged = [judge(Study(law=law, noise=0.02, grid="1024x", seed=seed), resamples=100) for seed in range(2)]
        assert {row["verdict"] for row in judged} <= {law, UNDETERMINED}
        covered += [hit for row in judged for hit in row["covered"].values()]
    # Of six intervals at 95 %, three outside have a chance of 1 in 500.
    assert sum(covered) >= 4


def check(covered: pd.DataFrame, named: pd.DataFrame) -> None:
    outside = misses(covered)
    assert outside.empty, outside.to_string(index=False)
    assert (named.groupby("noise")["wrong"].mean() <= WRONG_TARGET).all(), named.to_string(index=False)


def test_the_committed_campaign_is_whole_and_met_its_targets():
    covered, named = (pd.read_csv(REFERENCE / f"{name}.csv") for name in ("coverage", "verdicts"))
    each = len(NOISES) * len(GRIDS)
    assert len(named) == each * len(LAWS)
    assert len(covered) == each * sum(len(law.parameters) for law in LAWS.values())
    assert (covered["studies"] >= 100).all()
    assert (named["studies"] >= 100).all()
    check(covered, named)


def test_misses_are_seen():
    covered = pd.DataFrame({"law": "power", "parameter": ["a", "p"], "noise": 0.02, "studies": 200, "covered": 0.95})
    assert misses(covered).empty
    wide, narrow = (covered.assign(covered=[0.95, share]) for share in (0.99, 0.85))
    assert misses(wide)["parameter"].tolist() == ["p"]
    assert set(misses(narrow)["parameter"].dropna()) == {"p"}


@pytest.mark.slow
def test_intervals_cover_and_verdicts_are_right_or_undetermined():
    *_, judged = run(all_studies(100))
    check(coverage(judged), verdicts(judged))
