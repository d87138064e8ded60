"""Plans for more devices, against the hyperbola's closed forms."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.device_speed import measured_speed, speed_words
from analysis.errors import TableError
from analysis.planner import Hardware, plan_sweep, speed_up
from analysis.prediction_words import plan_sentences
from analysis.tradeoff import STEP_COLUMNS

S_MIN, B_CRIT = 100.0, 64.0


def steps_of(b_crit=B_CRIT, *, batch_sizes=(8, 16, 32, 64, 128, 256, 512), status="measured", noise=0.01):
    batch = np.array(batch_sizes, dtype=float)
    wiggle = np.exp(noise * np.resize([1.0, -1.0, -1.0, 1.0], len(batch)))
    steps = (S_MIN * (1 + b_crit / batch) if np.isfinite(b_crit) else 1e5 / batch) * wiggle
    table = pd.DataFrame({"batch_size": batch_sizes, "steps": steps, "low": steps * 0.98, "high": steps * 1.02})
    table = table.assign(sweep="s", examples=steps * batch, status=status, ln_sd=noise, degrees=20.0)
    return table[list(STEP_COLUMNS)]


def plan_of(steps=None, *, base=64.0, devices=(1, 2, 4, 8), **hardware):
    return plan_sweep(
        steps_of() if steps is None else steps,
        sweep="s",
        examples_per_device=base,
        devices=devices,
        hardware=Hardware(**hardware),
    )


@pytest.mark.parametrize(
    ("devices", "base", "expected"),
    [
        (2, B_CRIT, 4 / 3),  # (1 + 1) / (1 + 1/2)
        (4, B_CRIT, 8 / 5),
        (8, B_CRIT / 7, 64 / 15),  # (1 + 7) / (1 + 7/8)
        (1, B_CRIT, 1.0),
    ],
)
def test_speed_up_known_answers(devices, base, expected):
    assert speed_up(devices, base, B_CRIT) == pytest.approx(expected)


def test_far_below_the_critical_batch_n_devices_are_n_times_faster_and_far_above_no_faster():
    assert speed_up(8, 1.0, 1e9) == pytest.approx(8.0)
    assert speed_up(8, 1e9, 1.0) == pytest.approx(1.0)
    assert speed_up(8, 1.0, np.inf) == 8.0


@given(st.integers(1, 1024), st.floats(1.0, 1e6), st.floats(1e-3, 1e9), st.floats(1.0, 100.0))
def test_speed_up_lies_between_one_and_n_and_grows_with_the_critical_batch(devices, base, critical, more):
    slow, fast = speed_up(devices, base, critical), speed_up(devices, base, critical * more)
    assert 1.0 - 1e-12 <= slow <= fast * (1 + 1e-12)
    assert fast <= devices * (1 + 1e-12)


def test_a_plan_recovers_steps_examples_and_speed_up():
    found = {plan.devices: plan for plan in plan_of().plans}
    for n in (1, 2, 4, 8):
        steps = S_MIN * (1 + 1 / n)
        assert found[n].steps.value == pytest.approx(steps, rel=0.02)
        assert found[n].steps.low <= steps <= found[n].steps.high
        assert found[n].examples.value == pytest.approx(steps * 64 * n, rel=0.02)
        assert found[n].speed_up.value == pytest.approx(2 / (1 + 1 / n), rel=0.02)
        assert found[n].speed_up.low <= 2 / (1 + 1 / n) <= found[n].speed_up.high
        assert found[n].efficiency.value == pytest.approx(2 / (n + 1), rel=0.02)
        assert (found[n].hours, found[n].cost) == (None, None)


def test_hours_and_cost_follow_from_the_speed_of_a_device():
    """64 examples a device and step at 32 examples/s are 2 s a step; 4 devices cost 4 times the hourly price."""
    found = plan_of(examples_per_second=32.0, price_per_hour=3.0).plans[2]
    assert found.hours.value == pytest.approx(found.steps.value * 2.0 / 3600)
    assert found.cost.value == pytest.approx(found.hours.value * 4 * 3.0)


def test_parallel_efficiency_slows_several_devices_and_not_one():
    perfect, kept = (plan_of(examples_per_second=32.0, parallel_efficiency=share).plans for share in (1.0, 0.8))
    assert kept[0].hours.value == perfect[0].hours.value
    assert kept[0].speed_up.value == 1.0
    assert kept[2].hours.value == pytest.approx(perfect[2].hours.value / 0.8)
    assert kept[2].speed_up.value == pytest.approx(perfect[2].speed_up.value * 0.8)


def test_where_the_critical_batch_is_not_bounded_only_the_tested_range_has_numbers():
    plan = plan_of(steps_of(np.inf), base=64.0, devices=(1, 8, 16))
    statuses = {p.devices: p.status for p in plan.plans}
    assert statuses == {1: "ok", 8: "ok", 16: "not_identified"}
    eight = plan.plans[1]
    assert eight.speed_up.high == 8.0
    assert eight.speed_up.low > 6.0
    assert plan.plans[2].steps is None
    assert plan.b_crit is None
    assert "not bounded above" in plan.reason
    assert "No numbers for 16 devices" in " ".join(plan_sentences(plan))


def test_two_measured_batch_sizes_make_no_plan():
    steps = steps_of(batch_sizes=(8, 16, 32), status=["measured", "measured", "at_least"])
    plan = plan_of(steps, base=8.0)
    assert {p.status for p in plan.plans} == {"not_identified"}
    assert all(p.speed_up is None for p in plan.plans)
    assert "fewer than 3 batch sizes" in " ".join(plan_sentences(plan))


def test_a_batch_far_outside_is_called_an_extrapolation():
    plan = plan_of(devices=(1, 16, 64))  # up to 4096, 8 times the largest of 512
    assert [p.status for p in plan.plans] == ["ok", "ok", "extrapolated"]
    assert "64 devices lie more than 4 times outside" in " ".join(plan_sentences(plan))


def test_the_answer_in_words():
    words = plan_sentences(plan_of(devices=(1, 2, 8), base=8.0))
    assert words[0].startswith("s: 8 devices in place of one (batch size 64 in place of 8)")
    assert "where 8 would be perfect: 5" in words[0]  # (1 + 8)/(1 + 1)/8 is 56 %
    assert "up to 2 devices" in words[1]  # (1 + 8)/(1 + 4)/2 is 90 %
    assert "Communication is not modelled" in words[-1]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Hardware(examples_per_second=0.0), "examples per second must be positive"),
        (lambda: Hardware(price_per_hour=-1.0), "must be zero or more"),
        (lambda: Hardware(parallel_efficiency=1.5), "share above 0 and up to 1"),
        (lambda: plan_of(devices=(0, 2)), "whole numbers of at least 1, but got [0]"),
        (lambda: plan_of(base=float("nan")), "batch size must be positive"),
    ],
)
def test_wrong_plans_are_refused(make, words):
    with pytest.raises(TableError) as caught:
        make()
    assert words in str(caught.value)


def trials(**columns):
    rows = {
        "batch_size": [32, 32, 64],
        "world_size": [1, 1, 1],
        "examples": [1000, 3000, 8000],
        "train_seconds": [10.0, 10.0, 20.0],
        "status": ["reached", "diverged", "reached"],
        "hardware": "machine",
    }
    return pd.DataFrame(rows | columns)


def test_the_speed_of_a_device_is_a_ratio_of_sums_at_the_nearest_batch():
    near = measured_speed(trials(), examples_per_device=40)
    assert near.examples_per_second == pytest.approx(4000 / 20)
    assert (near.examples_per_device, near.trials) == (32, 2)
    assert measured_speed(trials(), examples_per_device=60).examples_per_second == pytest.approx(400.0)
    two = measured_speed(trials(world_size=[2, 2, 1]), examples_per_device=16)
    assert two.examples_per_second == pytest.approx(4000 / 40)


def test_uneven_trials_weigh_by_their_length():
    uneven = trials(train_seconds=[1.0, 10.0, 20.0], examples=[1000, 1000, 8000])
    assert measured_speed(uneven, examples_per_device=32).examples_per_second == pytest.approx(2000 / 11)


def test_a_speed_measured_elsewhere_says_so():
    speed = measured_speed(trials(), examples_per_device=1024)
    assert speed_words(speed, 1024).endswith("with 64 examples a device and step on machine, not with 1024")
    assert "not with" not in speed_words(speed, 64)


def test_without_times_no_speed_is_known():
    assert measured_speed(trials(train_seconds=np.nan), examples_per_device=32) is None
    assert measured_speed(trials(status="failed"), examples_per_device=32) is None
    assert measured_speed(trials().drop(columns="hardware"), examples_per_device=32) is None
