"""Every preset is planned as it stands; a 2 x 2 grid of its first sweep is run, and a cell of each of the others."""

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


def train(sizes: dict[str, int], folder: Path) -> Corners:
    """Run corners of these sizes of some problems, as far as the data are here, as one study in one worker."""
    problems = {problem_of(sweep): sweep for preset in PRESETS for sweep in sweeps_of(preset)}
    missing = {problem: reason for problem in sizes if (reason := missing_data(problems[problem]))}
    names = {problem: f"problem-{number}" for number, problem in enumerate(sizes) if problem not in missing}
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
    assert {problem: len(of) for problem, of in status.items()} == {problem: sizes[problem] ** 2 for problem in names}
    return Corners(status=status, missing=missing)


def first_problems() -> list[str]:
    return [problem_of(sweeps_of(preset)[0]) for preset in PRESETS]


def other_problems() -> list[str]:
    return [problem_of(sweep) for preset in PRESETS for sweep in sweeps_of(preset)[1:]]


@pytest.fixture(scope="module")
def grids(tmp_path_factory: pytest.TempPathFactory) -> Corners:
    return train(dict.fromkeys(first_problems(), 2), tmp_path_factory.mktemp("grids"))


@pytest.mark.parametrize("name", PRESETS)
def test_a_grid_of_a_preset_s_first_sweep_trains(name: str, grids: Corners) -> None:
    problem = problem_of(sweeps_of(name)[0])
    if problem in grids.missing:
        pytest.skip(grids.missing[problem])
    assert grids.status[problem] == ["exhausted"] * 4


@pytest.mark.slow
def test_a_cell_of_every_other_problem_trains(tmp_path: Path) -> None:
    cells = train({problem: 1 for problem in other_problems() if problem not in first_problems()}, tmp_path)
    assert {status for of in cells.status.values() for status in of} == {"exhausted"}, cells.status
    if cells.missing:
        pytest.skip("; ".join(cells.missing.values()))
