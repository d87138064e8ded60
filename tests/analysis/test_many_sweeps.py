"""Many sweeps: the same answer however many processes share the work."""

from __future__ import annotations

import os

import pandas as pd
import pytest

from analysis.many_sweeps import WORTH_A_PROCESS, analyse_each
from analysis.study_analysis import TABLES, analyse

from .sweeps import parabola_sweep

NAMES = [f"sweep {i}" for i in range(2 * WORTH_A_PROCESS)]
CURVES = pd.DataFrame({"name": ["loss"]})


@pytest.fixture(scope="module")
def trials():
    def root(batch_size):
        return 0.01 * batch_size**0.5

    sweeps = [
        parabola_sweep(root, sweep=name, batch_sizes=(8, 16, 32, 64), noise=0.01, seed=i)
        for i, name in enumerate(NAMES)
    ]
    return pd.concat(sweeps, ignore_index=True)


def each(trials, **options):
    return analyse_each(trials, CURVES, outcomes=dict.fromkeys(NAMES, "value_at_budget"), resamples=40, **options)


@pytest.fixture(scope="module")
def alone(trials):
    return each(trials)


def test_processes_change_nothing_but_the_time(trials, alone):
    environment, count = dict(os.environ), []
    shared = each(trials, processes=2, done=lambda: count.append(1))
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(alone, name), getattr(shared, name))
    assert list(shared.outcomes) == NAMES
    assert shared.curves is CURVES
    assert len(count) == len(NAMES)
    assert dict(os.environ) == environment


def test_a_sweep_is_analysed_as_if_the_others_were_not_there(trials, alone):
    together = analyse(trials, CURVES, outcomes=dict.fromkeys(NAMES[:2], "value_at_budget"), resamples=40)
    pd.testing.assert_frame_equal(alone.optima[alone.optima["sweep"].isin(NAMES[:2])], together.optima)


def test_what_is_wrong_with_a_sweep_is_told_from_a_process_too(trials):
    trials = trials.assign(mode=trials["mode"].mask(trials["sweep"] == NAMES[3], "none"))
    with pytest.raises(ValueError, match=NAMES[3]):
        each(trials, processes=2)
