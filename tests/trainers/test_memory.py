"""Out of memory: how it is known, what is halved in place, what is started again, and what fails alone."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from trainers.engine import DeepSpeedEngine
from trainers.errors import SettingsError
from trainers.memory import DoesNotFit, is_out_of_memory
from trainers.workloads import load_workload

from .helpers import run_settings
from .probe_cases import TINY_BERT, TINY_SIMSIAM
from .resume_cases import Course, Cramped, eager, own_memory, quick_ones

TRIAL = {"batch_size": 12, "learning_rate": 0.02, "budget": {"steps": 12}, "evaluation": {"points": 2}}


def raised(body):
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is what is asked
        body()
    return caught.value


@pytest.mark.parametrize("body", [lambda: torch.empty(2**58), lambda: np.empty(2**58), lambda: bytes(2**62)])
def test_more_than_any_address_space_is_known_as_out_of_memory(body):
    assert is_out_of_memory(raised(body))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied (3x4 and 5x6)"), False),
        (ValueError("out of memory"), False),
        (KeyError("memory"), False),
    ],
)
def test_errors_of_others_are_known_by_type_and_text(error, expected):
    assert is_out_of_memory(error) is expected


def bert():
    return load_workload("bert-mlm", TINY_BERT)


def small_from(micro, **changes):
    """The run that has the small micro-batch from the start."""
    return Course(bert(), run_settings(**{**TRIAL, **changes}), micro_batch_at_most=micro)


@pytest.mark.parametrize(
    ("dtype", "in_backward"),
    [
        ("float32", True),
        ("bfloat16", False),
        pytest.param("float32", False, marks=pytest.mark.slow),
        pytest.param("bfloat16", True, marks=pytest.mark.slow),
    ],
)
def test_a_processor_without_memory_halves_the_micro_batch_and_keeps_the_batch(dtype, in_backward):
    cramped = Cramped(bert(), 3, in_backward=in_backward)
    course = Course(cramped, run_settings(**TRIAL, engine={"dtype": dtype}))
    last = course.events[-1]
    assert (last.micro_batch_size, last.accumulation_steps, last.halvings) == (3, 4, 2)
    assert last.micro_batch_at_most == 3
    assert len(cramped.held) == 2
    assert cramped.still_held == 0, "what filled the memory is gone before the next attempt"
    small = small_from(3, engine={"dtype": dtype})
    assert [e.values for e in course.events[:-1]] == [e.values for e in small.events[:-1]], "the same, bit for bit"


@pytest.mark.parametrize("stage", quick_ones([1, 2, 3], 2))
def test_with_zero_the_run_asks_to_be_started_again_and_goes_on_from_its_checkpoint(stage):
    """An attempt that failed in backward may leave DeepSpeed's buckets half reduced."""
    settings = run_settings(**TRIAL, optimizer="adamw", engine={"zero_stage": stage})
    files = own_memory()
    cramped = Cramped(bert(), 6, since=9, in_backward=True)
    with pytest.raises(DoesNotFit, match="of 12 examples does not fit into the memory of worker 0") as error:
        Course(cramped, settings, keeper=eager(files))
    assert error.value.micro_batch_at_most == 6
    roomy = Course(Cramped(bert(), 6), settings, keeper=eager(files), micro_batch_at_most=6)
    assert roomy.resumed.step == 8
    last = roomy.events[-1]
    assert (last.examples, last.micro_batch_size, last.accumulation_steps, last.resumes) == (144, 6, 2, 1)
    whole = Course(bert(), settings)
    for one, other in zip(whole.measured, roomy.measured, strict=True):
        assert one.values == pytest.approx(other.values, rel=1e-6, abs=1e-6)


