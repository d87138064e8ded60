"""Every preset is planned as it stands, and a corner of its grid is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from results import ResultStore
from study.cli import app
from study.loading import load_study, presets
from trainers.data.fetch import is_cached
from trainers.workloads import find_workload

PRESETS = sorted(presets())


def sweeps_of(name: str) -> list[dict[str, Any]]:
    study = yaml.safe_load(presets()[name].read_text(encoding="utf-8"))
    return [{**study.get("defaults", {}), **sweep} for sweep in study["sweeps"]]


def is_here(sweep: dict[str, Any]) -> bool:
    """Whether the sweep's data are on this machine, or come from PyPI, which the tests' machine has."""
    data = sweep.get("workload_settings", {}).get("dataset", find_workload(sweep["workload"]).data_set)
    return data not in ("wordnet", "fashion-mnist", "emoji32", "bert-vocab") or is_cached(data)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_be_planned(name: str, tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["plan", name, "--out", str(tmp_path / "out")])
    assert answer.exit_code == 0, answer.output
    config = load_study(presets()[name]).config
    assert config.name == name
    assert config.description
    trials = sum(len(s.batch_sizes) * len(s.seeds) * _rates(s.learning_rates) for s in config.sweeps)
    assert f"{trials} trials, 0 stored, {trials} to run" in answer.stdout


def _rates(rates: Any) -> int:
    return len(rates) if isinstance(rates, list) else int(rates.count)


def test_a_corner_of_every_preset_trains(tmp_path: Path) -> None:
    corners = []
    for name in PRESETS:
        sweep = next((sweep for sweep in sweeps_of(name) if is_here(sweep)), None)
        if sweep is None:
            continue
        center = sweep["learning_rates"]
        rate = center["center"] if isinstance(center, dict) else sorted(center)[len(center) // 2]
        corners.append(
            {
                **{key: value for key, value in sweep.items() if key not in ("probes", "extend", "schedule")},
                "name": name,
                "batch_sizes": sorted(sweep["batch_sizes"])[:2],
                "learning_rates": [rate / 2, rate],
                "seeds": [len(corners)],  # so that two presets with one workload share no trial
                "outcome": "value_at_budget",
                "budget": {"steps": 2},
                "evaluation": {"points": 1},
            }
        )
    assert {"quick", "quadratic"} <= {corner["name"] for corner in corners}
    path = tmp_path / "corners.yaml"
    path.write_text(yaml.safe_dump({"name": "corners", "sweeps": corners}))
    answer = CliRunner().invoke(app, ["run", str(path), "--out", str(tmp_path / "out"), "--quiet", "--no-report"])
    assert answer.exit_code == 0, answer.output
    trials = ResultStore(tmp_path / "out").trials()
    assert trials.groupby("sweep").size().to_dict() == {corner["name"]: 4 for corner in corners}
    assert set(trials["status"]) <= {"exhausted", "reached"}, trials[["sweep", "status", "message"]].to_string()
