"""Why a worker was lost, from what Ray Tune itself writes of its own errors."""

from __future__ import annotations

import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayTaskError, WorkerCrashedError
from ray.train.v2._internal.exceptions import UserExceptionWithTraceback, WorkerHealthCheckFailedError
from ray.tune.experiment import Trial

from study.lost_worker import cause_of_group_loss, cause_of_loss, tells_of_memory


class NoDataError(Exception):
    """Raised with several lines, one of them indented like a traceback."""


def raised(error: Exception) -> RayTaskError:
    try:
        raise error
    except type(error):
        return RayTaskError("ray::Worker.step()", traceback.format_exc(), error)


def written(folder: Path, *errors: Any) -> Path:
    """Let Tune's own code write its files of errors, one after the other."""

    def count(*_: object) -> None:
        metadata.num_failures += 1

    metadata = SimpleNamespace(
        num_failures=0, error_filename=None, pickled_error_filename=None, invalidate_cache=lambda: None
    )
    trial = SimpleNamespace(
        is_restoring=False,
        local_path=str(folder),
        run_metadata=metadata,
        error_file=str(folder / "error.txt"),
        pickled_error_file=str(folder / "error.pkl"),
        _handle_ray_actor_error=count,
        _handle_ray_task_error=count,
    )
    for error in errors:
        Trial.handle_error(trial, error)  # type: ignore[arg-type]
    return folder / "error.txt"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (raised(ImportError("no module\nhere")), "ImportError: no module"),
        (raised(NoDataError("no data:\n  in the archive")), "NoDataError: no data:"),
        (raised(KeyError()), "KeyError"),
        (ActorDiedError(raised(ValueError("17"))), "ValueError: 17"),  # in the actor's own creation
        (ActorDiedError(), "WorkerLost: The actor died unexpectedly before finishing this task."),
        (WorkerCrashedError(), "WorkerLost: The worker died unexpectedly"),
        (OutOfMemoryError("Task was killed: low on memory.\nMore"), "WorkerLost: Task was killed: low on memory."),
    ],
)
def test_the_cause_is_type_and_first_line(error: Exception, message: str, tmp_path: Path) -> None:
    said = cause_of_loss(written(tmp_path, error))
    assert said.startswith(message)
    assert "\n" not in said
    assert "\x1b" not in said


def test_the_last_of_several_losses_is_told(tmp_path: Path) -> None:
    file = written(tmp_path, raised(ValueError("first")), ActorDiedError(), raised(OSError("third")))
    assert cause_of_loss(file) == "OSError: third"


def test_without_a_file_there_is_no_reason(tmp_path: Path) -> None:
    assert cause_of_loss(None) == cause_of_loss(tmp_path / "error.txt") == "WorkerLost: Ray gives no reason"
    (tmp_path / "error.txt").write_bytes(b"")
    assert cause_of_loss(tmp_path / "error.txt") == "WorkerLost: Ray gives no reason"


def test_of_a_group_the_worker_that_died_says_why_before_those_that_missed_it() -> None:
    missed = UserExceptionWithTraceback(
        RuntimeError("closed by peer"), 'Traceback:\n  File "x.py", line 1, in f\nRuntimeError: closed by peer'
    )
    died = WorkerHealthCheckFailedError("A worker health check failed.", ActorDiedError())
    full = WorkerHealthCheckFailedError(
        "A worker health check failed.",
        OutOfMemoryError("Task was killed due to the node running low on memory.\nMemory on the node: 1 of 1"),
    )
    assert cause_of_group_loss({0: missed, 1: missed}) == "worker 0: RuntimeError: closed by peer"
    assert cause_of_group_loss({0: missed, 1: died}).startswith("worker 1: The actor died")
    told = cause_of_group_loss({0: missed, 1: died, 2: full})
    assert told == "worker 2: Task was killed due to the node running low on memory."
    assert tells_of_memory(f"WorkerLost: {told}")
    assert cause_of_group_loss({}) == "Ray Train gives no reason"
