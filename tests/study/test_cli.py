"""What a user meets on the command line, as far as no trial is run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from study.cli import app
from study.listing import short_count
from study.loading import presets
from study.lock import LOCK_FILE, locked
from trainers.workloads import WORKLOADS, find_workload

from .studies import Study

REPOSITORY = Path(__file__).resolve().parents[2]


def batchlaw(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def assert_one_line(result: Result, *parts: str) -> None:
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("batchlaw: ")
    for part in parts:
        assert part in result.stderr


def test_plan_shows_the_arithmetic_and_runs_nothing(study: Study) -> None:
    path = study.write(
        batch_sizes=[8, 16], learning_rates=[0.1, 0.2, 0.4], engine={"micro_batch_size": 2}, budget={"examples": 160}
    )
    out = study.folder / "out"
    result = batchlaw("plan", path, "--out", out)
    assert result.exit_code == 0, result.output
    assert "2×4×1" in result.stdout
    assert "2×8×1" in result.stdout
    assert "3: 0.1–0.4" in result.stdout
    assert "0/6" in result.stdout
    # 2 batch sizes x 3 rates x 2 seeds of 160 examples
    assert "12 trials, 0 stored, 12 to run: at most 1,920 examples; cost unknown" in result.stdout
    assert not out.exists()


def test_plan_refuses_an_impossible_cell(study: Study) -> None:
    path = study.write(engine={"micro_batch_size": 3})
    assert_one_line(batchlaw("plan", path), "batch_size must be a multiple", "got 4 with 1 x 3")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["plan", "nowhere.yaml"], ["nowhere.yaml: no such file", "presets: "]),
        (["plan"], ["Missing argument 'STUDY'"]),
        (["plan", "quadratic", "--bogus"], ["No such option: --bogus"]),
        (["bogus"], ["No such command 'bogus'"]),
        (["status", "nowhere"], ["nowhere: holds no study.yaml"]),
        (["report", "nowhere"], ["nowhere: holds no study.yaml"]),
        (["data", "fetch", "nothing"], ["nothing"]),
    ],
)
def test_a_wrong_command_is_one_line(
    arguments: list[str], parts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_one_line(batchlaw(*arguments), *parts)


def test_a_folder_that_cannot_be_made_is_named(study: Study) -> None:
    path = study.write()
    assert_one_line(batchlaw("run", path, "--out", path / "out"), str(path), "Not a directory")


def test_a_folder_that_must_not_be_written_is_named_with_a_way_out(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, **_: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    out = study.folder / "out"
    result = batchlaw("run", study.write(), "--out", out)
    assert_one_line(result, f"{out}: must be readable and writable", "Permission denied", "--out DIR")


def test_two_runs_in_one_folder_are_refused_before_anything_is_written(study: Study) -> None:
    out = study.folder / "out"
    with locked(out):
        assert_one_line(batchlaw("run", study.write(), "--out", out), str(out), "one run at a time", str(os.getpid()))
        assert [p.name for p in out.iterdir()] == [LOCK_FILE]


WITHOUT = """
import sys
for name in {blocked}:
    sys.modules[name] = None
from study.cli import main
sys.argv = ["batchlaw", *{arguments}]
main()
"""


@pytest.mark.parametrize("arguments", [["workloads"], ["plan", "quadratic"], ["run", "quadratic"]])
def test_without_the_trainers_the_extra_is_named(arguments: list[str]) -> None:
    code = WITHOUT.format(blocked=["torch", "ray"], arguments=arguments)
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines() == [
        "batchlaw: this command needs the trainers: pip install 'batchlaw[train]' (there is no torch here)"
    ]


UNPREPARED = """
from bowl import Bowl


class Torn(Bowl):
    name = "torn"

    def prepare(self):
        raise KeyError("no column\\nsecond line")
"""


def test_a_workload_that_cannot_prepare_is_one_line(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    path = study.write(workload="torn.py:Torn")
    (study.folder / "torn.py").write_text(UNPREPARED)
    monkeypatch.syspath_prepend(str(study.folder))
    out = study.folder / "out"
    assert_one_line(batchlaw("run", path, "--out", out), "workload torn.py:Torn (sweep bowl)", "KeyError")
    assert not out.exists()


def test_a_full_disk_is_named_before_anything_runs(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")  # as the system raises it: without a file name

    monkeypatch.setattr("os.fsync", refuse)
    out = study.folder / "out"
    assert_one_line(batchlaw("run", study.write(), "--out", out), f"{out}/study.yaml: the disk is full")
    assert not out.exists()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:10001"])
def test_a_cluster_that_does_not_answer_is_told_at_once(address: str, study: Study) -> None:
    result = batchlaw("run", study.write(), "--out", study.folder / "out", "--address", address, "--quiet")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"batchlaw: --address {address}: ")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [(["workloads"], "quadratic"), (["laws"], "saturating"), (["data", "list"], "digits"), (["--help"], "Usage")],
)
def test_lists(arguments: list[str], expected: str) -> None:
    result = batchlaw(*arguments)
    assert result.exit_code == 0, result.output
    assert expected in result.stdout


def test_every_workload_is_listed_with_its_facts_in_80_columns() -> None:
    lines = [line.rstrip() for line in batchlaw("workloads").stdout.splitlines()]
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines[1:-2]] == list(WORKLOADS)
    assert lines[0].split() == ["name", "size", "data", "outcome", "source"]
    row = next(line for line in lines if line.startswith("bert-mlm "))
    assert re.split(r"  +", row) == ["bert-mlm", "107 k", "rotten-tomatoes", "validation_loss", "Devlin et al. 2019"]


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0"), (999, "999"), (1_000, "1 k"), (999_499, "999 k"), (999_500, "1.0 M"), (22.7e6, "22.7 M")],
)
def test_sizes_are_short(count: int, shown: str) -> None:
    assert short_count(count) == shown


def test_data_that_cannot_be_had_end_the_run_before_anything_is_written(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHLAW_CACHE", str(study.folder / "cache"))
    monkeypatch.setenv("PATH", "")  # no npm
    path = study.write(
        workload="bert-mlm", workload_settings={"tokens": "wordpiece"}, outcome="value_at_budget", batch_sizes=[2]
    )
    out = study.folder / "out"
    assert_one_line(batchlaw("run", path, "--out", out), "bert-vocab", "npm")
    assert not out.exists()


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_says_all_its_settings_in_80_columns(name: str) -> None:
    result = batchlaw("workloads", name)
    assert result.exit_code == 0, result.output
    shown = [line.split()[0] for line in result.stdout.splitlines() if line]
    settings = find_workload(name).Settings
    assert set(settings.model_fields) <= {setting.partition(".")[0] for setting in shown}
    assert find_workload(name).summary in " ".join(result.stdout.split())
    assert "``" not in result.stdout
    assert max(map(len, map(str.rstrip, result.stdout.splitlines()))) <= 80


def test_the_defaults_said_are_those_of_our_own_sizes() -> None:
    lines = [line.split() for line in batchlaw("workloads", "bert-mlm").stdout.splitlines()]
    assert ["hidden_size", "64"] in [line[:2] for line in lines]
    assert ["model", "roformer", "str"] in lines
    assert batchlaw("workloads", "bert-mln").exit_code == 2


def test_every_preset_is_listed_with_what_it_asks() -> None:
    result = batchlaw("presets")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert "  The main job in minutes on two cores: masked-LM pre-training with AdamW on" in lines
    assert [line for line in lines if not line.startswith(" ")] == list(presets())
    assert max(map(len, lines)) <= 80
