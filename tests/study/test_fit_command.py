"""Any table in, the answer out."""

import os
import subprocess
import sys
import textwrap
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pandas as pd
import pytest

from analysis.cells import CELL_COLUMNS
from analysis.compare import VERDICT_COLUMNS
from analysis.fit_tables import FIT_COLUMNS
from analysis.optimum import OPTIMUM_COLUMNS
from analysis.surface import SURFACE_COLUMNS
from results import ResultStore
from study.fit_command import table_stem

from ..analysis.synthetic_study import make_trials
from .fitting import fit, put_in_place_of_the_analysis, read, stub_report, sweep

COLUMNS = {
    "optima": OPTIMUM_COLUMNS,
    "fits": FIT_COLUMNS,
    "surface": SURFACE_COLUMNS,
    "verdicts": VERDICT_COLUMNS,
    "cells": CELL_COLUMNS,
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch, tmp_path):
    put_in_place_of_the_analysis(monkeypatch)
    monkeypatch.chdir(tmp_path)


def assert_one_line(result, *parts):
    assert result.exit_code == 2, result.output
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("batchlaw: ")
    for part in parts:
        assert part in result.stderr


def test_a_plain_table(tmp_path):
    sweep().to_csv("my sweep.csv", index=False)
    result = fit("my sweep.csv")
    assert result.exit_code == 0, result.output
    folder = tmp_path / "fit-my-sweep"
    assert sorted(os.listdir(folder)) == [
        "cells.csv",
        "fits.csv",
        "optima.csv",
        "report.html",
        "surface.csv",
        "verdicts.csv",
    ]
    for name, table in read(folder).items():
        assert list(table) == [column for column in COLUMNS[name] if column != "sweep"]
    fits = read(folder)["fits"].set_index("law")
    assert fits.loc["power"].set_index("parameter").loc["p", "value"] == pytest.approx(0.5, abs=0.1)
    for words in (
        "CSV file my sweep.csv, 50 rows.",
        "column 'bs'",
        "column 'lr'",
        "'val_loss'",
        "--mode",
        "the best rate",
    ):
        assert words in result.stdout
    assert f"report: fit-my-sweep{os.sep}report.html" in result.stdout
    assert result.stderr == ""
    assert [path for path in os.listdir(tmp_path) if path.startswith(".")] == []


def test_a_law_for_each_group(tmp_path):
    parts = [sweep(exponent=e).assign(N=n, opt=o) for e, n, o in ((0.5, 1e8, "adam"), (1.0, 1e9, "sgd"))]
    pd.concat(parts).to_parquet("x.parquet")
    result = fit("x.parquet", "--group", "N", "--group", "opt", "--out", "out")
    assert result.exit_code == 0, result.output
    tables = read(tmp_path / "out")
    for name, table in tables.items():
        assert list(table)[:2] == ["N", "opt"]
        assert list(table)[2:] == [column for column in COLUMNS[name] if column != "sweep"]
    assert tables["verdicts"][["N", "opt"]].to_numpy().tolist() == [[1e8, "adam"], [1e9, "sgd"]]
    power = tables["fits"].query("law == 'power' and parameter == 'p'").set_index("N")["value"]
    assert power[1e8] == pytest.approx(0.5, abs=0.1)
    assert power[1e9] == pytest.approx(1.0, abs=0.1)


def test_many_groups_are_shown_as_a_table_whatever_they_are_called(monkeypatch):
    monkeypatch.setattr("analysis.report.write_report", stub_report)
    parts = [sweep(seeds=1, batch_sizes=(8, 16), seed=k).assign(g=f"[red]\x1b[31m<b>{k}") for k in range(5)]
    pd.concat(parts).to_csv("x.csv", index=False)
    result = fit("x.csv", "--group", "g")
    assert result.exit_code == 0, result.output
    assert "5 sweeps: 5 undetermined." in result.stdout
    assert len(result.stdout.splitlines()) < 30
    assert "[red]" in result.stdout
    assert "\x1b" not in result.stdout


def test_a_stored_study_needs_no_names(tmp_path):
    trials, curves = make_trials(batch_sizes=(8, 32, 128), rates=tuple(0.0003 * 2.0**k for k in range(7)), seeds=(0,))
    store = ResultStore("stored")
    for row in trials.to_dict("records"):
        own = curves[curves["trial_id"] == row["trial_id"]].drop(columns="trial_id")
        store.append(row, own.to_dict("records"))
    result = fit("stored", "--out", "out")
    assert result.exit_code == 0, result.output
    assert "fewest steps to the target" in result.stdout
    assert pd.read_csv("out/optima.csv")["sweep"].unique().tolist() == ["bert-mlm adamw"]
    assert pd.read_csv("out/tradeoff.csv")["b_crit"].notna().all()


def test_a_metric_of_which_high_is_good(tmp_path):
    table = sweep()
    table.assign(acc=1 - 0.5 * table["val_loss"] / 2).drop(columns="val_loss").to_csv("x.csv", index=False)
    assert fit("x.csv").exit_code == 0
    named = read(tmp_path / "fit-x")["optima"]
    assert (named["status"] == "interior").all()
    assert fit("x.csv", "--mode", "min").exit_code == 0
    assert not (read(tmp_path / "fit-x")["optima"]["status"] == "interior").any()


