"""Stored studies of this package: a study's folder, or a folder of such folders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from results import SWEEP, ResultStore

from ..errors import TableError
from ..plain_yaml import read_plain_yaml
from .table import RunTable, Source

STUDY_FILE = "study.yaml"


def read_results(location: str, study: str | None = None) -> RunTable:
    """Return the trials of the study stored in a folder, or of all studies in its folders.

    Columns are those of ``results.TRIAL_COLUMNS`` and ``run``, the trial's id. Where there are several studies a sweep
    is named ``study/sweep``, and a trial that two studies share is in both.

    Raises:
        TableError: no trial is stored there, or none of the study asked for.
    """
    folders = _study_folders(Path(location))
    parts, curve_parts, outcomes, notes = [], [], {}, []
    for folder in folders:
        stored = ResultStore(folder).read()
        trials, curves = stored.trials[stored.trials["purpose"] == SWEEP], stored.curves
        notes += [f"Not read: {file.path}: {file.reason}." for file in stored.skipped]
        if study is not None:
            trials = trials[trials["study"].astype(str) == study]
        if trials.empty:
            continue
        prefix = f"{folder.name}/" if len(folders) > 1 else ""
        written = _written_outcomes(folder)
        for sweep, rows in trials.groupby("sweep", sort=False):
            outcomes[f"{prefix}{sweep}"] = written.get(str(sweep)) or _outcome_of(rows)
        # One trial may serve two studies: its id stays one, its row is in both sweeps.
        parts.append(trials.assign(sweep=prefix + trials["sweep"].astype(str), run=trials["trial_id"]))
        curve_parts.append(curves[curves["trial_id"].isin(trials["trial_id"])])
    if not parts:
        which = f" of the study {study}" if study is not None else ""
        raise TableError(f"{location}: no trial{which} is stored there; 'batchlaw run' stores some")
    runs = pd.concat(parts, ignore_index=True)
    curves = pd.concat(curve_parts, ignore_index=True).rename(columns={"trial_id": "run"})
    curves = curves.drop_duplicates(["run", "step", "name"], ignore_index=True)
    sweeps = f"{len(outcomes)} sweep{'s' if len(outcomes) > 1 else ''}"
    return RunTable(
        runs=runs,
        origin=f"results in {location}, {len(runs):,} trials of {sweeps}",
        load_curves=lambda: curves,
        notes=tuple(notes),
        directions={"value": str(runs["mode"].iloc[0])} if runs["mode"].nunique() == 1 else {},
        outcomes=outcomes,
    )


def _study_folders(folder: Path) -> list[Path]:
    if _is_store(folder):
        return [folder]
    return sorted(child for child in folder.iterdir() if _is_store(child))


def _is_store(folder: Path) -> bool:
    return (
        (folder / "parts").is_dir()
        or any(folder.glob("compacted/*-trials.parquet"))
        or ((folder / STUDY_FILE).is_file() and folder.is_dir())
    )


def _matches(location: str) -> bool:
    folder = Path(location)
    return "://" not in location and folder.is_dir() and bool(_study_folders(folder))


def _written_outcomes(folder: Path) -> dict[str, str]:
    """Return the outcome of each sweep that the study beside the rows names."""
    path = folder / STUDY_FILE
    if not path.is_file():
        return {}
    study = read_plain_yaml(path)
    sweeps = study.get("sweeps", []) if isinstance(study, Mapping) else []
    return {
        str(sweep.get("name")): str(sweep["outcome"])
        for sweep in sweeps
        if isinstance(sweep, Mapping) and sweep.get("outcome") in ("steps_to_target", "value_at_budget")
    }


def _outcome_of(trials: pd.DataFrame) -> str:
    """Return steps_to_target for runs that stopped at their target: their values are none at the budget."""
    finished = trials[trials["status"].isin(["reached", "exhausted"])]
    lengths = finished.groupby("batch_size")["steps"].nunique()
    return "steps_to_target" if (lengths > 1).any() else "value_at_budget"


SOURCE = Source(
    name="results",
    summary="a folder of results",
    matches=_matches,
    read=read_results,
    takes_study=True,
)
