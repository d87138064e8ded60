"""Stored studies in TensorBoard, MLflow and W&B, read back: the curves are those that are stored."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.sources import read_source
from results import ResultStore
from study.chronicle import tools_of
from study.design import Design, PlannedTrial
from study.locations import Location
from study.logged_trial import LoggedTrial
from study.loggers import Shelf
from study.loggers_config import Loggers
from study.mlflow_logger import MLflow
from study.place import ResultsPlace
from study.scribe_process import serve

from .event_files import read_events, read_scalars
from .importing import assert_same_optima, optima, stored_optima
from .logged_studies import config, points, row, store_study

STUDY = config()
TRIALS = Design(STUDY).trials({})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stored study; tests write beside it alone."""
    folder = tmp_path_factory.mktemp("stored")
    store_study(folder, STUDY)
    return folder


def write(folder: Path, loggers: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Write all that is stored, in this process, and return what was answered."""
    answers: list[Mapping[str, Any]] = []
    serve(ResultsPlace.of(folder), folder, Loggers.model_validate(loggers), ['{"complete": true}'], answers.append)
    return answers


def stored_curve(trial: PlannedTrial, name: str) -> list[tuple[int, float]]:
    return [(point["step"], point["value"]) for point in points(trial) if point["name"] == name]


def test_event_files_hold_the_curves_once(folder: Path) -> None:
    answers = write(folder, {"tensorboard": True})
    assert answers == [
        {"say": f"loggers.tensorboard: {len(TRIALS)} trials to write"},
        {"lacking": {"loggers.tensorboard": 0}},
    ]
    board = folder / "loggers" / "tensorboard"
    assert sorted(path.name for path in board.iterdir()) == ["loss", "steps"]
    runs = {path.name[-16:]: path for path in board.glob("*/*")}
    assert set(runs) == {trial.trial_id for trial in TRIALS}
    for trial in TRIALS:
        scalars = read_scalars(runs[trial.trial_id])
        assert runs[trial.trial_id].parent.name == trial.sweep
        for name in ("loss", "train_loss"):
            # TensorBoard has no NaN, and 4 bytes a number.
            known = [(step, np.float32(value)) for step, value in stored_curve(trial, name) if not math.isnan(value)]
            assert scalars[f"ray/tune/{name}"] == known
    one = TRIALS[0]
    tags = [value.tag for event in read_events(runs[one.trial_id]) for value in event.summary.value]
    assert "_hparams_/session_start_info" in tags
    diverged = [path.name for path in runs.values() if "-diverged-" in path.name]
    assert len(diverged) == 3

    before = {path: path.stat().st_mtime_ns for path in board.rglob("*")}
    (board / ".writing" / "torn").mkdir(parents=True)
    assert write(folder, {"tensorboard": True}) == [{"lacking": {"loggers.tensorboard": 0}}]
    assert {path: path.stat().st_mtime_ns for path in board.rglob("*")} == before


def test_a_study_goes_to_mlflow_and_back_with_the_same_optima(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="needs MLflow's client: pip install 'batchlaw[mlflow]'")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    write(folder, {"mlflow": {}})
    place = folder / "loggers" / "mlflow"
    table = read_source(place, study="bowls")
    assert len(table.runs) == len(TRIALS)
    by_cell = {
        (r["params.sweep"], int(r["params.batch_size"]), float(r["params.learning_rate"]), int(r["params.seed"])): r
        for r in table.runs.to_dict("records")
    }
    curves = table.curves
    assert curves is not None
    curves = curves.set_index(["run", "name"]).sort_index()
    shown = [trial for trial in TRIALS if row(trial)["status"] == "diverged"]
    assert shown
    for trial in [*shown, *TRIALS[::7]]:
        run = by_cell[trial.sweep, trial.spec.batch_size, trial.spec.learning_rate, trial.spec.seed]
        for name in ("loss", "train_loss"):
            known = np.array(stored_curve(trial, name))
            np.testing.assert_array_equal(curves.loc[(run["run"], name), ["step", "value"]].to_numpy(), known)
        ending = row(trial)["status"]
        assert (run["params.ending"], run["status"]) == (ending, "FAILED" if ending == "diverged" else "FINISHED")
    (tags,) = [
        {path.name: path.read_text() for path in (meta.parent / "tags").iterdir()}
        for meta in place.glob("*/*/meta.yaml")
        if (meta.parent / "tags" / "trial_id").read_text() == TRIALS[0].trial_id
    ]
    spec = TRIALS[0].spec
    assert tags["sweep"] == TRIALS[0].sweep
    assert (tags["batch_size"], tags["learning_rate"], tags["seed"]) == (
        str(spec.batch_size),
        str(spec.learning_rate),
        str(spec.seed),
    )
    assert tags["status"] == row(TRIALS[0])["status"]

    # What our own importer makes of it is what the stored rows say.
    found = optima(table, loss="metrics.loss", status="params.ending", groups=["params.sweep"])
    assert_same_optima(found[found["sweep"].str.contains("loss")], stored_optima(folder, "loss"))

    assert write(folder, {"mlflow": {}}) == [{"lacking": {"loggers.mlflow": 0}}]
    assert len(list(place.glob("*/*/meta.yaml"))) == len(TRIALS)


def test_a_trial_that_failed_and_then_did_not_is_told_twice(tmp_path: Path) -> None:
    study, trial = config(), TRIALS[0]
    store = ResultStore(tmp_path)
    store_study(tmp_path, study, trials=0)
    store.append({**row(trial), "status": "failed", "message": "RuntimeError: no", "value": math.nan})
    write(tmp_path, {"tensorboard": True})
    store.append(row(trial), points(trial))
    write(tmp_path, {"tensorboard": True})
    keys = {path.name.partition("seed0-")[2] for path in (tmp_path / "loggers" / "tensorboard").glob("*/*")}
    assert keys == {trial.trial_id, f"{trial.trial_id}-failed"}


def test_nothing_is_asked_for_and_nothing_is_made(tmp_path: Path) -> None:
    store_study(tmp_path, STUDY, trials=1)
    assert tools_of(Loggers(), STUDY, tmp_path) == []
    assert write(tmp_path, {}) == [{"lacking": {}}]
    assert not (tmp_path / "loggers").exists()


def test_a_client_that_is_not_installed_is_named_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from study.errors import ConfigError

    found: Callable[[str], object] = __import__("importlib.util").util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "wandb" else found(name))
    with pytest.raises(ConfigError, match=r"loggers\.wandb: needs wandb, .* pip install 'batchlaw\[train,wandb\]'"):
        tools_of(Loggers.model_validate({"wandb": {}}), STUDY, tmp_path)


def test_wandb_s_offline_runs_hold_the_history(tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="needs W&B's client: pip install 'batchlaw[wandb]'")
    from study.scribe import open_scribe

    from .wandb_files import read_run

    study = config({"wandb": {}})
    trials = store_study(tmp_path, study, trials=3)
    said: list[str] = []
    for _ in range(2):  # in a process of its own: W&B goes into other folders
        with open_scribe(study, ResultsPlace.of(tmp_path), say=said.append) as scribe:
            assert scribe is not None
            assert scribe.complete()
    assert said == ["loggers.wandb: 3 trials to write"]
    runs = {path.name[-16:]: path for path in (tmp_path / "loggers" / "wandb").glob("offline-run-*")}
    assert set(runs) == {trial.trial_id for trial in trials}
    for trial in trials:
        settings, history = read_run(runs[trial.trial_id])
        assert (settings["batch_size"], settings["learning_rate"]) == (trial.spec.batch_size, trial.spec.learning_rate)
        for name in ("loss", "train_loss"):
            assert [(h["_step"], h[name]) for h in history if name in h] == stored_curve(trial, name)
    assert not list(Path(os.environ["HOME"]).iterdir())


def logged(trial: PlannedTrial) -> LoggedTrial:
    return LoggedTrial.of(row(trial), points(trial))


def test_mlflow_counts_finished_runs_of_its_own_study_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="needs MLflow's client: pip install 'batchlaw[mlflow]'")
    from mlflow.tracking import MlflowClient

    monkeypatch.setattr("study.mlflow_logger._PAGE", 1)  # as a large study has more runs than an answer, and
    monkeypatch.setattr("study.mlflow_logger._BATCH", 2)  # more values than a request
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    place = Location(url=str(tmp_path / "tracked"))

    def tool(study: str) -> MLflow:
        return MLflow(place, experiment="shared", study=study, folder=tmp_path / "trials")

    bowls = tool("bowls")
    assert bowls.open() == set()
    for trial in TRIALS[:3]:
        bowls.write(logged(trial))
    assert not bowls._callback._trial_runs  # of a long study nothing piles up
    other = tool("other")
    assert other.open() == set()
    other.write(LoggedTrial(row={**row(TRIALS[3]), "study": "other"}, curve={}))

    client = MlflowClient(tracking_uri=place.url)
    experiment = client.get_experiment_by_name("shared")
    assert experiment is not None
    tags = {"study": "bowls", "trial_id": TRIALS[4].trial_id, "status": "exhausted"}
    cut_off = client.create_run(experiment.experiment_id, tags=tags)

    assert tool("bowls").open() == {trial.trial_id for trial in TRIALS[:3]}
    assert tool("other").open() == {TRIALS[3].trial_id}
    runs = client.search_runs([experiment.experiment_id], filter_string="tags.study = 'bowls'")
    by_trial = {run.data.tags["trial_id"]: run.info.run_id for run in runs if run.info.run_id != cut_off.info.run_id}
    for trial in TRIALS[:3]:
        history = client.get_metric_history(by_trial[trial.trial_id], "train_loss")
        assert [(value.step, value.value) for value in history] == stored_curve(trial, "train_loss")


def test_mlflow_says_what_went_wrong_without_the_password_in_its_address(tmp_path: Path) -> None:
    place = Location(url="http://user:hunter2@127.0.0.1:1/mlflow", secrets=("hunter2",))
    tool = MLflow(place, experiment="e", study="s", folder=tmp_path)
    said = tool.explain(RuntimeError("no answer from http://user:hunter2@127.0.0.1:1/mlflow"))
    assert "no answer" in said
    assert "hunter2" not in said


def test_a_folder_that_is_already_in_place_is_replaced_as_a_whole(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "shelf")
    for content in ("first", "second"):
        made = shelf.writing / "made"
        made.mkdir(parents=True)
        (made / content).touch()
        shelf.put(made, "sweep/b8-0123456789abcdef")
    assert [path.name for path in (shelf.folder / "sweep" / "b8-0123456789abcdef").iterdir()] == ["second"]
    assert shelf.keys() == {"0123456789abcdef"}
