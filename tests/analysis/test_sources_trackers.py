import math
import sqlite3

import numpy as np
import pytest

from analysis.errors import TableError
from analysis.sources import read_source
from analysis.sources.mlflow_server import read_mlflow

GRID = [(8, 1e-3), (8, 1e-1), (32, 1e-3), (32, 1e-1)]


# -- Optuna ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def optuna():
    module = pytest.importorskip("optuna", reason="needs Optuna: pip install 'batchlaw[optuna]'")
    module.logging.set_verbosity(module.logging.ERROR)
    return module


@pytest.fixture(scope="module")
def storage(optuna, tmp_path_factory):
    """A SQLite file with the studies one (low is good) and two (high is good)."""
    path = tmp_path_factory.mktemp("optuna") / "o.db"
    url = f"sqlite:///{path}"
    for name, direction in (("one", "minimize"), ("two", "maximize")):
        study = optuna.create_study(study_name=name, storage=url, direction=direction)
        distributions = {
            "bs": optuna.distributions.CategoricalDistribution([8, 32]),
            "lr": optuna.distributions.FloatDistribution(1e-4, 1.0, log=True),
        }
        for batch, rate in GRID:
            pruned = (batch, rate) == (32, 1e-1)
            study.add_trial(
                optuna.trial.create_trial(
                    params={"bs": batch, "lr": rate},
                    distributions=distributions,
                    value=batch * rate,
                    user_attrs={"seed": 3},
                    intermediate_values={0: 9.0},
                    state=optuna.trial.TrialState.PRUNED if pruned else optuna.trial.TrialState.COMPLETE,
                )
            )
    return path


def test_an_optuna_study(storage):
    before = storage.read_bytes()
    for place in (f"sqlite:///{storage}", str(storage)):
        table = read_source(place, study="two")
        rows = {(row.params_bs, row.params_lr): row for row in table.runs.itertuples()}
        assert set(rows) == set(GRID)
        assert rows[8, 1e-1].value == pytest.approx(0.8)
        assert (rows[8, 1e-3].state, rows[32, 1e-1].state) == ("COMPLETE", "PRUNED")
        assert rows[8, 1e-3].user_attrs_seed == 3
        assert table.directions == {"value": "max"}
        assert table.curves["value"].tolist() == [9.0] * 4
    assert read_source(storage, study="one").directions == {"value": "min"}
    # Reading leaves a storage as it was.
    assert storage.read_bytes() == before
    assert [path.name for path in storage.parent.iterdir()] == ["o.db"]


def test_of_several_studies_one_must_be_named(storage):
    with pytest.raises(TableError, match=r"2 studies: 'one', 'two'; name one by --study"):
        read_source(storage)
    with pytest.raises(TableError, match="no 'three'"):
        read_source(storage, study="three")


def test_without_optuna_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with sqlite3.connect(tmp_path / "o.db") as base:
        for name in ("studies", "trials", "trial_params"):
            base.execute(f"CREATE TABLE {name} (x)")
    with pytest.raises(TableError, match=r"pip install 'batchlaw\[optuna\]'"):
        read_source(f"sqlite:///{tmp_path}/o.db")


@pytest.mark.parametrize("place", ["sqlite:///{}/none.db", "{}/text.db", "{}/empty.db"])
def test_databases_that_are_none(tmp_path, place):
    (tmp_path / "text.db").write_text("no database" * 100)
    (tmp_path / "empty.db").write_bytes(b"")
    with pytest.raises(TableError):
        read_source(place.format(tmp_path))
    assert not (tmp_path / "none.db").exists()


def test_a_password_is_never_shown(optuna):
    with pytest.raises(TableError) as error:
        read_source("postgresql+nodriver://me:secret@127.0.0.1:1/db")
    assert "secret" not in str(error.value)


# -- MLflow ------------------------------------------------------------------------------------------


def track(client, name="sweep"):
    experiment = client.create_experiment(name)
    for batch, rate in GRID:
        run = client.create_run(experiment).info.run_id
        client.log_param(run, "optim/lr", rate)
        client.log_param(run, "batch_size", batch)
        for step in (0, 10, 20):
            client.log_metric(
                run, "val/loss", math.nan if (batch, rate, step) == (32, 0.1, 20) else batch + step, step=step
            )
        client.set_terminated(run, status="FAILED" if (batch, rate) == (8, 0.1) else "FINISHED")
    return experiment


@pytest.fixture
def mlflow_client(tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="needs MLflow's client: pip install 'batchlaw[mlflow]'")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    from mlflow.tracking import MlflowClient

    return MlflowClient


def check_mlflow(table):
    rows = {
        (float(row["params.batch_size"]), float(row["params.optim/lr"])): row for row in table.runs.to_dict("records")
    }
    assert set(rows) == set(GRID)
    assert rows[8, 1e-3]["metrics.val/loss"] == 28
    assert np.isnan(rows[32, 0.1]["metrics.val/loss"])
    assert (rows[8, 0.1]["status"], rows[8, 1e-3]["status"]) == ("FAILED", "FINISHED")
    curve = table.curves[table.curves["run"] == rows[8, 1e-3]["run"]]
    assert curve[["step", "name", "value"]].to_numpy().tolist() == [
        [0, "val/loss", 8],
        [10, "val/loss", 18],
        [20, "val/loss", 28],
    ]


def test_an_mlflow_folder_needs_no_client(tmp_path, mlflow_client, monkeypatch):
    folder = tmp_path / "mlruns"
    experiment = track(mlflow_client(folder.as_uri()))
    monkeypatch.setitem(__import__("sys").modules, "mlflow", None)
    check_mlflow(read_source(folder))
    check_mlflow(read_source(folder / experiment))
    for run in (folder / experiment).glob("*/meta.yaml"):
        run.write_text(run.read_text().replace("lifecycle_stage: active", "lifecycle_stage: deleted"))
    with pytest.raises(TableError, match="no run"):
        read_source(folder)


def test_mlflow_s_client(tmp_path, mlflow_client):
    url = (tmp_path / "mlruns").as_uri()
    client = mlflow_client(url)
    track(client)
    check_mlflow(read_mlflow(url))
    track(client, "other")
    with pytest.raises(TableError, match=r"2 experiments with runs: 'other', 'sweep'; name one by --study"):
        read_mlflow(url)
    check_mlflow(read_mlflow(url, "other"))


@pytest.mark.slow  # making such a database takes MLflow 20 seconds
def test_an_mlflow_database_and_its_experiments(tmp_path, mlflow_client):
    pytest.importorskip("sqlalchemy", reason="MLflow's databases need SQLAlchemy")
    url = f"sqlite:///{tmp_path}/m.db"
    client = mlflow_client(url)
    track(client)
    check_mlflow(read_source(url))
    track(client, "other")
    with pytest.raises(TableError, match=r"2 experiments with runs: 'other', 'sweep'; name one by --study"):
        read_source(f"{tmp_path}/m.db")
    check_mlflow(read_source(url, study="other"))


def test_without_mlflow_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "mlflow.tracking", None)
    monkeypatch.setitem(__import__("sys").modules, "mlflow.exceptions", None)
    with pytest.raises(TableError, match=r"pip install 'batchlaw\[mlflow\]'"):
        read_source("http://127.0.0.1:1")
