"""Simulated studies of every law through the whole chain: intervals cover, verdicts are right or undetermined."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.compare import UNDETERMINED
from analysis.laws import LAWS

from .campaign import (
    COVERAGE_TARGET,
    GRIDS,
    NOISES,
    WRONG_TARGET,
    Study,
    all_studies,
    coverage,
    judge,
    run,
    simulate,
    verdicts,
)
from .typical_laws import TYPICAL


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


@pytest.mark.slow
def test_intervals_cover_and_verdicts_are_right_or_undetermined():
    *_, judged = run(all_studies(200))
    covered, named = coverage(judged), verdicts(judged)
    print(covered.to_string(index=False), named.to_string(index=False), sep="\n\n")
    low, high = COVERAGE_TARGET
    outside = covered[~covered["covered"].between(low, high)]
    assert outside.empty, outside.to_string(index=False)
    assert (named.groupby("noise")["wrong"].mean() <= WRONG_TARGET).all()
