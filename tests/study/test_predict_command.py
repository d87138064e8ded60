"""What ``batchlaw predict`` says, and how it refuses."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from analysis.laws import LAWS
from analysis.study_analysis import analyse
from study.cli import app
from tests.analysis.sweeps import one_step_sweep, parabola_sweep

from .test_cli import assert_one_line

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "results" / "reference" / "quick"
NO_CURVES = pd.DataFrame(columns=["trial_id", "step", "examples", "name", "value"])
PAIR = ("--from-batch-size", 64, "--from-learning-rate", 1e-3)


def predict(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["predict", *(str(argument) for argument in arguments)])


def answer(*arguments: object) -> dict:
    result = predict(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Steps to a target at five batch sizes, rates by the square root, and a second sweep whose name is hostile."""
    path = tmp_path_factory.mktemp("predict")
    first = one_step_sweep(lambda b: 0.01 * b**0.5, sweep="one", batch_sizes=(8, 16, 32, 64, 128), b_crit=32.0)
    other = parabola_sweep(lambda b: 0.01, sweep="\x1b[31m[bold]two", batch_sizes=(8, 16, 32, 64), noise=0.02)
    outcomes = {"one": "steps_to_target", "\x1b[31m[bold]two": "value_at_budget"}
    analysis = analyse(
        pd.concat([first, other]), NO_CURVES, outcomes=outcomes, laws={"sqrt": LAWS["sqrt"]}, resamples=40
    )
    analysis.write_tables(path)
    return path


def test_a_pair_and_a_law_need_no_folder() -> None:
    found = answer("--batch-size", 256, "--batch-size", 1024, *PAIR, "--law", "sqrt")["predictions"]
    assert [row["learning_rate"] for row in found] == pytest.approx([2e-3, 4e-3])
    assert [row["low"] for row in found] == [None, None]
    said = predict("--batch-size", 256, *PAIR, "--law", "saturating", "--parameter", "B_noise=64")
    assert "0.001 at batch size 64 becomes by saturating 0.0016 at batch size 256" in said.stdout
    assert "there is no interval, because the law is assumed" in said.stdout


def test_a_folder_gives_a_rate_with_its_interval(folder: Path) -> None:
    found = answer(folder, "--batch-size", 256, "--sweep", "one")["predictions"]
    assert len(found) == 1
    assert found[0]["learning_rate"] == pytest.approx(0.16, rel=0.15)
    assert found[0]["low"] < found[0]["learning_rate"] < found[0]["high"]
    assert found[0]["tested"] == [8.0, 128.0]
    assert found[0]["beyond"] == 2.0
    assert sum(law["weight"] for law in found[0]["laws"]) == pytest.approx(1.0)
    pair = answer(folder, "--batch-size", 64, "--sweep", "one", *PAIR)["predictions"][0]
    assert pair["learning_rate"] == pytest.approx(1e-3)


def test_every_sweep_answers_and_names_cannot_reach_the_terminal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    said = predict(folder, "--batch-size", 32).stdout
    assert "one: at batch size 32 the best rate is" in said
    assert "[31m[bold]two: at batch size 32 the best rate is" in said
    assert "\x1b" not in said
    rows = [line for line in said.splitlines() if line.startswith(("law ", *LAWS))]
    assert len(rows) > 10
    assert max(map(len, rows)) <= 80


