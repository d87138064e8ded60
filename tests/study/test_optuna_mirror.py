"""A study in Optuna's storages: what Optuna and its dashboard see, and what our own importer reads back."""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from analysis.sources import read_source
from study.config import StudyConfig
from study.design import Design
from study.logged_trial import LoggedTrial
from study.loggers_config import Loggers
from study.optuna_mirror import MOST_POINTS, MirroredSweep, frozen_trial
from study.place import ResultsPlace
from study.scribe_process import serve

from .importing import assert_same_optima, optima, stored_optima
from .logged_studies import BATCHES, RATES, config, outcome, points, row, store_study

optuna = pytest.importorskip("optuna", reason="needs Optuna: pip install 'batchlaw[optuna]'")

STUDY = config()
TRIALS = Design(STUDY).trials({})
SWEEPS = {sweep.name: MirroredSweep.of(sweep) for sweep in STUDY.sweeps}


def write(folder: Path, url: str) -> list[Mapping[str, Any]]:
    answers: list[Mapping[str, Any]] = []
    serve(ResultsPlace.of(folder), folder, Loggers(optuna=url), ['{"complete": true}'], answers.append)
    return answers


def test_states_values_and_parameters() -> None:
    seen = set()
    for trial in TRIALS:
        frozen = frozen_trial(LoggedTrial.of(row(trial), points(trial)), SWEEPS[trial.sweep])
        end, spec = outcome(trial), trial.spec
        assert frozen.params == {
            "batch_size": spec.batch_size,
            "learning_rate": spec.learning_rate,
            "seed": spec.seed,
        }
        attributes = frozen.user_attrs
        assert (attributes["trial_id"], attributes["ending"]) == (trial.trial_id, end["status"])
        assert attributes.get("metric_at_end", math.nan) == pytest.approx(end["value"], nan_ok=True)
        assert frozen.intermediate_values == pytest.approx(
            {p["step"]: p["value"] for p in points(trial) if p["name"] == "loss"}, nan_ok=True
        )
        assert frozen.duration is not None
        assert frozen.duration.total_seconds() == 2.75
        known = {
            ("loss", "exhausted"): ("COMPLETE", end["value"]),
            ("loss", "diverged"): ("FAIL", None),
            ("steps", "reached"): ("COMPLETE", end["steps_to_target"]),
            ("steps", "exhausted"): ("PRUNED", None),
            ("steps", "diverged"): ("FAIL", None),
        }[trial.sweep, end["status"]]
        assert (frozen.state.name, frozen.value) == known
        seen.add((trial.sweep, end["status"]))
    assert len(seen) == 5


def test_bounds_and_directions() -> None:
    assert (SWEEPS["steps"].direction, SWEEPS["loss"].direction) == ("minimize", "minimize")
    accuracy = STUDY.sweeps[0].model_copy(update={"target": STUDY.sweeps[0].target.model_copy(update={"mode": "max"})})
    assert MirroredSweep.of(accuracy).direction == "maximize"
    shape = SWEEPS["loss"]
    assert shape.batch_sizes == (BATCHES[0], BATCHES[-1])
    assert shape.learning_rates == (0.001, 0.1)
    assert shape.learning_rates[0] <= RATES[0] < RATES[-1] <= shape.learning_rates[1]
    assert shape.highest_seed == 1


def test_a_long_curve_is_thinned_with_both_ends() -> None:
    trial = TRIALS[0]
    curve = [{"name": "loss", "step": step, "examples": step, "value": 1.0} for step in range(1000)]
    values = frozen_trial(LoggedTrial.of(row(trial), curve), SWEEPS[trial.sweep]).intermediate_values
    steps = sorted(values)
    assert (len(steps), steps[0], steps[-1]) == (MOST_POINTS, 0, 999)
    gaps = {after - before for before, after in itertools.pairwise(steps)}
    assert gaps <= {41, 42}


