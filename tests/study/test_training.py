"""What a process trains: with checkpoints where it sees their place, and as one that goes on where one lies."""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from results.storage import open_storage
from study import training as module
from study.checkpoint_place import CheckpointPlace
from study.crew import Noted
from study.training import Training
from trainers.events import Finished, Kept, Measured, Resumed
from trainers.process import hardware_name
from trainers.settings import TrainSettings

from .test_lost_and_cramped import FRAGILE

TRIAL = "0123456789abcdef"
SPEC = {
    "workload": "fragile.py:Fragile",
    "workload_settings": {},
    "optimizer": "momentum",
    "optimizer_settings": {},
    "schedule": {"name": "constant"},
    "batch_size": 8,
    "learning_rate": 0.01,
    "seed": 3,
    "budget": {"steps": 40},
    "target": None,
    "evaluation": {"points": 4},
    "engine": {},
}


@pytest.fixture
def workload(tmp_path: Path) -> Path:
    return Path(shutil.copy(FRAGILE, tmp_path / "fragile.py"))


def job(workload: Path, place: CheckpointPlace, **spec: Any) -> dict[str, Any]:
    text = json.dumps({**SPEC, **spec})
    return {"trial_id": TRIAL, "attempt": 0, "spec": text, "workload": f"{workload}:Fragile", **place.job(TRIAL)}


@pytest.fixture
def place(tmp_path: Path) -> CheckpointPlace:
    made = CheckpointPlace(open_storage(tmp_path / "out"), every_seconds=1e-9)
    assert made.open(is_stored=lambda _: False) == ""
    return made


def plain(events: list[Any]) -> list[Any]:
    return [event.values for event in events if isinstance(event, Measured)]


def test_a_job_that_was_cut_off_goes_on_in_another_process(workload: Path, place: CheckpointPlace) -> None:
    whole = list(Training().events({**job(workload, place), "checkpoints": None}))
    first = Training().events(job(workload, place))
    assert next(event for event in first if isinstance(event, Kept)).step == 8
    first.close()
    rest = list(Training().events(job(workload, place)))
    assert isinstance(rest[0], Resumed)
    assert (rest[0].step, rest[0].resumes, rest[0].problems) == (8, 1, ())
    assert plain(rest) == plain(whole)
    assert isinstance(rest[-1], Finished)
    assert (rest[-1].resumes, rest[-1].value) == (1, whole[-1].value)


@pytest.mark.parametrize("what", ["trial", "code", "workload"])
def test_what_another_trial_or_other_code_kept_is_not_used_and_named(
    workload: Path, place: CheckpointPlace, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Training().events(job(workload, place))
    next(event for event in first if isinstance(event, Kept))
    first.close()
    again = job(workload, place)
    if what == "trial":
        again["trial_id"] = "f" * 16
    elif what == "code":
        monkeypatch.setattr(module, "code_digest", lambda: "f" * 64)
    else:
        workload.write_text(f"{workload.read_text()}\n# edited\n")
    rest = next(Training().events(again))
    assert isinstance(rest, Resumed)
    assert rest.step == 0
    assert what in rest.problems[0]


def test_a_process_that_does_not_see_the_place_says_so_and_trains(workload: Path, place: CheckpointPlace) -> None:
    elsewhere = job(workload, place)
    elsewhere["checkpoints"] = {**elsewhere["checkpoints"], "url": "/nowhere/results"}
    training = Training()
    for _ in range(2):
        first, *rest = training.events(elsewhere)
        assert first == Noted(
            line=f"{socket.gethostname()} does not see /nowhere/results: its trials can't go on elsewhere when a "
            "worker is lost; use a storage_path that all machines see, such as NFS or s3://"
        )
        assert not any(isinstance(event, Resumed | Kept) for event in rest)
        assert isinstance(rest[-1], Finished)
    assert not Path("/nowhere").exists()


def test_a_short_trial_writes_no_file(workload: Path, tmp_path: Path) -> None:
    place = CheckpointPlace(open_storage(tmp_path / "out"), every_seconds=60.0)
    place.open(is_stored=lambda _: False)
    events = list(Training().events(job(workload, place)))
    assert isinstance(events[-1], Finished)
    assert [path.name for path in (tmp_path / "out" / "checkpoints").iterdir()] == ["token"]


def test_what_is_known_to_fit_on_this_hardware_is_kept_to(workload: Path) -> None:
    given = {"trial_id": TRIAL, "spec": json.dumps(SPEC), "workload": f"{workload}:Fragile"}
    for limits, micro in (({hardware_name(): 2, "rod": 1}, 2), ({"rod": 1}, 8), ({}, 8)):
        *_, last = Training().events({**given, "micro_batch_at_most": limits})
        assert (last.micro_batch_size, last.halvings) == (micro, 0)


def test_the_specification_here_is_a_trials(workload: Path) -> None:
    assert TrainSettings.from_dict(SPEC).total_steps == 40


@pytest.mark.parametrize(("gpus", "share"), [(0.0, None), (0.5, 0.5), (1.0, None), (2.0, None)])
def test_a_worker_with_a_part_of_a_gpu_keeps_to_that_part_of_its_memory(
    gpus: float, share: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares: list[float] = []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")  # as Ray says which one
    monkeypatch.setattr("gc.freeze", lambda: None)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.set_per_process_memory_fraction", shares.append)
    monkeypatch.setattr("torch.set_num_threads", lambda _: None)
    monkeypatch.setattr("torch.set_flush_denormal", lambda _: None)
    monkeypatch.setattr("trainers.process.deepspeed_library", lambda: None)
    Training().prepare(cpus=1, gpus=gpus)
    assert shares == ([] if share is None else [share])
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ("3" if gpus else "")
