"""A study on Ray with tools to tell: what they show is what is stored, also after they were lost."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from analysis.sources import read_source
from results import ResultStore
from study.cli import app

from .event_files import read_scalars
from .studies import SWEEP, Study


@pytest.mark.slow  # that a study tells its tools at all, and once after crashes, is in test_run
def test_what_a_running_study_tells_is_what_it_stores(study: Study) -> None:
    pytest.importorskip("optuna", reason="needs Optuna: pip install 'batchlaw[optuna]'")
    out = study.folder / "out"
    study.write()
    settings = {"name": "bowls", "loggers": {"tensorboard": True, "optuna": "sqlite:///o.db"}, "sweeps": [SWEEP]}
    path = study.write_text(yaml.safe_dump(settings, sort_keys=False))
    command = ["run", str(path), "--out", str(out), "--quiet", "--no-report"]
    ran = CliRunner().invoke(app, command)
    assert ran.exit_code == 0, ran.output
    assert "loggers" not in ran.output

    stored = ResultStore(out).read()
    check_event_files(out)
    check_optuna(out)
    assert len(stored.trials) == 8

    (out / "o.db").unlink()
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 0, again.output
    assert "nothing to run: all 8 trials are stored" in again.stdout
    assert "loggers.optuna: 8 trials to write" in again.stderr
    check_optuna(out)
    assert ResultStore(out).read().trials.equals(stored.trials)


def check_event_files(out: Path) -> None:
    curves = ResultStore(out).curves()
    runs = {path.name[-16:]: read_scalars(path) for path in (out / "loggers" / "tensorboard").glob("bowl/*")}
    assert set(runs) == set(curves["trial_id"])
    for (trial_id, name), points in curves.groupby(["trial_id", "name"]):
        shown = runs[str(trial_id)][f"ray/tune/{name}"]
        assert [step for step, _ in shown] == points["step"].tolist()
        assert [value for _, value in shown] == pytest.approx(points["value"].tolist(), rel=1e-6)


def check_optuna(out: Path) -> None:
    trials = ResultStore(out).trials().set_index("trial_id")
    table = read_source(out / "o.db", study="bowls/bowl").runs.set_index("user_attrs_trial_id")
    assert set(table.index) == set(trials.index)
    assert table["value"].to_dict() == trials["steps_to_target"].to_dict()
    assert set(table["state"]) == {"COMPLETE"}
