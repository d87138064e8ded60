"""Losses are forgiven where a trial has come further, and no trial is begun for ever."""

import random

import pytest

from study.attempts import RETRIES, OpenTrial

from .studies import design

TRIAL = design().trials({})[0]


def test_losses_without_a_new_checkpoint_are_counted() -> None:
    trial = OpenTrial(trial=TRIAL)
    assert [trial.lose() for _ in range(RETRIES + 1)] == [True] * RETRIES + [False]
    assert trial.attempt == RETRIES


def test_a_loss_after_a_new_checkpoint_costs_nothing_and_forgives_those_before() -> None:
    trial = OpenTrial(trial=TRIAL)
    for step in range(1, 50):
        assert [trial.lose() for _ in range(RETRIES)] == [True] * RETRIES
        trial.keep(step)
        assert trial.lose()
    assert [trial.lose() for _ in range(RETRIES + 1)] == [True] * RETRIES + [False]


def test_a_checkpoint_that_an_earlier_attempt_had_already_is_none() -> None:
    """As where the newer ones can't be read, so that each attempt begins anew and is lost at the same step."""
    trial = OpenTrial(trial=TRIAL)
    trial.keep(16)
    assert trial.lose()
    for _ in range(RETRIES):
        trial.keep(8)
        trial.keep(16)
        assert trial.lose()
    trial.keep(16)
    assert not trial.lose()


@pytest.mark.parametrize("seed", range(5))
def test_a_trial_of_so_many_steps_is_lost_finitely_often(seed: int) -> None:
    steps, chance, trial, losses = 12, random.Random(seed), OpenTrial(trial=TRIAL), 1
    while trial.lose():
        losses += 1
        trial.keep(chance.randint(0, steps))
    assert losses <= (steps + 1) * (RETRIES + 1)
