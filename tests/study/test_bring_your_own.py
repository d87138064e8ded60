"""What a user brings: a whole training script with its report call, a workload in a file, and the examples of both."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml
from typer.testing import CliRunner, Result

from results import ResultStore
from study.cli import app
from study.loading import load_study
from study.resolve import resolve
from trainers import guard
from trainers.errors import DataError, SettingsError
from trainers.events import Finished, Measured
from trainers.reporting import REPORT_FILE, batchlaw_report
from trainers.script import Script, ScriptSettings
from trainers.script_run import run_script
from trainers.settings import TrainSettings
from trainers.workloads import load_workload

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = REPOSITORY / "study" / "examples"

BOWL = f"""
import os, sys, time
sys.path.insert(0, {str(REPOSITORY)!r})
from trainers.reporting import batchlaw_report

batch_size, rate, seed, steps = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
theta = 1.0
for step in range(1, steps + 1):
    theta -= rate * theta
    batchlaw_report(step=step, loss=theta**2 / 2)
"""
"""Gradient descent down θ²/2 from 1: the loss after n steps is (1 − η)^(2n)/2."""

ARGUMENTS = ["{batch_size}", "{learning_rate}", "{seed}", "{steps}"]


def write_script(folder: Path, text: str = BOWL) -> Path:
    path = folder / "bowl_script.py"
    path.write_text(text)
    return path


def settings(**changes: Any) -> TrainSettings:
    values: dict[str, Any] = {
        "batch_size": 8,
        "learning_rate": 0.25,
        "seed": 0,
        "optimizer": "sgd",
        "optimizer_settings": {},
        "schedule": {"name": "constant"},
        "budget": {"steps": 10},
        "target": None,
        "evaluation": {},
        "engine": {},
    }
    return TrainSettings.from_dict(values | changes)


def run(folder: Path, text: str = BOWL, *, trial: dict[str, Any] | None = None, **own: Any) -> list[Any]:
    script = Script(ScriptSettings(arguments=ARGUMENTS, **own), path=str(write_script(folder, text)))
    return list(run_script(script, settings(**(trial or {}))))


def test_a_script_gets_the_trials_values_and_its_reports_are_the_curve(tmp_path: Path) -> None:
    *events, last = run(tmp_path, trial={"budget": {"steps": 4}})
    measured = [event for event in events if isinstance(event, Measured)]
    assert [event.step for event in measured] == [1, 2, 3, 4]
    assert [event.examples for event in measured] == [8, 16, 24, 32]
    assert [event.values["loss"] for event in measured] == pytest.approx([0.75 ** (2 * n) / 2 for n in range(1, 5)])
    assert isinstance(last, Finished)
    assert (last.status, last.steps, last.examples) == ("exhausted", 4, 32)
    assert last.value == pytest.approx(0.75**8 / 2)
    assert last.train_seconds > 0.0


def test_arguments_are_filled_in_and_a_launcher_stands_before_them(tmp_path: Path) -> None:
    path = write_script(tmp_path)
    arguments = ["{optimizer}", "--lr={learning_rate}", "{{kept}}", "{batch_size}", "{seed}/{steps}"]
    script = Script(ScriptSettings(arguments=arguments, launcher=["torchrun", "-n2"]), path=str(path))
    trial = settings(learning_rate=1.25e-5, seed=3, batch_size=16, budget={"examples": 320})
    expected = ["torchrun", "-n2", str(path), "sgd", "--lr=1.25e-05", "{kept}", "16", "3/20"]
    assert script.command("python", trial) == expected


def test_the_target_is_crossed_between_reports_and_ends_the_run(tmp_path: Path) -> None:
    target = {"metric": "loss", "mode": "min", "value": 0.005}
    trial = {"target": target, "budget": {"steps": 1000, "stop_at_target": True}}
    *_, last = run(tmp_path, trial=trial)
    assert last.status == "reached"
    assert last.steps == 9  # (3/4)^16/2 = 0.00501 misses it, (3/4)^18/2 = 0.0028 meets it
    assert last.steps_to_target == pytest.approx(math.log(0.01) / (2 * math.log(0.75)), abs=0.5)
    *_, whole = run(tmp_path, trial={**trial, "budget": {"steps": 20}})
    assert (whole.status, whole.steps) == ("reached", 20)
    assert whole.steps_to_target == pytest.approx(last.steps_to_target)


EACH_30 = BOWL.replace("    batchlaw_report", "    if step % 30 == 0: batchlaw_report").replace("steps + 1", "10**9")


def test_an_endless_script_is_stopped_at_its_first_report_beyond_the_budget(tmp_path: Path) -> None:
    *events, last = run(tmp_path, EACH_30, trial={"budget": {"steps": 100}})
    assert [event.step for event in events if isinstance(event, Measured)] == [30, 60, 90, 120]
    assert (last.status, last.steps) == ("exhausted", 120)
    *events, last = run(tmp_path, EACH_30, trial={"budget": {"steps": 60}})
    assert [event.step for event in events if isinstance(event, Measured)] == [30, 60]
    assert (last.status, last.steps) == ("exhausted", 60)


def test_a_loss_that_explodes_is_divergence(tmp_path: Path) -> None:
    *_, last = run(tmp_path, trial={"learning_rate": 4.0}, loss_limit=100.0)
    assert (last.status, last.steps) == ("diverged", 3)  # 3^6/2 is the first above 100
    assert last.message == "loss is 364.5, above the limit 100, after 3 steps"
    assert math.isnan(last.value)
    *_, last = run(tmp_path, BOWL.replace("theta**2 / 2", "float('nan')"))
    assert (last.status, last.message) == ("diverged", "loss is nan after 1 steps")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("theta = 1.0", "raise ValueError('no such\\ndata set')", "exit status 1: data set"),
        ("theta = 1.0", "sys.exit(3)", "exit status 3: no output"),
        ("theta = 1.0", "os.kill(os.getpid(), 9)", "killed by signal 9: no output"),
        ("theta = 1.0", "print('\\x1b[31mred'); sys.exit(1)", "exit status 1:  [31mred"),
        ("theta = 1.0", "sys.exit(0)", "reported nothing; call batchlaw_report(step=…, …) of trainers.reporting"),
        ("loss=theta", "error=theta", "never reported loss; call batchlaw_report(step=…, loss=…)"),
        ("step=step", "step=1", "each report must be of a later step, but 1 comes after 1"),
        ("range(1, steps + 1)", "range(1, 4)", "ended at step 3 of 10; report the last step, or set the budget to"),
        ("theta = 1.0", "open(os.environ['BATCHLAW_REPORT'], 'a').write('[1]\\n')", "a report must be one of"),
        ("for step", "time.sleep(60)\nfor step", "stopped after 0.3 s (timeout_seconds) at step 0"),
    ],
)
def test_what_goes_wrong_is_a_failed_trial_with_its_reason(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in BOWL
    timeout = 0.3 if "timeout" in message else None
    *_, last = run(tmp_path, BOWL.replace(old, new), timeout_seconds=timeout)
    assert last.status == "failed"
    assert last.message.startswith(f"bowl_script.py: {message}")
    assert math.isnan(last.value)
    assert len(last.message.splitlines()) == 1


def test_a_target_met_before_training_is_a_failed_trial(tmp_path: Path) -> None:
    early = BOWL.replace("theta = 1.0", "theta = 1.0\nbatchlaw_report(step=0, loss=0.5)")
    *_, last = run(tmp_path, early, trial={"target": {"metric": "loss", "mode": "min", "value": 0.6}})
    assert last.status == "failed"
    assert last.message == "the target 0.6 is met before training (0.5); set a harder one"


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


STARTS_A_CHILD = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""
STARTS_A_GUARD = """
import subprocess, sys, time
command = [sys.executable, "-IS", sys.argv[1], sys.executable, "-c", sys.argv[2]]
guard = subprocess.Popen(command, stdin=subprocess.PIPE)
time.sleep(600)
"""


def test_nothing_of_a_script_outlives_a_worker_that_is_killed() -> None:
    psutil = pytest.importorskip("psutil")
    command = [sys.executable, "-c", STARTS_A_GUARD, guard.__file__, STARTS_A_CHILD]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        grandchild = psutil.Process(int(worker.stdout.readline()))
        family = [*psutil.Process(worker.pid).children(recursive=True)]
        assert grandchild in family
        worker.send_signal(signal.SIGKILL)
        _, alive = psutil.wait_procs(family, timeout=30)
    assert alive == []


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"arguments": ["{batch_size}"]}, r"must be told {learning_rate}, but no argument holds it"),
        ({"arguments": ["{batch_size}{learning_rate}{lr}"]}, r"may hold {batch_size}, .*, but one holds {lr}"),
        ({"arguments": ["{batch_size"]}, r"expected '}' before end of string in '{batch_size'"),
        ({"metrics": []}, "metrics"),
        ({"metrics": ["loss", "loss"]}, "must be named once"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"metric": "loss"}, "metric is not a setting; did you mean metrics"),
    ],
)
def test_settings_of_a_script_that_make_no_sense_are_refused(tmp_path: Path, own: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_workload(str(write_script(tmp_path)), own)


def test_a_script_that_is_not_there_is_named() -> None:
    with pytest.raises(SettingsError, match=r"there is no file 'nowhere\.py' \(seen from "):
        load_workload("nowhere.py", {})


def test_a_script_can_be_neither_probed_nor_taken_apart(tmp_path: Path) -> None:
    path = write_script(tmp_path)
    study = yaml.safe_load((EXAMPLES / "own_script.yaml").read_text())
    study["sweeps"][0] |= {"workload": path.name, "probes": {"fractions": [0.5]}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    result = CliRunner().invoke(app, ["plan", str(tmp_path / "study.yaml")])
    assert result.exit_code == 2
    assert "probes: the script bowl_script.py trains by itself, so nothing can be measured in it" in result.stderr
    with pytest.raises(SettingsError, match=r"write a class, as path/to/file\.py:ClassName"):
        load_workload(str(path), {}).build_model(seed=0)


def test_a_trials_id_does_not_depend_on_where_the_script_lies(tmp_path: Path) -> None:
    specs = []
    for folder in (tmp_path / "here", tmp_path / "there"):
        folder.mkdir()
        for name in ("own_script.py", "own_script.yaml"):
            (folder / name).write_text((EXAMPLES / name).read_text())
        resolved = resolve(load_study(folder / "own_script.yaml"))
        assert resolved.config.workload_folder == str(folder)
        specs.append(dataclasses.replace(resolved, folder=tmp_path).config.sweeps)
    assert specs[0] == specs[1]
    assert specs[0][0].workload == "own_script.py"


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """A folder in the format of the Hugging Face library: two kinds of texts that one word tells apart."""

    def split(count: int) -> datasets.Dataset:
        texts = [f"film {k % 7} was {'good' if k % 2 else 'bad'} indeed" for k in range(count)]
        return datasets.Dataset.from_dict({"text": texts, "label": [k % 2 for k in range(count)]})

    datasets.DatasetDict({"train": split(64), "validation": split(16)}).save_to_disk(str(tmp_path / "reviews"))
    return tmp_path / "reviews"


def test_the_examples_plans_are_shown(reviews: Path) -> None:
    for name in ("own_script", "own_workload"):
        result = CliRunner().invoke(app, ["plan", str(EXAMPLES / f"{name}.yaml")])
        assert result.exit_code == 0, result.output
        assert "25 trials" in result.stdout


def test_the_examples_workload_names_data_that_cannot_be_had(tmp_path: Path) -> None:
    workload = load_workload(f"{EXAMPLES}/own_workload.py:TextClassification", {"dataset": str(tmp_path)})
    with pytest.raises(DataError, match=r"can't be loaded: \w+: "):
        workload.prepare()


def batchlaw_run(path: Path, out: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["run", str(path), "--out", str(out), "--quiet", "--no-report", *options])


def test_a_study_of_a_script_and_of_a_class_of_ones_own_runs_and_goes_on(tmp_path: Path, reviews: Path) -> None:
    """A 2 × 2 grid of each example, and of a script whose trials end in every way."""
    sweeps = [yaml.safe_load((EXAMPLES / f"{name}").with_suffix(".yaml").read_text())["sweeps"][0] for name in FILES]
    for sweep, name in zip(sweeps, FILES, strict=True):
        sweep["workload"] = sweep["workload"].replace(name, str(EXAMPLES / name))
        sweep |= {"batch_sizes": [16, 32], "extend": {}}
    sweeps[0] |= {"budget": {"steps": 40}, "learning_rates": [0.1, 0.4], "outcome": "value_at_budget"}
    sweeps[1] |= {"budget": {"steps": 60}, "learning_rates": [0.01, 0.1]}
    sweeps[1]["workload_settings"] = {"dataset": str(reviews), "buckets": 1000}
    write_script(tmp_path, BOWL.replace("theta = 1.0", "theta = 1.0\nif batch_size == 3: sys.exit('no memory')"))
    endings = {
        "name": "endings",
        "workload": "bowl_script.py",
        "workload_settings": {"arguments": ARGUMENTS, "loss_limit": 100.0},
        "target": {"value": 0.005},
        "outcome": "steps_to_target",
        "optimizer": "sgd",
        "batch_sizes": [2, 3],
        "learning_rates": [0.25, 4.0],
        "budget": {"steps": 40},
    }
    path, out = tmp_path / "study.yaml", tmp_path / "out"
    path.write_text(yaml.safe_dump({"name": "own", "sweeps": [*sweeps, endings]}))
    first = batchlaw_run(path, out)
    assert first.exit_code == 0, first.output
    assert "12 of 12 trials to run" in first.stdout
    stored = ResultStore(out).read()
    rows = stored.trials.set_index("sweep")
    script = rows.loc["digits-sgd"]
    assert set(script["status"]) == {"exhausted"}
    assert (script["value"] < math.log(10)).all(), "what it learned beats a uniform guess over ten digits"
    assert (script["examples"] == 40 * script["batch_size"]).all()
    points = stored.curves[stored.curves["trial_id"].isin(script["trial_id"])]
    assert sorted(set(points["step"])) == [20, 40]
    assert set(points["name"]) == {"loss"}
    assert set(rows.loc["text-adamw", "status"]) == {"reached"}
    ends = {(row.batch_size, row.learning_rate): row for row in rows.loc["endings"].itertuples()}
    assert ends[2, 0.25].status == "reached"
    assert ends[2, 4.0].status == "diverged"
    assert {ends[3, rate].message for rate in (0.25, 4.0)} == {"bowl_script.py: exit status 1: no memory"}
    assert (rows.loc["endings", "workload"] == "bowl_script.py").all()

    # The script is put right, and failed trials alone run again, from the resolved study that lies with the results.
    write_script(tmp_path)
    again = batchlaw_run(out / "study.yaml", out, "--retry-failed")
    assert again.exit_code == 0, again.output
    assert "2 of 12 trials to run" in again.stdout
    assert set(ResultStore(out).trials()["trial_id"]) == set(rows["trial_id"])
    assert not any(name.startswith("batchlaw-") for name in os.listdir(tmp_path))


FILES = ("own_script.py", "own_workload.py")
