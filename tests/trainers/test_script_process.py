"""What surrounds a script: its folder, environment, input and output, launcher, and the report call."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from trainers.errors import SettingsError
from trainers.events import Measured
from trainers.guard import KEPT_BYTES
from trainers.reporting import REPORT_FILE, batchlaw_report
from trainers.script import Script, ScriptSettings
from trainers.script_reports import ScriptReports
from trainers.script_run import run_script
from trainers.workloads import load_workload

from .script_cases import ARGUMENTS, REPOSITORY, changed, run, settings, write_script

PLACE = ("RANK", "LOCAL_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def test_a_script_is_alone_whatever_place_the_studys_worker_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LOCAL_RANK above all: DeepSpeed asks for it, so a worker that has trained a class has set it."""
    for name in PLACE:
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("KEPT", "1")
    counted = f"len({{*os.environ}} & {{'KEPT', *{PLACE}}})"
    *_, last = run(tmp_path, changed(("theta**2 / 2", counted)))
    assert (last.status, last.value) == ("exhausted", 1.0)


def test_a_script_may_import_what_lies_beside_it_and_reads_no_input(tmp_path: Path) -> None:
    (tmp_path / "beside_the_script.py").write_text("START = 3.0\n")
    beside = ("theta = 1.0", "from beside_the_script import START as theta\ntheta += len(sys.stdin.read())")
    *_, last = run(tmp_path, changed(beside), trial={"budget": {"steps": 1}}, timeout_seconds=20.0)
    assert (last.status, last.value) == ("exhausted", pytest.approx((3.0 * 0.75) ** 2 / 2))


def test_of_much_output_the_end_alone_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    text = changed(("theta = 1.0", "theta = 1.0\nfor _ in range(8000): print('x' * 1000)"))
    script = Script(ScriptSettings(arguments=ARGUMENTS), path=str(write_script(tmp_path, text)))
    measured = (event for event in run_script(script, settings()) if isinstance(event, Measured))
    sizes = [path.stat().st_size for _ in measured for path in tmp_path.glob("batchlaw-*/output")]
    assert len(sizes) == 10
    assert max(sizes) <= KEPT_BYTES
    assert not list(tmp_path.glob("batchlaw-*"))


def test_the_last_words_are_found_behind_much_output(tmp_path: Path) -> None:
    say = "for _ in range(8000): print('x' * 1000)\nsys.exit('no memory')"
    *_, last = run(tmp_path, changed(("theta = 1.0", say)))
    assert (last.status, last.message) == ("failed", "bowl_script.py: exit status 1: no memory")


def test_a_launcher_starts_the_script(tmp_path: Path) -> None:
    launcher = ["env", "SAID=0.125", sys.executable]
    *_, last = run(tmp_path, changed(("theta**2 / 2", "float(os.environ['SAID'])")), launcher=launcher)
    assert (last.status, last.value) == ("exhausted", 0.125)


def test_a_launcher_that_is_not_there_is_a_failed_trial(tmp_path: Path) -> None:
    *_, last = run(tmp_path, launcher=["no-such-launcher", "-n2"])
    assert last.status == "failed"
    assert last.message == "bowl_script.py: exit status 127: no-such-launcher: No such file or directory"


@pytest.mark.slow  # torchrun imports torch, and so does each of its agents
def test_torchrun_starts_two_processes_and_the_first_is_heard(tmp_path: Path) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    *_, last = run(tmp_path, changed(("theta**2 / 2", "float(os.environ['WORLD_SIZE'])")), launcher=launcher)
    assert (last.status, last.value) == ("exhausted", 2.0)


def test_a_report_beyond_the_budget_is_brought_back_to_it_in_time_too() -> None:
    reports = ScriptReports(batch_size=4, total_steps=100)
    reports.read(b'{"step": 25, "metrics": {"loss": 2.0}}', seconds=9.0)
    reports.read(b'{"step": 90, "metrics": {"error": 1.0}}', seconds=12.0)
    measured = reports.read(b'{"step": 400, "metrics": {"loss": 1.0, "late": 3.0}}', seconds=105.0)
    # Half-way from 25 to 400 in log steps, and 10 of the 310 steps from 90 to 400.
    assert (measured.step, measured.examples, measured.train_seconds) == (100, 400, 15.0)
    assert measured.values == pytest.approx({"loss": 1.5})
    assert (reports.last_step_of("loss"), reports.last_step_of("error")) == (100, 90)
    assert reports.last_step_of("late") is None


def test_the_report_call_does_nothing_outside_a_study_and_on_other_ranks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(REPORT_FILE, raising=False)
    batchlaw_report(step=1, loss=0.5)
    report = tmp_path / "report"
    monkeypatch.setenv(REPORT_FILE, str(report))
    monkeypatch.setenv("RANK", "1")
    batchlaw_report(step=1, loss=0.5)
    assert not report.exists()
    monkeypatch.setenv("RANK", "0")
    batchlaw_report(step=1, loss=0.5, accuracy=1)
    assert json.loads(report.read_text()) == {"step": 1, "metrics": {"loss": 0.5, "accuracy": 1.0}}


def test_the_report_call_needs_nothing_but_python() -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); import reporting; reporting.batchlaw_report(step=1, loss=2.0)"
    command = [sys.executable, "-IS", "-c", code, str(REPOSITORY / "trainers")]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"arguments": ["{batch_size}"]}, r"must be told {learning_rate}, but no argument holds it"),
        ({"arguments": ["{batch_size}{learning_rate}{lr}"]}, r"may hold {batch_size}, .*, but one holds {lr}"),
        ({"arguments": ["{batch_size"]}, r"expected '}' before end of string in '{batch_size'"),
        ({"metrics": []}, "metrics"),
        ({"metrics": ["loss", "loss"]}, "must be named once"),
        ({"metrics": ["accuracy"], "loss_limit": 1.0}, "loss_limit is for the metric loss, but metrics are accuracy"),
        ({"loss_limit": float("nan")}, "loss_limit"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"metric": "loss"}, "metric is not a setting; did you mean metrics"),
    ],
)
def test_settings_of_a_script_that_make_no_sense_are_refused(
    tmp_path: Path, own: dict[str, object], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        load_workload(str(write_script(tmp_path)), own)


def test_a_script_that_is_not_there_is_named() -> None:
    with pytest.raises(SettingsError, match=r"there is no file 'nowhere\.py' \(seen from "):
        load_workload("nowhere.py", {})


def test_a_script_can_be_neither_probed_nor_taken_apart(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"write a class, as path/to/file\.py:ClassName"):
        load_workload(str(write_script(tmp_path)), {}).build_model(seed=0)
