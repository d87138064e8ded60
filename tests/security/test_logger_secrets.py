"""Passwords of the places that loggers write to: in the environment, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from study.cli import app
from study.errors import ConfigError
from study.loading import load_study, resolved_yaml
from study.locations import Location, locate, passwords, without_password, without_secrets
from study.loggers_config import Loggers
from study.place import ResultsPlace
from study.scribe_process import serve

from ..study.logged_studies import config, store_study
from ..study.studies import SWEEP

SECRET = "sesame/4711"
WITH_PASSWORDS = [
    "postgresql://me:sesame@db/x",
    "postgresql+psycopg2://me:sesame/4711@db:5432/x",
    "postgresql://me:se@same@db/x",
    "postgresql:///x?user=me&password=sesame",
    "https://me:sesame@mlflow.example/",
    "https://mlflow.example/?access_token=sesame",
    "mysql://me:${PW}x@db/x",
]
WITHOUT = [
    "sqlite:///optuna.db",
    "sqlite:////home/me@host:x/o.db",
    "postgresql://me@db/x",
    "postgresql://me:${PW}@db/x",
    "${OPTUNA_URL}",
    "postgresql:///x?user=me&password=${PW}&passfile=/home/me/.pgpass",
    "https://mlflow.example:8080/",
    "mlruns",
]


@pytest.mark.parametrize("url", WITH_PASSWORDS)
def test_a_password_is_refused_where_it_is_read_and_never_shown(url: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds a password; write \$\{OPTUNA_URL\}"):
        without_secrets(url, variable="OPTUNA_URL")
    for loggers, place in (
        ({"optuna": url}, "yaml:2: loggers.optuna: "),
        ({"mlflow": {"tracking_uri": url}}, "loggers.mlflow.tracking_uri: "),
        ({"mlflow": url}, "loggers.mlflow: "),
        ({"optuna": [url]}, "loggers.optuna: "),
    ):
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump({"name": "x", "loggers": loggers, "sweeps": [SWEEP]}, sort_keys=False))
        shown = CliRunner().invoke(app, ["plan", str(path)])
        assert shown.exit_code == 2
        assert place.removeprefix("yaml:2: ") in shown.output
        assert "same" not in shown.output
        assert len(shown.output.splitlines()) == 1


@pytest.mark.parametrize("url", WITHOUT)
def test_what_holds_none_is_taken(url: str) -> None:
    assert without_secrets(url, variable="X") == url


def test_a_variable_is_stored_by_its_name_and_known_where_it_is_used(tmp_path: Path) -> None:
    study = config({"optuna": "postgresql://me:${PW}@db/x"})
    path = tmp_path / "study.yaml"
    path.write_text(resolved_yaml(study))
    assert "${PW}" in path.read_text()
    assert load_study(path).config == study
    place = locate("postgresql://me:${PW}@db/x", where="loggers.optuna", folder=tmp_path, environment={"PW": SECRET})
    assert place.url == f"postgresql://me:{SECRET}@db/x"
    assert SECRET not in repr(place)
    with pytest.raises(ConfigError, match=r"^loggers\.optuna: the environment must have the variable PW, but has none"):
        locate("${PW}", where="loggers.optuna", folder=tmp_path, environment={"PW": ""})


def test_relative_places_count_from_the_results(tmp_path: Path) -> None:
    def url(text: str) -> str:
        return locate(text, where="", folder=tmp_path, environment={}).url

    assert url("sqlite:///o.db") == f"sqlite:///{tmp_path}/o.db"
    assert url("sqlite:////there/o.db") == "sqlite:////there/o.db"
    assert url("mlruns") == f"{tmp_path}/mlruns"
    assert url("postgresql:///x") == "postgresql:///x"


def test_the_words_of_an_error_lose_what_is_secret() -> None:
    place = locate("${URL}", where="", folder=Path(), environment={"URL": "postgresql://me:s%2Fsame@db/x"})
    error = RuntimeError("cannot reach postgresql://me:s%2Fsame@db/x\nnor s/same; password 's/same' is wrong")
    assert place.explain(error) == "cannot reach …"
    assert "same" not in place.explain(RuntimeError("password 's/same' is wrong, 's%2Fsame' too"))
    assert without_password("no postgresql://me:pw/x@db/x and http://h/?token=abc here") == (
        "no postgresql://me:…@db/x and http://h/?token=… here"
    )
    assert Location(url="x").explain(KeyError()) == "KeyError"
    assert passwords("x://a:b@c?api_key=d") == ["d", "b"]


def test_a_storage_that_is_not_there_is_one_line_without_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("psycopg2", reason="needs psycopg2-binary")
    monkeypatch.setenv("PW", "sesame4711")
    store_study(tmp_path, config(), trials=2)
    answers: list[object] = []
    loggers = Loggers(optuna=f"postgresql://me:${{PW}}@/x?host={tmp_path}")
    serve(ResultsPlace.of(tmp_path), tmp_path, loggers, ['{"complete": true}'], answers.append)
    said, lacking = answers
    assert lacking == {"lacking": {"loggers.optuna": 2}}
    assert str(said).startswith("{'say': 'loggers.optuna: tried again every 30 s, and the results are not touched: ")
    assert "sesame" not in str(said)


def test_a_password_on_the_command_line_is_refused_too(tmp_path: Path) -> None:
    store_study(tmp_path, config(), trials=1)
    for option in ("--optuna", "--mlflow"):
        shown = CliRunner().invoke(app, ["export", str(tmp_path), option, "postgresql://me:sesame@db/x"])
        assert shown.exit_code == 2
        assert f"{option} '${{NAME}}' in single quotes" in shown.output
        assert "sesame" not in shown.output
    shown = CliRunner().invoke(app, ["export", str(tmp_path), "--optuna", "${BATCHLAW_NO_SUCH_VARIABLE}"])
    assert shown.exit_code == 2
    assert "must have the variable BATCHLAW_NO_SUCH_VARIABLE" in shown.output
