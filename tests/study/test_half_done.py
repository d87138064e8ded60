"""A study's folder before the study is finished, filled without a cluster."""

import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from results import ResultStore
from study.baselines import BASELINES_FILE, read_baselines
from study.design import Design, PlannedTrial
from study.folder import write_study
from study.loading import load_study
from study.resolve import ResolvedStudy, resolve
from study.rows import failed, trial_row

from .studies import SWEEP, Study
from .test_cli import assert_one_line, batchlaw

FAST = {**SWEEP, "name": "fast", "batch_sizes": [2, 4, 8], "learning_rates": [0.125, 0.25, 0.5], "seeds": [0]}
SLOW = {**FAST, "name": "slow", "learning_rates": [0.01, 0.02, 0.04]}


@pytest.fixture
def resolved(study: Study) -> ResolvedStudy:
    path = study.write()
    path.write_text(yaml.safe_dump({"name": "bowls", "sweeps": [FAST, SLOW]}))
    return resolve(load_study(path))


def reached(trial: PlannedTrial) -> dict[str, Any]:
    steps = 10 + 4 * math.log2(trial.spec.learning_rate / 0.25) ** 2
    seconds = {"train_seconds": 1.0, "evaluate_seconds": 0.1, "setup_seconds": 0.1}
    return {"status": "reached", "message": "", "steps": 30, "steps_to_target": steps, "value": 0.004, **seconds}


def store(resolved: ResolvedStudy, out: Path | str, outcomes: dict[str, Any]) -> ResultStore:
    """Store what ``outcomes`` says of each sweep's trials: a function of the trial."""
    results = ResultStore(out)
    write_study(results, resolved.config)
    for trial in Design(resolved.config).trials({}):
        if trial.sweep in outcomes:
            arithmetic = resolved.arithmetic[trial.sweep, trial.spec.batch_size]
            outcome = outcomes[trial.sweep](trial)
            row = trial_row(trial, study="bowls", code_version="0", arithmetic=arithmetic, outcome=outcome)
            results.append(row)
    return results


def test_a_report_leaves_out_the_sweeps_of_which_nothing_is_stored_and_says_so(
    resolved: ResolvedStudy, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    store(resolved, out, {"fast": reached})
    result = batchlaw("report", out)
    assert result.exit_code == 0, result.output
    assert "slow: no trial is stored yet." in result.stdout
    assert "slow: no trial is stored yet." in (out / "report.html").read_text()
    assert "fast" in result.stdout
    status = batchlaw("status", out)
    assert "9 of 18 trials stored" in status.stdout


def test_a_folder_without_a_trial_of_the_study_is_one_line(resolved: ResolvedStudy, tmp_path: Path) -> None:
    store(resolved, tmp_path / "out", {})
    assert_one_line(batchlaw("report", tmp_path / "out"), "no trial of the study bowls is stored; run it first")


def test_a_resolved_study_runs_from_its_folder_with_the_same_trials(resolved: ResolvedStudy, tmp_path: Path) -> None:
    out = tmp_path / "elsewhere" / "out"
    store(resolved, out, {"fast": reached, "slow": reached})
    again = resolve(load_study(out / "study.yaml"))
    assert again.config == resolved.config
    trials = [Design(config).trials({}) for config in (again.config, resolved.config)]
    assert [t.trial_id for t in trials[0]] == [t.trial_id for t in trials[1]]
    before = (out / "study.yaml").read_text()
    result = batchlaw("run", out / "study.yaml", "--out", out, "--no-report")
    assert result.exit_code == 0, result.output
    assert "nothing to run: all 18 trials are stored" in result.stdout
    assert (out / "study.yaml").read_text() == before


def test_the_users_own_study_is_not_written_over(resolved: ResolvedStudy, study: Study) -> None:
    path = study.folder / "study.yaml"
    before = path.read_text()
    assert_one_line(batchlaw("run", path, "--out", study.folder), str(path), "would overwrite", "--out")
    assert path.read_text() == before


def test_failed_trials_are_named_with_the_way_to_run_them_again(resolved: ResolvedStudy, study: Study) -> None:
    out = study.folder / "out"
    store(resolved, out, {"fast": reached, "slow": lambda trial: failed("OSError: gone")})
    result = batchlaw("run", study.folder / "study.yaml", "--out", out, "--no-report")
    assert result.exit_code == 0, result.output
    assert "nothing to run" in result.stdout
    assert "failed, and fitted nowhere: 9 of 18 trials; the first: OSError: gone" in result.stdout
    assert "--retry-failed" in result.stdout


def test_a_finished_study_has_nothing_to_plan(resolved: ResolvedStudy, study: Study) -> None:
    out = study.folder / "out"
    store(resolved, out, {"fast": reached, "slow": reached})
    result = batchlaw("plan", study.folder / "study.yaml", "--out", out)
    assert result.stdout.splitlines()[-1] == "nothing to run: all 18 trials are stored"


def test_baselines_are_kept_before_anything_runs(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    out = study.folder / "out"
    found = {"bowl.py:Bowl": {"nothing": 0.5}}
    monkeypatch.setattr("study.baselines.measure_baselines", lambda _: found)

    def stop(*_: object, **__: object) -> None:
        assert read_baselines(ResultStore(out)) == found
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("study.launch.run_missing", stop)
    result = batchlaw("run", study.write(), "--out", out, "--no-report", "--quiet")
    assert result.exit_code == 2
    assert (out / BASELINES_FILE).exists()


def test_a_sweep_of_which_every_trial_failed_does_not_stop_the_report(resolved: ResolvedStudy, tmp_path: Path) -> None:
    out = tmp_path / "out"
    store(resolved, out, {"fast": reached, "slow": lambda trial: failed("OSError: gone")})
    result = batchlaw("report", out)
    assert result.exit_code == 0, result.output
    assert "slow" in result.stdout
