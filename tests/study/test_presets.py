"""Every preset is planned as it stands; a 2 x 2 grid of its first sweep and a corner of the others are run."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from results import ResultStore
from study.cli import app
from study.loading import load_study, presets
from trainers.data.fetch import cache_folder, fetch
from trainers.data.source import SOURCES
from trainers.errors import DataError
from trainers.workloads import find_workload

PRESETS = sorted(presets())
NOT_OF_A_CORNER = ("probes", "extend", "schedule")


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


@functools.cache
def sweeps_of(name: str) -> list[dict[str, Any]]:
    study = yaml.safe_load(presets()[name].read_text(encoding="utf-8"))
    return [{**study.get("defaults", {}), **sweep} for sweep in study["sweeps"]]


def problem_of(sweep: dict[str, Any]) -> str:
    """Return what is trained and how, by which sweeps count as one here: workload, settings and optimiser."""
    return yaml.safe_dump([sweep["workload"], sweep.get("workload_settings", {}), sweep["optimizer"]])


def missing_data(sweep: dict[str, Any]) -> str:
    """Return why the sweep's data can't be had, or nothing."""
    data = sweep.get("workload_settings", {}).get("dataset", find_workload(sweep["workload"]).data_set)
    try:
        if data in SOURCES:
            fetch(data)
    except DataError as error:
        if "can't be downloaded" not in str(error):
            raise
        return str(error)
    return ""


def corner(sweep: dict[str, Any], *, name: str, size: int) -> dict[str, Any]:
    """Return the sweep with ``size`` of its smallest batches and as many rates up from the middle, for two steps."""
    rates = sweep["learning_rates"]
    middle = rates["center"] if isinstance(rates, dict) else sorted(rates)[len(rates) // 2]
    return {
        **{key: value for key, value in sweep.items() if key not in NOT_OF_A_CORNER},
        "name": name,
        "batch_sizes": sorted(sweep["batch_sizes"])[:size],
        "learning_rates": [middle * 1.5**step for step in range(size)],
        "seeds": [0],
        "outcome": "value_at_budget",
        "budget": {"steps": 2},
        "evaluation": {"points": 1},
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Corners:
    """The status of each problem's runs, and why some were not run."""

    status: dict[str, list[str]]
    missing: dict[str, str]


@pytest.fixture(scope="module")
def corners(tmp_path_factory: pytest.TempPathFactory) -> Corners:
    """Corners of all presets' problems, as far as the data are here, run as one study in one worker."""
    folder = tmp_path_factory.mktemp("corners")
    problems = {problem_of(sweep): sweep for preset in PRESETS for sweep in sweeps_of(preset)}
    missing = {problem: reason for problem, sweep in problems.items() if (reason := missing_data(sweep))}
    names = {problem: f"problem-{number}" for number, problem in enumerate(problems) if problem not in missing}
    first = {problem_of(sweeps_of(preset)[0]) for preset in PRESETS}
    sizes = {problem: 2 if problem in first else 1 for problem in names}
    sweeps = [corner(problems[problem], name=name, size=sizes[problem]) for problem, name in names.items()]
    path = folder / "corners.yaml"
    path.write_text(yaml.safe_dump({"name": "corners", "resources": {"max_concurrent": 1}, "sweeps": sweeps}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BATCHLAW_CACHE", str(cache_folder()))
        patch.setenv("HOME", str(folder))
        # Baselines of all workloads take longer than these runs; each workload's own tests look at them.
        patch.setattr("study.baselines.measure_baselines", lambda study: {})
        answer = CliRunner().invoke(app, ["run", str(path), "--out", str(folder / "out"), "--quiet", "--no-report"])
    assert answer.exit_code == 0, answer.output
    trials = ResultStore(folder / "out").trials()
    ended = trials["status"] + trials["message"].map(lambda message: f": {message}" if message else "")
    status = {problem: list(ended[trials["sweep"] == name]) for problem, name in names.items()}
    assert {problem: len(of) for problem, of in status.items()} == {problem: size**2 for problem, size in sizes.items()}
    return Corners(status=status, missing=missing)


@pytest.mark.parametrize("name", PRESETS)
def test_a_corner_of_every_problem_of_a_preset_trains(name: str, corners: Corners) -> None:
    problems = [problem_of(sweep) for sweep in sweeps_of(name)]
    found = {problem: corners.status[problem] for problem in problems if problem not in corners.missing}
    assert {status for of in found.values() for status in of} <= {"exhausted"}, found
    if missing := [corners.missing[problem] for problem in problems if problem in corners.missing]:
        pytest.skip(missing[0])
    assert found
