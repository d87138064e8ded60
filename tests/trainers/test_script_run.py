"""One trial of a script: its values, its reports, what they mean and how it ends."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from trainers import script_run
from trainers.events import Finished, Measured
from trainers.script import Script, ScriptSettings

from .script_cases import changed, run, settings, write_script


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


EACH_30 = changed(
    ("    batchlaw_report", "    if step % 30 == 0: batchlaw_report"),
    ("steps + 1", "10**9"),
    ("theta**2 / 2", "math.log(step)"),
)
"""Endless; its loss is a straight line in log steps, which is how a value between two reports is found."""


@pytest.mark.parametrize(
    ("total", "goal", "steps_to_target"),
    [(100, 50.0, 50.0), (100, 95.0, 95.0), (100, 110.0, None), (60, 70.0, None), (60, 45.0, 45.0)],
)
def test_an_endless_script_is_stopped_and_counts_up_to_the_budget(
    tmp_path: Path, total: int, goal: float, steps_to_target: float | None
) -> None:
    target = {"metric": "loss", "mode": "max", "value": math.log(goal)}
    *events, last = run(tmp_path, EACH_30, trial={"budget": {"steps": total}, "target": target})
    steps = [30, 60] if total == 60 else [30, 60, 90, 100]
    assert [event.step for event in events if isinstance(event, Measured)] == steps
    assert (last.status, last.steps) == ("exhausted" if steps_to_target is None else "reached", total)
    assert last.value == pytest.approx(math.log(total))
    assert last.steps_to_target == (None if steps_to_target is None else pytest.approx(steps_to_target))


def test_a_script_whose_first_report_lies_beyond_the_budget_has_failed(tmp_path: Path) -> None:
    *_, last = run(tmp_path, EACH_30, trial={"budget": {"steps": 20}})
    assert last.status == "failed"
    assert last.message.startswith("bowl_script.py: never reported loss up to step 20; call batchlaw_report(")


def test_a_loss_that_explodes_is_divergence(tmp_path: Path) -> None:
    *_, last = run(tmp_path, trial={"learning_rate": 4.0}, loss_limit=100.0)
    assert (last.status, last.steps) == ("diverged", 3)  # 3^6/2 is the first above 100
    assert last.message == "loss is 364.5, above the limit 100, after 3 steps"
    assert math.isnan(last.value)
    *_, last = run(tmp_path, changed(("theta**2 / 2", "float('nan')")))
    assert (last.status, last.message) == ("diverged", "loss is nan after 1 steps")


def test_any_metric_of_the_studys_can_diverge_and_the_limit_is_the_losss_alone(tmp_path: Path) -> None:
    script = changed(("loss=theta**2 / 2", "accuracy=90.0, loss=theta**2 / 2, other=math.nan"))
    target = {"target": {"metric": "accuracy", "mode": "max"}}
    *_, last = run(tmp_path, script, metrics=["accuracy", "loss"], loss_limit=1.0, trial=target)
    assert (last.status, last.value) == ("exhausted", 90.0)
    explodes = target | {"learning_rate": 4.0}
    *_, last = run(tmp_path, script, metrics=["accuracy", "loss"], loss_limit=100.0, trial=explodes)
    assert (last.status, last.message) == ("diverged", "loss is 364.5, above the limit 100, after 3 steps")
    *_, last = run(tmp_path, script, metrics=["accuracy", "loss", "other"], trial=target)
    assert (last.status, last.message) == ("diverged", "other is nan after 1 steps")
    assert math.isnan(last.value)


LOSS_UP_TO_8 = "**{'loss' if step <= 8 else 'error': theta})"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("theta = 1.0", "raise ValueError('no such\\ndata set')", "exit status 1: data set"),
        ("theta = 1.0", "sys.exit(3)", "exit status 3: no output"),
        ("theta = 1.0", "sys.exit(-1)", "exit status 255: no output"),
        ("theta = 1.0", "os.kill(os.getpid(), 9)", "killed by signal 9: no output"),
        ("theta = 1.0", "print('\\x1b[31mred'); sys.exit(1)", "exit status 1:  [31mred"),
        ("theta = 1.0", "sys.exit(0)", "reported nothing; call batchlaw_report(step=…, …) of trainers.reporting"),
        ("loss=theta", "error=theta", "never reported loss up to step 10; call batchlaw_report(step=…, loss=…)"),
        ("loss=theta**2 / 2)", LOSS_UP_TO_8, "last reported loss at step 8 of 10; report it at the last step"),
        ("step=step", "step=1", "each report must be of a later step, but 1 comes after 1"),
        ("range(1, steps + 1)", "range(1, 4)", "ended at step 3 of 10; report the last step, or set the budget to"),
        ("theta = 1.0", "open(os.environ['BATCHLAW_REPORT'], 'a').write('[1]\\n')", "a report must be one of"),
        (
            "theta = 1.0",
            "open(os.environ['BATCHLAW_REPORT'], 'a').write('{\"step\": 1e999, \"metrics\": {}}\\n')",
            "a report must be one of",
        ),
        ("for step", "time.sleep(60)\nfor step", "stopped after 0.3 s (timeout_seconds) at step 0"),
    ],
)
def test_what_goes_wrong_is_a_failed_trial_with_its_reason(tmp_path: Path, old: str, new: str, message: str) -> None:
    timeout = 0.3 if "timeout" in message else None
    *_, last = run(tmp_path, changed((old, new)), timeout_seconds=timeout)
    assert last.status == "failed"
    assert last.message.startswith(f"bowl_script.py: {message}")
    assert math.isnan(last.value)
    assert len(last.message.splitlines()) == 1


def test_a_target_met_before_training_is_a_failed_trial(tmp_path: Path) -> None:
    early = changed(("theta = 1.0", "theta = 1.0\nbatchlaw_report(step=0, loss=0.5)"))
    *_, last = run(tmp_path, early, trial={"target": {"metric": "loss", "mode": "min", "value": 0.6}})
    assert last.status == "failed"
    assert last.message == "the target 0.6 is met before training (0.5); set a harder one"


@pytest.mark.parametrize("end", ["time.sleep(600)", "sys.exit(3)"])
def test_a_script_that_has_reported_the_last_step_may_end_as_it_likes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(script_run, "LAST_SECONDS", 0.2)
    *_, last = run(tmp_path, f"{changed()}\n{end}\n", timeout_seconds=20.0)
    assert (last.status, last.message, last.steps) == ("exhausted", "", 10)
    assert last.value == pytest.approx(0.75**20 / 2)
