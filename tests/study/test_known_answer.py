"""The whole chain – study, Ray, engine, store, fit, report – against a law that is known exactly."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import yaml
from typer.testing import CliRunner

from study.cli import app
from study.loading import find_study
from trainers.workloads import load_workload


def test_the_fitted_law_of_the_noisy_quadratic_agrees_with_the_exact_one(tmp_path: Path) -> None:
    out = tmp_path / "out"
    ran = CliRunner().invoke(app, ["run", "quadratic", "--out", str(out), "--quiet"])
    assert ran.exit_code == 0, ran.output
    settings = yaml.safe_load(find_study("quadratic").read_text(encoding="utf-8"))["sweeps"][0]["workload_settings"]
    exact = load_workload("quadratic", settings).exact_one_step_law()

    fits = pd.read_csv(out / "tables" / "fits.csv")
    saturating = fits[fits["law"] == "saturating"].set_index("parameter")
    for parameter, truth in (("eta_max", exact["eta_max"]), ("B_noise", exact["b_noise"])):
        row = saturating.loc[parameter]
        assert row["status"] == "ok"
        assert row["low"] < truth < row["high"], parameter
        assert truth / 2 < row["value"] < 2 * truth, parameter
        assert row["high"] / row["low"] < 16, "an interval that holds everything would prove nothing"

    optima = pd.read_csv(out / "tables" / "optima.csv")
    assert set(optima["status"]) == {"interior"}
    best = exact["eta_max"] / (1 + exact["b_noise"] / optima["batch_size"])
    assert ((optima["learning_rate"] / best).between(0.7, 1.4)).all()
    verdicts = pd.read_csv(out / "tables" / "verdicts.csv")
    assert verdicts["verdict"].iloc[0] in {"saturating", "undetermined"}, "a wrong law must not be named"
    assert (out / "report.html").stat().st_size > 1_000_000
    assert "report: " in ran.stdout

    again = CliRunner().invoke(app, ["run", "quadratic", "--out", str(out), "--quiet", "--no-report"])
    assert again.stdout.startswith("nothing to run: all ")