@pytest.mark.parametrize(
    "rows",
    [
        {"bs": [8] * 5, "lr": [1, 2, 4, 8, 16], "loss": [5, 4, 3, 4, 5]},
        {"bs": [8, 16, 32, 64, 128], "lr": [0.1] * 5, "loss": [5, 4, 3, 4, 5]},
        {"bs": [8, 8, 16, 16], "lr": [1, 2, 1, 2], "loss": ["nan"] * 4},
        {"bs": [8], "lr": [1], "loss": [1]},
        {"bs": [8, 8, 8], "lr": [1, 2, 4], "loss": [1, 1, 1]},
        {"bs": [8, 16, 32, 64] * 5, "lr": np.repeat([1, 2, 4, 8, 16], 4), "loss": [1] * 20},
        {"bs": [8, 16, 32, 64] * 5, "lr": np.repeat([1, 2, 4, 8, 16], 4), "loss": [-1.5, 0, 3, 2] * 5},
        {"bs": [0.5, 1.25, 8, 1e12], "lr": [1e-300, 1, 1e300, 2], "loss": [1e-300, 1e300, 1, 2]},
    ],
)
def test_thin_tables_end_in_statuses(tmp_path, rows, monkeypatch):
    if len(rows["bs"]) > 8:  # the report is drawn for the thinnest
        monkeypatch.setattr("analysis.report.write_report", stub_report)
    pd.DataFrame(rows).to_csv("x.csv", index=False)
    result = fit("x.csv")
    assert result.exit_code == 0, result.output
    assert read(tmp_path / "fit-x")["verdicts"]["verdict"].tolist() == ["undetermined"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--mode", "up"], "--mode"),
        (["--loss", "nothing"], "nothing"),
        (["--group", "nothing"], "nothing"),
        (["--group", "bs"], "one part"),
        (["--group", "status", "--status", "width"], "'status' too; rename"),
        (["--study", "s"], "--study"),
        (["--out", "x.csv"], "x.csv is a file"),
        (["--diverged-above", "low"], "--diverged-above"),
    ],
)
def test_options_that_say_what_can_not_be(tmp_path, options, words):
    sweep(batch_sizes=(8,)).assign(status="finished", width="finished").to_csv("x.csv", index=False)
    assert_one_line(fit("x.csv", *options), words)
    assert os.listdir(tmp_path) == ["x.csv"]


def test_a_report_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    sweep(batch_sizes=(8,)).to_csv("x.csv", index=False)
    assert fit("x.csv").exit_code == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "fit-x").iterdir()}

    def full(*arguments, **settings):
        raise OSError(28, "No space left on device", "report.html")

    monkeypatch.setattr("analysis.report.write_report", full)
    sweep(batch_sizes=(16,)).to_csv("x.csv", index=False)
    assert_one_line(fit("x.csv"), "the disk is full")
    assert {path.name: path.read_bytes() for path in (tmp_path / "fit-x").iterdir()} == before
    assert sorted(os.listdir(tmp_path)) == ["fit-x", "x.csv"]


@pytest.mark.parametrize(
    ("location", "study", "stem"),
    [
        ("a/b/sweep.v2.csv", None, "sweep.v2"),
        ("sqlite:///folder/my study.db", None, "my-study"),
        ("postgresql://me:secret@host/base?x=1", None, "base"),
        ("sqlite:///x.db", "../../etc", "etc"),
        ("http://host:5000/", "sweep/1", "sweep-1"),
        ("/", None, "table"),
    ],
)
def test_the_name_of_what_is_written_is_fit_for_a_file(location, study, stem):
    assert table_stem(location, study) == stem


def test_the_base_install_is_enough(tmp_path):
    sweep(batch_sizes=(8, 16)).to_csv("x.csv", index=False)
    code = """
        import sys
        ABSENT = {"torch", "ray", "optuna", "mlflow", "deepspeed", "transformers", "sklearn", "datasets"}

        class Absent:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in ABSENT:
                    raise ImportError(f"{name} is not installed")

        sys.meta_path.insert(0, Absent())
        from study.cli import main
        sys.argv = ["batchlaw", "fit", "x.csv", "--out", "out"]
        main()
    """
    root = str(os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..")))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out" / "report.html").exists()


def test_a_process_that_was_killed_is_told_in_one_line(tmp_path, monkeypatch):
    def killed(*args, **options):
        raise BrokenProcessPool("a child was terminated")

    monkeypatch.setattr("analysis.many_sweeps.analyse_each", killed)
    sweep().to_csv("sweep.csv", index=False)
    assert_one_line(fit("sweep.csv", "--processes", "2"), "2 processes was killed", "--processes 1")
    assert os.listdir(tmp_path) == ["sweep.csv"]


def test_fewer_draws_than_an_interval_needs_are_refused():
    sweep().to_csv("sweep.csv", index=False)
    result = fit("sweep.csv", "--resamples", "39")
    assert result.exit_code == 2
    assert "40" in result.stderr
