"""A folder that MLflow tracked runs in, read as the documented files that it is made of.

``<experiment>/meta.yaml``, and per run ``meta.yaml``, ``params/<key>`` (its text) and ``metrics/<key>`` (a line each of
``timestamp value step``). The client of MLflow 3 refuses such folders unless told otherwise; the files need none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import TableError
from ..plain_yaml import read_plain_yaml
from .table import CURVE_COLUMNS, RunTable, Source, plural

RUN_STATES = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}
"""``status`` of a run's ``meta.yaml``: the numbers of MLflow's protocol."""


def read_mlflow_folder(location: str, study: str | None = None) -> RunTable:
    """Return the runs of one experiment: columns ``params.<key>``, ``metrics.<key>`` (the last value) and ``status``.

    Raises:
        TableError: no run is there, or several experiments hold some and none is chosen by ``study``.
    """
    folders = _experiments(Path(location))
    by_name: dict[str, list[tuple[Path, Mapping[str, Any]]]] = {}
    for folder in folders:
        meta = _meta(folder)
        runs = [(run, _meta(run)) for run in _children(folder) if (run / "meta.yaml").is_file()]
        kept = [(run, meta) for run, meta in runs if meta.get("lifecycle_stage") != "deleted"]
        if kept and meta.get("lifecycle_stage") != "deleted":
            by_name.setdefault(str(meta.get("name", folder.name)), []).extend(kept)
    name = choose_experiment(sorted(by_name), study, location)
    chosen = by_name[name]
    rows = [_row(folder, meta) for folder, meta in chosen]
    return RunTable(
        runs=pd.DataFrame(rows),
        origin=f"MLflow experiment {name}, {plural(len(rows), 'run')}",
        load_curves=lambda: _curves([folder for folder, _ in chosen]),
    )


def choose_experiment(names: list[str], study: str | None, place: str) -> str:
    """Return the experiment to read: the one asked for, else the only one.

    Raises:
        TableError: it is not there, or there are several, or none.
    """
    shown = ", ".join(repr(name) for name in names[:8])
    if study is not None and study not in names:
        raise TableError(f"--study names an experiment of {place}, but there is no {study!r}; found {shown or 'none'}")
    if not names:
        raise TableError(f"{place}: holds no run of MLflow; check the place")
    if study is None and len(names) > 1:
        raise TableError(f"{place} holds {len(names)} experiments with runs: {shown}; name one by --study")
    return study if study is not None else names[0]


def _children(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))


def _experiments(folder: Path) -> list[Path]:
    """Return the experiments' folders: those inside, or the folder itself."""
    if _is_experiment(folder):
        return [folder]
    return [child for child in _children(folder) if _is_experiment(child)]


def _is_experiment(folder: Path) -> bool:
    meta = folder / "meta.yaml"
    return meta.is_file() and "experiment_id" in meta.read_text(encoding="utf-8", errors="replace")[:5000]


def _matches(location: str) -> bool:
    folder = Path(location)
    return "://" not in location and folder.is_dir() and bool(_experiments(folder))


def _meta(folder: Path) -> Mapping[str, Any]:
    meta = read_plain_yaml(folder / "meta.yaml")
    return meta if isinstance(meta, Mapping) else {}


def _row(folder: Path, meta: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {"run": folder.name, "run_name": str(meta.get("run_name", ""))}
    for path in _files(folder / "params"):
        row[f"params.{path.relative_to(folder / 'params').as_posix()}"] = path.read_text("utf-8", "replace").strip()
    for path in _files(folder / "metrics"):
        measured = _measurements(path)
        if measured:
            # As MLflow's own latest metric: the largest step, then the latest time, then the largest value.
            row[f"metrics.{path.relative_to(folder / 'metrics').as_posix()}"] = max(
                measured, key=lambda m: (m[0], m[1], -math.inf if math.isnan(m[2]) else m[2])
            )[2]
    status = meta.get("status")
    return row | {"status": RUN_STATES.get(status, str(status)) if isinstance(status, int) else str(status)}


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []


def _measurements(path: Path) -> list[tuple[float, float, float]]:
    """Return step, timestamp and value of each line; torn lines are passed over."""
    rows = []
    for line in path.read_text("utf-8", "replace").splitlines():
        words = line.split()
        try:
            rows.append((float(words[2]) if len(words) > 2 else 0.0, float(words[0]), float(words[1])))
        except (ValueError, IndexError):
            continue
    return rows


def _curves(folders: list[Path]) -> pd.DataFrame:
    rows = [
        (folder.name, step, path.relative_to(folder / "metrics").as_posix(), value)
        for folder in folders
        for path in _files(folder / "metrics")
        for step, _, value in _measurements(path)
    ]
    return pd.DataFrame(rows, columns=list(CURVE_COLUMNS))


SOURCE = Source(
    name="mlflow-folder",
    summary="a folder that MLflow tracked runs in",
    matches=_matches,
    read=read_mlflow_folder,
    takes_study=True,
)
