"""Losses are forgiven where a trial has come further, and no trial is begun for ever."""

import random

import pytest

from study.attempts import OpenTrial

from .studies import design

TRIAL = design().trials({})[0]
RETRIES = 2


def test_losses_without_a_new_checkpoint_are_counted() -> None:
    trial = OpenTrial(trial=TRIAL, retries=RETRIES)
    assert [trial.lose() for _ in range(RETRIES + 1)] == [True] * RETRIES + [False]
    assert trial.attempt == RETRIES


def test_a_loss_after_a_new_checkpoint_costs_nothing_and_forgives_those_before() -> None:
    trial = OpenTrial(trial=TRIAL, retries=RETRIES)
    for step in range(1, 50):
        assert [trial.lose() for _ in range(RETRIES)] == [True] * RETRIES
        trial.keep(step)
        assert trial.lose()
    assert [trial.lose() for _ in range(RETRIES + 1)] == [True] * RETRIES + [False]


def test_a_checkpoint_that_an_earlier_attempt_had_already_is_none() -> None:
    """As where the newer ones can't be read, so that each attempt begins anew and is lost at the same step."""
    trial = OpenTrial(trial=TRIAL, retries=RETRIES)
    trial.keep(16)
    assert trial.lose()
    for _ in range(RETRIES):
        trial.keep(8)
        trial.keep(16)
        assert trial.lose()
    trial.keep(16)
    assert not trial.lose()


def test_a_checkpoint_that_is_told_late_does_not_undo_a_later_one() -> None:
    trial = OpenTrial(trial=TRIAL, retries=RETRIES)
    for step in (8, 16):
        trial.keep(step)
        assert trial.lose()
        trial.keep(step + 4)
        trial.keep(step)
        assert trial.lose()
    assert [trial.lose() for _ in range(RETRIES + 1)] == [True] * RETRIES + [False]


@pytest.mark.parametrize("seed", range(5))
def test_a_trial_of_so_many_steps_is_lost_finitely_often(seed: int) -> None:
    steps, chance, trial, losses = 12, random.Random(seed), OpenTrial(trial=TRIAL, retries=RETRIES), 1
    while trial.lose():
        losses += 1
        trial.keep(chance.randint(0, steps))
    assert losses <= (steps + 1) * (RETRIES + 1)


def test_a_micro_batch_that_does_not_fit_is_made_smaller_until_it_can_not_be() -> None:
    trial = OpenTrial(trial=TRIAL, retries=RETRIES)
    assert [trial.shrink("abacus", size) for size in (8, 3, 1)] == [True] * 3
    assert (trial.limits, trial.halvings, trial.attempt) == ({"abacus": 1}, 3, 3)
    assert trial.shrink("rod", 8)
    assert trial.limits == {"abacus": 1, "rod": 8}
    for hardware, size in (("abacus", 0), ("abacus", 1), ("abacus", 5), ("rod", 8)):
        assert not trial.shrink(hardware, size)
    assert (trial.halvings, trial.attempt) == (4, 4)


def test_a_machine_without_memory_has_the_trial_once_more_as_it_was_and_then_with_half_of_it() -> None:
    trial = OpenTrial(trial=TRIAL, retries=RETRIES)
    found = []
    while trial.lose_for_memory("abacus", 12):
        found.append(trial.limits.get("abacus"))
    assert found == [None, 6, 3, 1, 1]  # and once more with one example, which makes the second loss that counts
    assert trial.halvings == 3


def test_where_the_machine_is_not_known_want_of_memory_is_a_loss_like_others() -> None:
    trial = OpenTrial(trial=TRIAL, retries=RETRIES)
    assert [trial.lose_for_memory("", 64) for _ in range(RETRIES + 1)] == [True] * RETRIES + [False]
    assert trial.limits == {}
