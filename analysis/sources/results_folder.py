"""Stored studies of this package: a study's folder or URL, or a folder of such folders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from results import SWEEP, ResultStore, Storage, StorageError, open_storage

from ..errors import TableError
from ..plain_yaml import parse_plain_yaml
from .table import RunTable, Source

STUDY_FILE = "study.yaml"
_SCHEMES = {"abfs", "az", "gcs", "gs", "hdfs", "memory", "s3", "s3a"}
"""Of URLs under which files lie; the others are databases and servers."""


def read_results(location: str, study: str | None = None) -> RunTable:
    """Return the trials of the study stored in a folder or under a URL, or of all studies in a folder's folders.

    Columns are those of ``results.TRIAL_COLUMNS`` and ``run``, the trial's id. Where there are several studies a sweep
    is named ``study/sweep``, and a trial that two studies share is in both.

    Raises:
        TableError: no trial is stored there, or none of the study asked for.
    """
    places = _study_places(location)
    parts, curve_parts, outcomes, notes = [], [], {}, []
    for place in places:
        stored = ResultStore(place).read()
        trials, curves = stored.trials[stored.trials["purpose"] == SWEEP], stored.curves
        notes += [f"Not read: {file.path}: {file.reason}." for file in stored.skipped]
        if study is not None:
            trials = trials[trials["study"].astype(str) == study]
        if trials.empty:
            continue
        prefix = f"{Path(place.url).name}/" if len(places) > 1 else ""
        written = _written_outcomes(place)
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


def _study_places(location: str) -> list[Storage]:
    try:
        return [open_storage(place) for place in ([location] if _is_url(location) else _study_folders(Path(location)))]
    except StorageError as error:
        raise TableError(str(error)) from None


def _is_url(location: str) -> bool:
    return location.partition("://")[0] in _SCHEMES and "://" in location


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
    if _is_url(location):
        return True
    folder = Path(location)
    return "://" not in location and folder.is_dir() and bool(_study_folders(folder))


def _written_outcomes(place: Storage) -> dict[str, str]:
    """Return the outcome of each sweep that the study beside the rows names."""
    if not place.is_file(STUDY_FILE):
        return {}
    study = parse_plain_yaml(place.read(STUDY_FILE), place.where(STUDY_FILE))
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
    summary="a folder or URL of results",
    matches=_matches,
    read=read_results,
    takes_study=True,
)
