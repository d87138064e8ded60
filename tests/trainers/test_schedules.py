"""The rate's course against closed forms and against the schedulers of transformers and torch."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import get_cosine_schedule_with_warmup, get_wsd_schedule

from trainers.errors import SettingsError
from trainers.reading import read_settings
from trainers.schedules import Schedule


def schedule(**values) -> Schedule:
    return read_settings(Schedule, values, where="schedule")


def course(made: Schedule, total_steps: int, batch_size: int = 1) -> list[float]:
    return [made.factor(step, batch_size=batch_size, total_steps=total_steps) for step in range(total_steps)]


def library_course(build, total_steps: int, **arguments) -> list[float]:
    """The factors that a torch LambdaLR applies to steps 0, 1, …"""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = build(optimizer, **arguments)
    factors = []
    for _ in range(total_steps):
        factors.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return factors


def test_constant_is_one_after_a_warm_up_that_never_is_zero():
    assert course(schedule(name="constant", warmup={"steps": 4}), 6) == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert course(schedule(name="constant"), 3) == [1.0, 1.0, 1.0]


def test_warm_up_is_that_of_transformers_one_step_on():
    """transformers starts at zero: its factor of step s + 1 is ours of step s."""
    theirs = library_course(get_cosine_schedule_with_warmup, 21, num_warmup_steps=20, num_training_steps=100)
    assert course(schedule(name="cosine", warmup={"steps": 20}), 100)[:20] == pytest.approx(theirs[1:], abs=1e-12)


def test_cosine_is_that_of_transformers_without_shift():
    """From the end of the warm-up on, both call the first step after it 1 and reach the floor one step too late."""
    theirs = library_course(get_cosine_schedule_with_warmup, 100, num_warmup_steps=20, num_training_steps=100)
    assert course(schedule(name="cosine", warmup={"steps": 20}), 100)[20:] == pytest.approx(theirs[20:], abs=1e-12)


def test_cosine_to_a_floor_is_that_of_torch():
    def build(optimizer):
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50, eta_min=0.1)

    assert course(schedule(name="cosine", floor=0.1), 50) == pytest.approx(library_course(build, 50), abs=1e-12)


def test_wsd_after_its_warm_up_is_that_of_transformers():
    """Their warm-up starts at the floor, ours at a step above zero."""
    theirs = library_course(
        get_wsd_schedule,
        60,
        num_warmup_steps=10,
        num_decay_steps=20,
        num_training_steps=60,
        min_lr_ratio=0.2,
        warmup_type="linear",
        decay_type="linear",
    )
    ours = course(schedule(name="wsd", warmup={"steps": 10}, decay={"steps": 20}, floor=0.2), 60)
    assert ours[10:] == pytest.approx(theirs[10:], abs=1e-12)


def test_the_last_step_of_a_decay_is_above_the_floor():
    assert course(schedule(name="wsd", decay={"steps": 4}), 6) == pytest.approx([1, 1, 1, 0.75, 0.5, 0.25])


def test_lengths_in_examples_are_divided_by_the_batch_size_and_rounded_up():
    in_examples = schedule(name="wsd", warmup={"examples": 100}, decay={"examples": 65})
    in_steps = schedule(name="wsd", warmup={"steps": 4}, decay={"steps": 3})
    assert course(in_examples, 20, batch_size=32) == course(in_steps, 20, batch_size=32)


@given(
    name=st.sampled_from(["constant", "cosine", "wsd"]),
    warmup=st.integers(0, 30),
    decay=st.integers(0, 30),
    extra=st.integers(1, 30),
    floor=st.floats(0, 1),
)
@settings(max_examples=60, deadline=None)
def test_the_factor_rises_to_one_then_never_rises_and_stays_above_the_floor(name, warmup, decay, extra, floor):
    values = {"name": name, "warmup": {"steps": warmup}}
    if name == "wsd":
        values["decay"] = {"steps": decay}
    if name != "constant":
        values["floor"] = floor
    total = warmup + decay + extra
    factors = course(schedule(**values), total)
    assert all(0 < factor <= 1 for factor in factors)
    assert factors[:warmup] == sorted(factors[:warmup])
    assert factors[warmup] == 1.0
    after = factors[warmup:]
    assert after == sorted(after, reverse=True)
    assert min(after) >= values.get("floor", 0.0) - 1e-12
    # The mean of half a cosine is half-way; the sum over the steps is (n + 1)/2 of them, above the floor.
    if name == "cosine":
        n = len(after)
        assert math.fsum(after) == pytest.approx(n * floor + (1 - floor) * (n + 1) / 2)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"name": "linear"}, "linear"),
        ({}, "schedule.name is required"),
        ({"name": "constant", "warm_up": {"steps": 1}}, "did you mean warmup"),
        ({"name": "constant", "warmup": {"steps": 1, "examples": 1}}, "exactly one of steps and examples"),
        ({"name": "constant", "warmup": {}}, "exactly one of steps and examples"),
        ({"name": "constant", "warmup": {"steps": -1}}, "-1"),
        ({"name": "constant", "warmup": {"steps": 1.5}}, "1.5"),
        ({"name": "cosine", "floor": 1.5}, "1.5"),
        ({"name": "wsd"}, "wsd needs decay"),
        ({"name": "cosine", "decay": {"steps": 3}}, "decay belongs to wsd"),
        ({"name": "constant", "floor": 0.1}, "constant has no floor"),
    ],
)
def test_wrong_settings_are_named(values, said):
    with pytest.raises(SettingsError, match=said):
        schedule(**values)


def test_a_warm_up_longer_than_the_run_is_refused_with_numbers_and_a_way_out():
    made = schedule(name="constant", warmup={"examples": 1000})
    made.validate_for(total_steps=100, batch_size=10)
    with pytest.raises(SettingsError, match=r"warm-up of 100 steps with 99 steps of 10 examples; shorten .* 99 steps"):
        made.validate_for(total_steps=99, batch_size=10)
    both = schedule(name="wsd", warmup={"steps": 60}, decay={"steps": 50})
    with pytest.raises(SettingsError, match="warm-up of 60 and decay of 50 steps with 100 steps"):
        both.validate_for(total_steps=100, batch_size=1)


def test_a_schedule_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        schedule(name="constant").floor = 0.5
