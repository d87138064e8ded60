"""The process that tells the tools, and what becomes of a study when that process is slow, dies or is not wanted."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from results import PROBE, ResultStore
from study.cli import app
from study.export_command import _here
from study.outcomes import Outcomes
from study.place import ResultsPlace
from study.recorder import Recorder
from study.resolve import BatchArithmetic
from study.scribe import Scribe, open_scribe

from .event_files import read_scalars
from .logged_studies import BATCHES, config, outcome, points, row, store_study
from .test_recorder import _Silent

STUDY = config({"tensorboard": True})


def written(folder: Path) -> set[str]:
    return {path.name[-16:] for path in (folder / "loggers" / "tensorboard").glob("*/*")}


def test_trials_are_told_as_they_are_stored_and_the_rest_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = store_study(tmp_path, STUDY, trials=6)
    said: list[str] = []
    with open_scribe(STUDY, ResultsPlace.of(tmp_path), say=said.append) as scribe:
        assert scribe is not None
        for trial in trials[:4]:
            scribe.stored(row(trial), points(trial))
        scribe.stored({**row(trials[4]), "purpose": PROBE}, points(trials[4]))
        monkeypatch.setattr("study.scribe.MOST_WAITING", 0)  # so much waits already
        scribe.stored(row(trials[5]), points(trials[5]))
        assert scribe.complete()
        process = scribe._process
    assert process.poll() == 0
    assert said == ["loggers.tensorboard: 2 trials to write"]
    assert written(tmp_path) == {trial.trial_id for trial in trials}


def test_a_process_that_dies_costs_nothing_but_the_telling(tmp_path: Path) -> None:
    trials = store_study(tmp_path, STUDY, trials=1)
    said: list[str] = []
    with open_scribe(STUDY, ResultsPlace.of(tmp_path), say=said.append) as scribe:
        assert scribe is not None
        os.kill(scribe._process.pid, signal.SIGKILL)
        scribe._process.wait(60)
        for _ in range(3):
            scribe.stored(row(trials[0]), points(trials[0]))
        assert not scribe.complete()
    assert said == ["loggers: stopped before all was written; the same command writes the rest"]


def test_a_process_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.scribe.END_SECONDS", 0.1)
    with open_scribe(STUDY, ResultsPlace.of(tmp_path), say=print) as scribe:
        assert scribe is not None
        os.kill(scribe._process.pid, signal.SIGSTOP)
    assert scribe._process.poll() == -signal.SIGKILL


def test_no_tool_no_process(tmp_path: Path) -> None:
    with open_scribe(config(), ResultsPlace.of(tmp_path), say=print) as scribe:
        assert scribe is None
    assert not list(tmp_path.iterdir())


def test_a_scribe_of_a_study_that_never_began_leaves_nothing(tmp_path: Path) -> None:
    with open_scribe(STUDY, ResultsPlace.of(tmp_path), say=print) as scribe:
        assert isinstance(scribe, Scribe)
    assert scribe._process.poll() == 0
    assert not list(tmp_path.iterdir())


def test_the_recorder_tells_of_what_is_stored_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    heard: list[tuple[str, int]] = []

    class Ear:
        def stored(self, row: dict, points: list) -> None:  # type: ignore[type-arg]
            heard.append((row["trial_id"], len(points)))

    (trial,) = store_study(tmp_path / "plan", STUDY, trials=1)
    split = BatchArithmetic(batch_size=1, steps=40, world_size=1, micro_batch_size=1, accumulation_steps=1)
    for place, count in ((tmp_path / "file" / "out", 0), (tmp_path / "out", 1)):
        recorder = Recorder(
            store=ResultStore(place),
            outcomes=Outcomes(),
            study="bowls",
            code_version="0",
            arithmetic={(trial.sweep, batch): split for batch in BATCHES},
            observer=_Silent(),
            listener=Ear(),  # type: ignore[arg-type]
        )
        try:
            recorder.ended(trial, outcome(trial), points(trial))
        except OSError:
            assert not count
        assert heard == [(trial.trial_id, 7)] * count


def test_export_writes_a_stored_study(tmp_path: Path) -> None:
    trials = store_study(tmp_path, config(), trials=2)
    refused = CliRunner().invoke(app, ["export", str(tmp_path)])
    assert refused.exit_code == 2
    assert "neither names one; give --tensorboard" in refused.output
    done = CliRunner().invoke(app, ["export", str(tmp_path), "--tensorboard"])
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1] == "all stored trials of bowls are written"
    assert written(tmp_path) == {trial.trial_id for trial in trials}
    (one,) = (tmp_path / "loggers" / "tensorboard").glob(f"*/*-{trials[0].trial_id}")
    assert read_scalars(one)["ray/tune/loss"][0] == (0, 9.0)


def test_places_of_a_command_count_from_where_it_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert _here("sqlite:///o.db") == f"sqlite:///{tmp_path}/o.db"
    assert _here("mlruns") == f"{tmp_path}/mlruns"
    for place in ("sqlite:////there/o.db", "${URL}", "postgresql:///x", "https://mlflow.example/"):
        assert _here(place) == place


def test_a_message_is_one_line_of_json_whatever_its_numbers_are(tmp_path: Path) -> None:
    import numpy as np

    from study.scribe import _plain

    assert json.loads(json.dumps({"n": np.int64(3), "x": np.float64("nan")}, default=_plain))["n"] == 3
