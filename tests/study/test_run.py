"""Whole studies on Ray: what is stored after success, trouble and crashes."""

from __future__ import annotations

import json
import math
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from results import ResultStore
from study.cli import app

from .event_files import read_scalars
from .studies import Study

REPOSITORY = Path(__file__).resolve().parents[2]


def run(path: Path, out: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["run", str(path), "--out", str(out), "--quiet", "--no-report", *options])


def trials(out: Path) -> pd.DataFrame:
    return ResultStore(out).trials()


def steps_of_the_bowl(rate: float) -> float:
    """Steps at which (1 − η)^(2n)/2 meets 0.005."""
    return math.log(0.01) / (2 * math.log(abs(1 - rate)))


def test_a_study_runs_once_and_an_extended_grid_runs_what_is_new(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    out = study.folder / "out"
    sweep: dict[str, Any] = {
        "resources": {"max_concurrent": 1},
        "workload_settings": {"explode_at": 8},
        "batch_sizes": [2, 8],
        "learning_rates": [0.25, 4.0],
        "evaluation": {"growth": 1.01},
    }
    first = run(study.write(**sweep), out)
    assert first.exit_code == 0, first.output
    assert "8 of 8 trials to run" in first.stdout
    rows = trials(out)
    assert len(rows) == rows["trial_id"].nunique() == 8
    assert sorted(p.name for p in out.iterdir()) == ["compacted", "parts", "study.yaml"]

    # A raising trial is a failed row; the others go on.
    failed = rows[rows["batch_size"] == 8]
    assert set(failed["status"]) == {"failed"}
    assert set(failed["message"]) == {"RuntimeError: no such data"}
    assert failed["value"].isna().all()
    # A loss that grows beyond its limit is data.
    assert set(rows[(rows["batch_size"] == 2) & (rows["learning_rate"] == 4.0)]["status"]) == {"diverged"}
    reached = rows[(rows["batch_size"] == 2) & (rows["learning_rate"] == 0.25)]
    assert set(reached["status"]) == {"reached"}
    # An evaluation at every step, and the crossing interpolated inside the last one.
    assert reached["steps_to_target"].tolist() == pytest.approx([steps_of_the_bowl(0.25)] * 2, abs=0.5)
    assert reached["hardware"].str.len().gt(0).all()
    assert reached["code_version"].str.match(r"^(\d|unreleased)").all()
    assert reached["started_at"].str.endswith("+00:00").all()
    curves = ResultStore(out).curves()
    assert set(curves["name"]) == {"loss", "train_loss"}

    second = run(study.write(**sweep), out)
    assert second.exit_code == 0, second.output
    assert "nothing to run: all 8 trials are stored" in second.stdout
    assert "failed, and fitted nowhere: 4 of 8 trials; the first: RuntimeError: no such data" in second.stdout

    # What made trials fail is put right, and they are asked for again: the same trials, no others.
    path = study.write(**sweep)
    workload = study.folder / "bowl.py"
    workload.write_text(workload.read_text().replace("if batch_size == self.settings.explode_at", "if False"))
    retried = run(path, out, "--retry-failed")
    assert retried.exit_code == 0, retried.output
    assert "4 of 8 trials to run" in retried.stdout
    assert "failed" not in retried.stdout
    rows, before = trials(out).set_index("trial_id"), rows.set_index("trial_id")
    assert set(rows.index) == set(before.index)
    assert set(rows["status"]) == {"reached", "diverged"}
    pd.testing.assert_frame_equal(rows[rows["batch_size"] == 2], before.loc[rows[rows["batch_size"] == 2].index])
    rows = rows.reset_index()

    # The grid grows by four trials, and the disk is full at the second of them.
    append, calls = ResultStore.append, []

    def refuse(self: ResultStore, *arguments: object) -> None:
        calls.append(arguments)
        if len(calls) > 1:
            raise OSError(28, "No space left on device", str(out))
        append(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ResultStore, "append", refuse)
    third = run(study.write(**{**sweep, "learning_rates": [0.25, 0.5, 4.0], "batch_sizes": [2, 8]}), out)
    assert "4 of 12 trials to run" in third.stdout
    assert third.exit_code == 2
    assert third.stderr.splitlines()[-1].startswith(f"batchlaw: {out}: the disk is full")
    assert set(rows["trial_id"]) < set(trials(out)["trial_id"])
    assert len(trials(out)) == 9
    # Nothing half-written, nothing left behind in the home folder.
    assert not [p for p in out.rglob("*") if p.name.endswith(".tmp")]
    assert not list(Path(os.environ["HOME"]).iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)])
def test_a_struck_study_goes_on_where_it_stopped(study: Study, number: signal.Signals) -> None:
    psutil = pytest.importorskip("psutil")
    out, pipe = study.folder / "out", study.folder / "pipe"
    os.mkfifo(pipe)
    # The last seed's trials wait until the test reads, so the driver is struck in the middle, with no waiting about.
    sweep = {
        "batch_sizes": [2],
        "learning_rates": [0.125, 0.25, 0.5],
        "seeds": [0, 1, 2],
        "workload_settings": {"announce_seed": 2, "pipe": str(pipe)},
    }
    path = study.write(resources={"max_concurrent": 1}, loggers={"tensorboard": True}, **sweep)
    command = [sys.executable, "-c", "from study.cli import main; main()", "run", str(path), "--out", str(out)]
    command += ["--quiet", "--no-report"]

    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    driver = subprocess.Popen(command, cwd=study.folder, env=environment, stdout=subprocess.DEVNULL)
    with open(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)) as reader:
        assert select.select([reader], [], [], 300)[0], f"no trial of the last seed began; driver: {driver.poll()}"
        assert reader.readline() == "begun\n"
        children = psutil.Process(driver.pid).children(recursive=True)
        if number == signal.SIGKILL:  # Ray's own two agents notice the driver's sudden death a minute later
            children = [child for child in children if "Agent" not in "".join(child.cmdline())]
        driver.send_signal(number)
        assert driver.wait(timeout=120) == {signal.SIGINT: 130, signal.SIGKILL: -signal.SIGKILL}[number]
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []
    before = set(trials(out)["trial_id"])
    # Seed 0 of the three rates, then seed 1 of the first of them; the trial that was struck had perhaps just ended.
    order = sorted(zip(trials(out)["seed"], trials(out)["learning_rate"], strict=True))
    assert order in ([(0, 0.125), (0, 0.25), (0, 0.5), (1, 0.125)][:n] + [(2, 0.125)] * (n > 4) for n in (4, 5))

    pipe.unlink()
    pipe.touch()  # nobody waits any more
    done = run(path, out)
    assert done.exit_code == 0, done.output
    rows = trials(out)
    assert before < set(rows["trial_id"])
    assert len(rows) == rows["trial_id"].nunique() == 9
    specs = {(s["learning_rate"], s["seed"]) for s in map(json.loads, rows["spec"])}
    assert specs == {(rate, seed) for rate in (0.125, 0.25, 0.5) for seed in (0, 1, 2)}
    assert set(rows["status"]) == {"reached"}
    # What TensorBoard shows has each trial once, with the one curve that is stored.
    shown = {
        path.name[-16:]: read_scalars(path)["ray/tune/loss"] for path in (out / "loggers").glob("tensorboard/bowl/*")
    }
    assert set(shown) == set(rows["trial_id"])
    for trial_id, curve in ResultStore(out).curves().query("name == 'loss'").groupby("trial_id"):
        assert [step for step, _ in shown[str(trial_id)]] == curve["step"].tolist()
