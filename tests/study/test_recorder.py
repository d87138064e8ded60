"""The row of a trial, and what is recorded when a worker or the storage is lost."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from results import TRIAL_COLUMNS, ResultStore, TrialSpec
from results.schema import validate_trial
from study.cluster import hush_raylet, spare_trackers
from study.outcomes import Outcomes
from study.progress import Progress
from study.recorder import Recorder
from study.resolve import BatchArithmetic
from study.rows import failed

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
        self.outcomes = Outcomes()
        self.recorder = Recorder(
            store=store,
            outcomes=self.outcomes,
            study="shape",
            code_version="0",
            arithmetic={("bowl", 4): SPLIT},
            observer=_Silent(),
        )

    def end(self, points: list[dict[str, Any]], outcome: dict[str, Any]) -> None:
        self.recorder.begun(TRIAL)
        self.recorder.ended(TRIAL, outcome, points)


class _Silent(Progress):
    def __init__(self) -> None:
        super().__init__(STUDY, Outcomes())

    def tick(self) -> None:
        pass


def point(step: int) -> dict[str, Any]:
    return {"step": step, "examples": 4 * step, "name": "loss", "value": 1.0 / (1 + step)}


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path)


def test_a_finished_trial_is_stored_with_its_curve(store: ResultStore) -> None:
    fixture = Fixture(store)
    fixture.end([point(0), point(1), point(10)], FINISHED)

    (row,) = store.trials().to_dict("records")
    assert set(row) == set(TRIAL_COLUMNS)
    assert row["trial_id"] == TRIAL.trial_id == TrialSpec.from_dict(json.loads(row["spec"])).trial_id
    assert row["examples_to_target"] == 34
    assert row["examples_per_second"] == 20
    assert row["micro_batch_size"] == 1  # what was used, not what was planned
    assert store.curves()["step"].tolist() == [0, 1, 10]
    assert fixture.outcomes[TRIAL.trial_id]["status"] == "reached"
    assert (fixture.recorder.trials, fixture.recorder.train_seconds) == (1, 2.0)


def test_a_lost_worker_is_a_failed_row(store: ResultStore) -> None:
    fixture = Fixture(store)
    fixture.end([], failed("WorkerLost: killed"))
    (row,) = store.trials().to_dict("records")
    assert row["status"] == "failed"
    assert row["message"] == "WorkerLost: killed"
    assert math.isnan(row["value"])
    assert (row["micro_batch_size"], row["accumulation_steps"]) == (2, 2)
    assert fixture.recorder.train_seconds == 0.0


def test_a_storage_that_refuses_is_heard_and_the_trial_stays_missing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    fixture = Fixture(ResultStore(tmp_path / "file" / "out"))
    with pytest.raises(OSError, match="file"):
        fixture.end([], FINISHED)
    assert len(fixture.outcomes) == 0


def test_parts_become_tables_as_a_study_goes_on(store: ResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.recorder.COMPACT_TRIALS", 3)
    study = design(batch_sizes=[4], learning_rates=[0.1], seeds=list(range(7)))
    fixture = Fixture(store)
    left = []
    for trial in study.trials({}):
        fixture.recorder.ended(trial, FINISHED, [point(1)])
        left.append(len(list((Path(store.url) / "parts").iterdir())))
    assert left == [1, 2, 0, 1, 2, 0, 1]
    assert len(store.trials()) == len(store.curves()) == 7


@pytest.mark.parametrize("status", ["exhausted", "diverged", "failed"])
def test_every_ending_makes_a_valid_row(status: str, store: ResultStore) -> None:
    fixture = Fixture(store)
    ending: dict[str, Any] = {**FINISHED, "status": status, "steps_to_target": None, "value": math.nan}
    fixture.end([], ending if status != "failed" else {"status": status, "message": "RuntimeError: no"})
    (row,) = store.trials().to_dict("records")
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


def test_tune_imports_no_tracker_to_count_callbacks(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.air._internal import usage
    from ray.tune import tune

    monkeypatch.setattr(usage, "tag_callbacks", usage.tag_callbacks)  # put back afterwards
    spare_trackers()
    assert tune.air_usage.tag_callbacks([object()]) is False
    assert "tag_callbacks" in tune.run.__code__.co_names  # what is replaced is what is called