def test_an_optimiser_without_room_for_its_state_asks_to_be_started_again(monkeypatch):
    taken = torch.optim.AdamW.step

    def step(self, *args, **kwargs):
        if len(self.state) == 0 and crowded:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes")
        return taken(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    settings, crowded = run_settings(**{**TRIAL, "batch_size": 9}, optimizer="adamw"), [1]
    with pytest.raises(DoesNotFit, match=r"set engine\.micro_batch_size to 3") as error:
        Course(bert(), settings)
    # Of nine examples three are a whole part, but four may fit, which other batches can be cut into.
    assert error.value.micro_batch_at_most == 4
    crowded.clear()
    last = Course(bert(), settings, micro_batch_at_most=4).events[-1]
    assert (last.micro_batch_size, last.accumulation_steps, last.halvings, last.micro_batch_at_most) == (3, 3, 0, None)


@pytest.mark.parametrize("stage", [0, 2])
def test_one_example_that_does_not_fit_fails_alone_and_is_not_tried_again(stage):
    settings = run_settings(**TRIAL, optimizer="adamw", engine={"zero_stage": stage, "micro_batch_size": 1})
    with pytest.raises(
        SettingsError, match=r"one example does not fit into the memory of a device \(batch_size 12 on"
    ) as error:
        Course(Cramped(bert(), 0), settings)
    assert not isinstance(error.value, DoesNotFit)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("stage", [0, 2])
def test_coupled_examples_fail_alone_and_are_not_tried_again(stage):
    workload = load_workload("simsiam", TINY_SIMSIAM)
    with pytest.raises(SettingsError, match="couples the examples of a micro-batch") as error:
        Course(Cramped(workload, 3), run_settings(**TRIAL, engine={"zero_stage": stage}))
    assert not isinstance(error.value, DoesNotFit)


def test_a_model_that_does_not_fit_fails_alone(monkeypatch):
    monkeypatch.setattr(type(bert()), "build_model", lambda _self, *, seed: torch.empty(2**58 + seed))
    with pytest.raises(
        SettingsError, match="the model of bert-mlm and its optimiser do not fit into the memory"
    ) as error:
        Course(bert(), run_settings(**TRIAL))
    assert not isinstance(error.value, DoesNotFit)


def test_an_evaluation_that_does_not_fit_fails_alone(monkeypatch):
    monkeypatch.setattr(type(bert()), "evaluate", lambda _self, _model: torch.empty(2**58))
    with pytest.raises(SettingsError, match="the evaluation of bert-mlm does not fit into the memory") as error:
        Course(bert(), run_settings(**TRIAL))
    assert not isinstance(error.value, DoesNotFit)


def test_other_errors_are_not_taken_for_want_of_memory():
    broken = Cramped(bert(), 3, error=RuntimeError("shapes differ"))
    with pytest.raises(RuntimeError, match="shapes differ"):
        Course(broken, run_settings(**TRIAL))


def test_halvings_before_a_checkpoint_are_remembered_after_it():
    files, settings = own_memory(), run_settings(**TRIAL)
    cut = Course(Cramped(bert(), 6), settings, keeper=eager(files), until=8)
    assert cut.engine.plan.halvings == 1
    again = Cramped(bert(), 6)
    rest = Course(again, settings, keeper=eager(files))
    assert (again.passes, again.held) == (4 * 2, []), "the size that fits is known"
    last = rest.events[-1]
    assert (last.micro_batch_size, last.halvings, last.micro_batch_at_most) == (6, 1, 6)


def test_a_process_with_little_address_space_trains_the_same():
    ran = subprocess.run(
        [sys.executable, "-m", "tests.trainers.memory_child"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    (line,) = (line for line in ran.stdout.splitlines() if line.startswith("FOUND "))
    room, whole, cramped = json.loads(line.removeprefix("FOUND "))
    assert room > 100 * 2**20
    assert whole["plan"] == [2048, 1, 0]
    micro, pieces, halvings = cramped["plan"]
    assert micro < 2048
    assert micro * pieces == 2048
    assert halvings >= 1
    assert cramped["losses"] == [pytest.approx(values, rel=1e-6, abs=1e-6) for values in whole["losses"]]


def test_a_smaller_plan_is_handed_to_the_engine_before_its_first_step():
    course = small_from(5)
    assert isinstance(course.engine, DeepSpeedEngine)
    assert (course.events[-1].micro_batch_size, course.events[-1].halvings) == (4, 0)
