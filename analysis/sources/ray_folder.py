"""The folder of a Ray Tune experiment, as Ray 2.60 writes it; its pickles are never opened.

Each trial has a folder with ``params.json``, and with ``result.json`` (one JSON object a line and result) or
``progress.csv``; ``experiment_state-*.json`` beside them says how the trials ended.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import TableError
from .nested import flatten
from .table import CURVE_COLUMNS, RunTable, Source, plural

_HOUSEKEEPING = frozenset(
    {"timestamp", "checkpoint_dir_name", "done", "date", "pid", "hostname", "node_ip", "config", "trial_id"}
    | {"time_this_iter_s", "time_total_s", "time_since_restore", "iterations_since_restore", "experiment_tag"}
    | {"should_checkpoint", "trial_name"}
)


def read_ray(location: str, study: str | None = None) -> RunTable:  # noqa: ARG001
    """Return the trials of an experiment.

    Settings are named ``config/<key>``, metrics by their own names: each the last that was reported. ``status`` is
    Ray's word for how a trial ended.

    Raises:
        TableError: no trial is there, or its settings can't be read.
    """
    folder = Path(location)
    trials = _trial_folders(folder)
    if not trials:
        inner = [child.name for child in _folders(folder) if _is_experiment(child)]
        raise TableError(
            f"{location}: holds {plural(len(inner), 'Ray experiment')}; name one of {', '.join(inner[:5])}"
        )
    states = _states(folder)
    rows = []
    for trial in trials:
        last: dict[str, Any] = {}
        for result in _results(trial):
            last |= {name: value for name, value in result.items() if value is not None}
        name = str(last.get("trial_id") or trial.name)
        metrics = {key: value for key, value in last.items() if key not in _HOUSEKEEPING}
        ended = states.get(name) or ("ERROR" if (trial / "error.txt").exists() else "TERMINATED")
        rows.append(
            {"run": name, **flatten(_params(trial), prefix="config", separator="/"), **metrics, "status": ended}
        )
    runs = pd.DataFrame(rows)
    return RunTable(
        runs=runs.assign(run=_unique(runs["run"], trials)),
        origin=f"Ray Tune experiment {folder.resolve().name}, {plural(len(runs), 'trial')}",
        load_curves=lambda: _curves(trials),
    )


def _folders(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir())


def _trial_folders(folder: Path) -> list[Path]:
    return [child for child in _folders(folder) if (child / "params.json").is_file()]


def _is_experiment(folder: Path) -> bool:
    return any(folder.glob("experiment_state-*.json")) and bool(_trial_folders(folder))


def _matches(location: str) -> bool:
    folder = Path(location)
    if "://" in location or not folder.is_dir():
        return False
    return bool(_trial_folders(folder)) or any(_is_experiment(child) for child in _folders(folder))


def _params(trial: Path) -> Mapping[str, Any]:
    try:
        params = json.loads((trial / "params.json").read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise TableError(f"{trial / 'params.json'}: no JSON ({error}); mend or remove the trial's folder") from None
    return params if isinstance(params, Mapping) else {}


def _results(trial: Path) -> Iterator[dict[str, Any]]:
    """Yield the reported results; a torn last line, of a trial that was killed while it wrote, is passed over."""
    path = trial / "result.json"
    if path.is_file():
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    result = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(result, Mapping):
                    yield flatten(result, separator="/")
    elif (trial / "progress.csv").is_file():
        with (trial / "progress.csv").open(encoding="utf-8", errors="replace", newline="") as file:
            try:
                for row in csv.DictReader(file):
                    yield {name: value for name, value in row.items() if name and isinstance(value, str) and value}
            except csv.Error:
                return


def _states(folder: Path) -> dict[str, str]:
    """Return how each trial ended, from the latest state file; empty where there is none that can be read."""
    states: dict[str, str] = {}
    for path in sorted(folder.glob("experiment_state-*.json")):
        try:
            for pair in json.loads(path.read_text(encoding="utf-8"))["trial_data"]:
                trial = json.loads(pair[0])
                states[str(trial["trial_id"])] = str(trial["status"])
        except (ValueError, KeyError, TypeError, IndexError, RecursionError):
            continue
    return states


def _unique(names: pd.Series, trials: list[Path]) -> pd.Series:
    """Return the trials' ids, or their folders' names where an id stands twice."""
    return names if names.is_unique else pd.Series([trial.name for trial in trials], index=names.index)


def _curves(trials: list[Path]) -> pd.DataFrame:
    rows = []
    for trial in trials:
        for position, result in enumerate(_results(trial), start=1):
            run = str(result.get("trial_id") or trial.name)
            step = result.get("training_iteration", position)
            rows += [(run, step, name, value) for name, value in result.items() if _is_metric(name, value)]
    curves = pd.DataFrame(rows, columns=list(CURVE_COLUMNS))
    return curves.astype({"step": float, "value": float})


def _is_metric(name: str, value: object) -> bool:
    if name in _HOUSEKEEPING or name.startswith("config/") or isinstance(value, bool):
        return False
    try:
        float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return False
    return True


SOURCE = Source(
    name="ray",
    summary="the folder of a Ray Tune experiment (with params.json in each trial's folder)",
    matches=_matches,
    read=read_ray,
)