def test_a_plan_says_what_more_devices_bring(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """B_crit = 32 and N = 32: two devices are 4/3 times faster, four 8/5 times."""
    given = (folder, "--sweep", "one", "--batch-size", 32, "--devices", "1,2,4")
    found = answer(*given, "--seconds-per-step", 2, "--price-per-device-hour", 3)
    assert [row["batch_size"] for row in found["predictions"]] == [32, 64, 128]
    plans = found["plans"][0]["plans"]
    assert [plan["speed_up"]["value"] for plan in plans] == pytest.approx([1, 4 / 3, 8 / 5], rel=0.1)
    for plan in plans:
        assert plan["hours"]["value"] == pytest.approx(plan["steps"]["value"] * 2 / 3600)
        assert plan["cost"]["value"] == pytest.approx(plan["hours"]["value"] * 3 * plan["devices"])
    monkeypatch.setenv("COLUMNS", "80")
    said = predict(*given, "--examples-per-second", 16, "--price-per-device-hour", 3).stdout
    assert "one: 4 devices in place of one (batch size 128 in place of 32) reach the target" in said
    assert "Communication is not modelled" in said
    rows = [line for line in said.splitlines() if line.strip().startswith(("devices", "1 ", "2 ", "4 "))]
    assert len(rows) == 8
    assert max(map(len, rows)) <= 80


def test_a_sweep_without_a_target_gets_rates_and_no_speed_up(folder: Path) -> None:
    given = answer(folder, "--sweep", "\x1b[31m[bold]two", "--batch-size", 8, "--devices", "1,2")
    assert [plan["status"] for plan in given["plans"][0]["plans"]] == ["not_identified"] * 2
    assert [row["status"] for row in given["predictions"]] == ["ok", "ok"]


def test_steps_alone_make_a_plan(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "steps.csv", tmp_path)
    given = answer(tmp_path, "--sweep", "one", "--batch-size", 32, "--devices", "2")
    assert given["predictions"] == []
    assert given["plans"][0]["plans"][0]["speed_up"]["value"] == pytest.approx(4 / 3, rel=0.1)
    assert_one_line(predict(tmp_path, "--batch-size", 32), "holds steps and no learning rates")


def test_a_studys_own_trials_tell_the_speed_of_a_device() -> None:
    given = answer(REFERENCE, "--sweep", "bert-mlm-adamw", "--batch-size", 32, "--devices", "1,2")
    hardware = given["plans"][0]["hardware"]
    assert 100 < hardware["examples_per_second"] < 1e5
    assert "5 trials with 32 examples a device and step on Intel" in hardware["origin"]
    assert all(plan["hours"]["value"] > 0 for plan in given["plans"][0]["plans"])


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["--batch-size says which batch size"]),
        (["--batch-size", "8"], ["without PLACE a law moves a known rate"]),
        (["--batch-size", "8", "--from-batch-size", "4"], ["one known pair: give both or neither"]),
        (["--batch-size", "x"], ["--batch-size", "number"]),
        (["--batch-size", "-8", *PAIR, "--law", "sqrt"], ["the batch size must be positive and finite, but got -8"]),
        (["--batch-size", "8", *PAIR, "--law", "cubic"], ["--law must be one of constant, sqrt", "'cubic'"]),
        (["--batch-size", "8", *PAIR, "--law", "saturating"], ["B_noise", "give --parameter B_noise=VALUE"]),
        (["--batch-size", "8", *PAIR, "--law", "power", "--parameter", "p"], ["--parameter is NAME=VALUE", "'p'"]),
        (["--batch-size", "8", *PAIR, "--law", "power", "--parameter", "p=x"], ["must be a number", "'x'"]),
        (["--batch-size", "8", *PAIR, "--law", "sqrt", "--devices", "2"], ["give PLACE"]),
        (["nowhere", "--batch-size", "8"], ["nowhere: no such folder"]),
        (["{folder}", "--batch-size", "8", "--sweep", "three"], ["--sweep must be one of", "'three'"]),
        (["{folder}", "--batch-size", "8", "--group", "N=1"], ["--group names a column of sweep, but got 'N'"]),
        (["{folder}", "--batch-size", "8", "--law", "cubic"], ["--law must be one of"]),
        (["{folder}", "--batch-size", "8", "--parameter", "p=1"], ["--parameter is for a law without measurements"]),
        (["{folder}", "--batch-size", "8", "--devices", "1,x"], ["whole numbers such as 1,2,4,8, but got '1,x'"]),
        (["{folder}", "--batch-size", "8", "--devices", "0"], ["whole numbers such as 1,2,4,8, but got '0'"]),
        (["{folder}", "--batch-size", "8", "--price-per-device-hour", "2"], ["add --devices"]),
        (["{folder}", "--batch-size", "8", "--devices", "2", "--price-per-device-hour", "2"], ["needs the speed"]),
        (
            ["{folder}", "--batch-size", "8", "--devices=2", "--examples-per-second=2", "--seconds-per-step=2"],
            ["say the same: give one"],
        ),
        (["{folder}", "--batch-size", "8", "--devices", "2", "--parallel-efficiency", "2"], ["share above 0"]),
    ],
)
def test_a_wrong_question_is_one_line(arguments: list, parts: list[str], folder: Path) -> None:
    assert_one_line(predict(*(str(argument).format(folder=folder) for argument in arguments)), *parts)


def test_groups_choose_sweeps(folder: Path, tmp_path: Path) -> None:
    cells = pd.read_csv(folder / "cells.csv")
    two = cells[cells["sweep"] != "one"].drop(columns="sweep")
    pd.concat([two.assign(width=width)[["width", *two.columns]] for width in (64, 256)]).to_csv(
        tmp_path / "cells.csv", index=False
    )
    found = answer(tmp_path, "--batch-size", 8, "--group", "width=256")["predictions"]
    assert [row["sweep"] for row in found] == ["width=256"]
    assert_one_line(predict(tmp_path, "--batch-size", 8, "--group", "width=1"), "--group width must be one of 64, 256")


def test_it_runs_without_the_trainers(folder: Path) -> None:
    code = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "ray", "optuna", "mlflow", "deepspeed", "transformers"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
from study.cli import main
sys.argv = ["batchlaw", "predict", "--batch-size", "256", "--from-batch-size", "64", "--from-learning-rate", "1e-3",
            "--law", "sqrt"]
main()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "0.001 at batch size 64 becomes by sqrt 0.002 at batch size 256" in done.stdout