def check(folder: Path, url: str, study: StudyConfig) -> None:
    """Write the study to ``url`` once and once more, and read it there in three ways."""
    count = len(Design(study).trials({}))
    assert write(folder, url)[-1] == {"lacking": {"loggers.optuna": 0}}
    assert write(folder, url) == [{"lacking": {"loggers.optuna": 0}}]
    storage = optuna.storages.RDBStorage(os.path.expandvars(url))
    try:
        names = sorted(optuna.get_all_study_names(storage))
        assert names == ["bowls/loss", "bowls/steps"]
        trials = [trial for name in names for trial in optuna.load_study(study_name=name, storage=storage).trials]
        assert len(trials) == len({trial.user_attrs["trial_id"] for trial in trials}) == count
        pages = [
            get_from_dashboard(storage, path) for path in ("/dashboard/", "/api/studies", "/api/studies/1?after=0")
        ]
    finally:
        storage.engine.dispose()
    assert [status for status, _ in pages] == ["200 OK"] * 3
    assert {summary["study_name"] for summary in json.loads(pages[1][1])["study_summaries"]} == set(names)
    assert len(json.loads(pages[2][1])["trials"]) == count * 2 // 3


def get_from_dashboard(storage: Any, path: str) -> tuple[str, bytes]:
    """Return status and body of a page of optuna-dashboard."""
    from wsgiref.util import setup_testing_defaults

    dashboard = pytest.importorskip("optuna_dashboard", reason="needs optuna-dashboard")
    path, _, query = path.partition("?")
    environ: dict[str, Any] = {"PATH_INFO": path, "QUERY_STRING": query}
    setup_testing_defaults(environ)
    answer: list[str] = []
    body = b"".join(dashboard.wsgi(storage)(environ, lambda status, headers, info=None: answer.append(status)))
    return answer[0], body


def test_sqlite_there_and_back_with_the_same_optima(tmp_path: Path) -> None:
    store_study(tmp_path, STUDY)
    check(tmp_path, f"sqlite:///{tmp_path}/o.db", STUDY)
    loss = optima(read_source(tmp_path / "o.db", study="bowls/loss"), status="user_attrs_ending")
    assert_same_optima(loss, stored_optima(tmp_path, "loss"))
    steps = optima(read_source(tmp_path / "o.db", study="bowls/steps"))
    assert_same_optima(steps, stored_optima(tmp_path, "steps"))


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A PostgreSQL server of our own on a socket, as the URL of its database; the password is in a variable."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not binaries:
        pytest.skip("needs PostgreSQL's server under /usr/lib/postgresql")
    user = "nobody" if os.getuid() == 0 else ""
    if user and shutil.which("runuser") is None:
        pytest.skip("PostgreSQL runs as an ordinary user, and there is no runuser to become one")
    pytest.importorskip("psycopg2", reason="needs psycopg2-binary")
    import tempfile

    with tempfile.TemporaryDirectory(prefix="pg-") as place:  # a socket's path is 107 characters at most
        if user:
            shutil.chown(place, user)

        def command(name: str, *words: str) -> None:
            become = ["runuser", "-u", user, "--"] if user else []
            done = subprocess.run(
                [*become, str(binaries[-1] / name), *words], cwd=place, capture_output=True, text=True, timeout=120
            )
            assert done.returncode == 0, done.stderr

        secret = Path(place) / "secret"
        secret.write_text("sesame-4711\n")
        if user:
            shutil.chown(secret, user)
        data = f"{place}/data"
        command("initdb", "-D", data, "-U", "me", "-A", "scram-sha-256", f"--pwfile={secret}", "--no-sync")
        options = f"-c listen_addresses= -c unix_socket_directories={place} -c fsync=off"
        command("pg_ctl", "start", "-w", "-D", data, "-o", options, "-l", f"{place}/log")
        try:
            monkeypatch.setenv("OPTUNA_PASSWORD", "sesame-4711")
            yield f"postgresql+psycopg2://me:${{OPTUNA_PASSWORD}}@/postgres?host={place}"
        finally:
            command("pg_ctl", "stop", "-m", "immediate", "-D", data)


def test_postgresql_there_and_back(tmp_path: Path, server: str) -> None:
    study = config({"optuna": server})
    store_study(tmp_path, study)
    check(tmp_path, server, study)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"sesame" in path.read_bytes()]


def test_another_direction_in_the_storage_is_said_and_nothing_is_written(tmp_path: Path) -> None:
    store_study(tmp_path, STUDY, trials=2)
    url = f"sqlite:///{tmp_path}/o.db"
    optuna.create_study(study_name="bowls/loss", storage=url, direction="maximize")
    answers = write(tmp_path, url)
    assert "the study bowls/loss there has another direction" in answers[0]["say"]
    assert answers[-1] == {"lacking": {"loggers.optuna": 2}}
    assert optuna.load_study(study_name="bowls/loss", storage=url).trials == []
