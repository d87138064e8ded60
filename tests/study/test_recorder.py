"""The row of a trial, and what is recorded when a worker or the storage is lost."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from results import TRIAL_COLUMNS, ResultStore, TrialSpec
from results.schema import validate_trial
from study.cluster import hush_raylet
from study.progress import Progress
from study.recorder import Recorder
from study.resolve import BatchArithmetic

from .studies import design

STUDY = design(batch_sizes=[4], learning_rates=[0.1], seeds=[0])
TRIAL = STUDY.trials({})[0]
SPLIT = BatchArithmetic(batch_size=4, steps=40, world_size=1, micro_batch_size=2, accumulation_steps=2)

FINISHED = {
    "status": "reached",
    "message": "",
    "steps": 10,
    "examples": 40,
    "steps_to_target": 8.5,
    "value": 0.09,
    "train_seconds": 2.0,
    "evaluate_seconds": 0.5,
    "setup_seconds": 0.1,
    "world_size": 1,
    "micro_batch_size": 1,
    "accumulation_steps": 4,
    "device_batch_size": 1,
    "dtype": "float32",
    "zero_stage": 0,
    "hardware": "abacus",
    "started_at": "2026-01-01T00:00:00+00:00",
}


class Fixture:
    def __init__(self, store: ResultStore) -> None:
        self.rows: dict[str, Any] = {}
        self.recorder = Recorder(
            store=store,
            rows=self.rows,
            planned=lambda trial_id: {TRIAL.trial_id: TRIAL}[trial_id],
            study="shape",
            code_version="0",
            arithmetic={("bowl", 4): SPLIT},
            observer=_Silent(),
        )

    def start(self) -> None:
        self.recorder.on_trial_start(0, [], ray_trial())

    def report(self, points: list[dict[str, Any]], outcome: dict[str, Any] | None) -> None:
        result = {"points": points, "step": 1, "done": outcome is not None, "outcome": outcome}
        self.recorder.on_trial_result(0, [], ray_trial(), result)


class _Silent(Progress):
    def __init__(self) -> None:
        super().__init__(STUDY, {})

    def tick(self) -> None:
        pass


def ray_trial(error_file: Path | None = None) -> Any:
    return SimpleNamespace(config={"trial_id": TRIAL.trial_id}, error_file=error_file)


def point(step: int) -> dict[str, Any]:
    return {"step": step, "examples": 4 * step, "name": "loss", "value": 1.0 / (1 + step)}


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path)


def test_a_finished_trial_is_stored_with_its_curve(store: ResultStore) -> None:
    fixture = Fixture(store)
    fixture.start()
    fixture.report([point(0), point(1)], None)
    fixture.report([point(10)], FINISHED)

    (row,) = store.trials().to_dict("records")
    assert set(row) == set(TRIAL_COLUMNS)
    assert row["trial_id"] == TRIAL.trial_id == TrialSpec.from_dict(json.loads(row["spec"])).trial_id
    assert row["examples_to_target"] == 34
    assert row["examples_per_second"] == 20
    assert row["micro_batch_size"] == 1  # what was used, not what was planned
    assert store.curves()["step"].tolist() == [0, 1, 10]
    assert fixture.rows[TRIAL.trial_id]["status"] == "reached"


def test_a_second_attempt_forgets_the_curve_of_the_first(store: ResultStore) -> None:
    fixture = Fixture(store)
    fixture.start()
    fixture.report([point(0), point(5)], None)
    fixture.start()
    fixture.report([point(0)], FINISHED)
    assert store.curves()["step"].tolist() == [0]


def test_a_lost_worker_is_a_failed_row(store: ResultStore, tmp_path: Path) -> None:
    file = tmp_path / "error.txt"
    file.write_text("Failure # 1 (occurred at 2026-01-01_00-00-00)\nthe node died\n")
    fixture = Fixture(store)
    fixture.start()
    fixture.recorder.on_trial_error(0, [], ray_trial(file))
    (row,) = store.trials().to_dict("records")
    assert row["status"] == "failed"
    assert row["message"] == "WorkerLost: the node died"
    assert math.isnan(row["value"])
    assert (row["micro_batch_size"], row["accumulation_steps"]) == (2, 2)


def test_a_storage_that_refuses_is_remembered_and_the_trial_stays_missing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    fixture = Fixture(ResultStore(tmp_path / "file" / "out"))
    fixture.start()
    fixture.report([], FINISHED)
    assert isinstance(fixture.recorder.storage_error, OSError)
    assert fixture.rows == {}


@pytest.mark.parametrize("status", ["exhausted", "diverged", "failed"])
def test_every_ending_makes_a_valid_row(status: str, store: ResultStore) -> None:
    fixture = Fixture(store)
    fixture.start()
    ending: dict[str, Any] = {**FINISHED, "status": status, "steps_to_target": None, "value": math.nan}
    fixture.report([], ending if status != "failed" else {"status": status, "message": "RuntimeError: no"})
    row = fixture.rows[TRIAL.trial_id]
    validate_trial(row)
    assert math.isnan(row["steps_to_target"])
    assert math.isnan(row["examples_to_target"])


def test_what_ray_prints_of_a_worker_that_died_is_dropped(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray._private import worker

    message = {"lines": ["A worker died or was killed"], "pid": "raylet", "is_err": False}
    monkeypatch.setattr(worker, "print_to_stdstream", worker.print_to_stdstream)  # put back afterwards
    hush_raylet()
    worker.print_to_stdstream(message, ignore_prefix=False)
    assert capsys.readouterr().out == ""
    assert "print_to_stdstream" in worker.listen_error_messages.__code__.co_names  # what is replaced is what is called
