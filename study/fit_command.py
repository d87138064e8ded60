"""The command that fits the laws to any table of runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import typer

from .arguments import (
    RESAMPLES,
    BatchSizeOption,
    DivergedAboveOption,
    ProcessesOption,
    ResamplesOption,
    RunOption,
    SeedOption,
    StatusOption,
    StudyOption,
    TableArgument,
)
from .cores import core_count
from .fit_display import count_sweeps, show_answer
from .place import ResultsPlace, publishing
from .terminal import line, say

if TYPE_CHECKING:
    from analysis.sources import RunTable
    from analysis.study_analysis import Analysis
    from analysis.sweeps import SweepTable

REPORT_FILE = "report.html"
RESULT_TABLES = ("optima", "fits", "surface", "verdicts", "cells")
STEP_TABLES = ("steps", "tradeoff")
"""Written where runs were made to a target."""


def fit(
    table: TableArgument,
    batch_size: BatchSizeOption = None,
    learning_rate: Annotated[
        str | None, typer.Option("--learning-rate", metavar="COLUMN", help="Peak learning rate.")
    ] = None,
    loss: Annotated[
        str | None, typer.Option("--loss", metavar="COLUMN", help="Loss or other metric at the end of a run.")
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option("--mode", metavar="min|max", help="Which direction of it is better (default: by name)."),
    ] = None,
    seed: SeedOption = None,
    group: Annotated[
        list[str] | None,
        typer.Option("--group", metavar="COLUMN", help="One law for each value of it; may be given again."),
    ] = None,
    steps: Annotated[
        str | None, typer.Option("--steps", metavar="COLUMN", help="Step of a row, where rows follow a run.")
    ] = None,
    status: StatusOption = None,
    run: RunOption = None,
    diverged_above: DivergedAboveOption = None,
    study: StudyOption = None,
    resamples: ResamplesOption = RESAMPLES,
    processes: ProcessesOption = None,
    out: Annotated[
        ResultsPlace | None,
        typer.Option(
            "--out",
            metavar="PLACE",
            parser=ResultsPlace.of,
            help="Folder or URL to write to (default: fit-<name of the table>).",
        ),
    ] = None,
) -> None:
    """Fit the laws to a sweep that was run elsewhere: best rates, laws, verdict, report."""
    from analysis.sources import read_source

    given = {
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "loss": loss,
        "seed": seed,
        "steps": steps,
        "status": status,
        "run": run,
    }
    place = out or ResultsPlace.of(f"fit-{table_stem(table, study)}")
    check_place(place)
    runs = read_source(table, study=study)
    say(f"{runs.origin}.", *runs.notes)
    sweeps, notes = _sweeps(runs, given, group or [], mode, diverged_above)
    notes = [*runs.notes, *notes]
    _check_names(sweeps)
    analysis = _analyse(runs, sweeps, resamples=resamples, processes=processes or core_count())
    paths = _write(analysis, sweeps, place, title=table_stem(table, study), source=runs.origin, notes=notes)
    show_answer(analysis)
    tables = ", ".join(path.name for path in paths if path.suffix == ".csv")
    line()
    line(f"tables: {tables} in {place}")
    line(f"report: {place.where(REPORT_FILE)}")


def table_stem(location: str, study: str | None = None) -> str:
    """Return a name for what is made of a table, fit for a file: its study's, else its own without the suffix."""
    plain = location.split("?")[0].rstrip("/\\")
    last = study or (re.split(r"[/\\]", plain)[-1] if "://" in plain else plain and Path(plain).resolve().name)
    stem = last if study else re.sub(r"\.(csv|tsv|tab|txt|parquet|pq|db|sqlite3?|log|jsonl?)$", "", last, flags=re.I)
    return re.sub(r"[^\w.-]+", "-", stem).strip("-.")[:80] or "table"


def check_place(place: ResultsPlace) -> None:
    """Refuse an output folder that is a file, before any work is done."""
    from analysis.errors import TableError

    folder = place.folder
    if folder is not None and folder.exists() and not folder.is_dir():
        raise TableError(f"--out names a folder, but {place} is a file; name another one")


def _sweeps(
    runs: RunTable, given: Mapping[str, str | None], groups: list[str], mode: str | None, diverged_above: float | None
) -> tuple[SweepTable, list[str]]:
    """Return the sweeps, and what was said of how they were made."""
    from analysis.columns import choose_columns
    from analysis.errors import TableError
    from analysis.stored_sweeps import stored_sweeps
    from analysis.sweeps import loss_sweeps

    if mode not in (None, "min", "max"):
        raise TableError(f"--mode is min or max, but got {mode!r}")
    chosen: Literal["min", "max"] | None = None if mode is None else "max" if mode == "max" else "min"
    if runs.outcomes and not groups and mode is None and diverged_above is None and not any(given.values()):
        return stored_sweeps(runs), []
    # Trials of different sweeps of a stored study have nothing in common but their columns.
    groups = groups or (["sweep"] if runs.outcomes else [])
    columns = choose_columns(
        runs,
        given=given,
        roles=("batch_size", "learning_rate", "loss"),
        optional=("seed", "status", "steps", "run"),
        groups=groups,
    )
    say(*columns.notes)
    sweeps = loss_sweeps(runs, columns, mode=chosen, diverged_above=diverged_above)
    say(*sweeps.notes)
    return sweeps, [*columns.notes, *sweeps.notes]


def _check_names(sweeps: SweepTable) -> None:
    from analysis.cells import CELL_COLUMNS
    from analysis.compare import VERDICT_COLUMNS
    from analysis.fit_tables import FIT_COLUMNS
    from analysis.optimum import OPTIMUM_COLUMNS
    from analysis.output import check_groups
    from analysis.surface import SURFACE_COLUMNS

    columns = (OPTIMUM_COLUMNS, FIT_COLUMNS, SURFACE_COLUMNS, VERDICT_COLUMNS, CELL_COLUMNS)
    check_groups(sweeps.groups, dict(zip(RESULT_TABLES, columns, strict=True)))


def _analyse(runs: RunTable, sweeps: SweepTable, *, resamples: int, processes: int) -> Analysis:
    from analysis.errors import TableError
    from analysis.many_sweeps import analyse_each
    from analysis.stored_sweeps import stored_curves

    curves = stored_curves(runs)
    with count_sweeps(len(sweeps.outcomes)) as done:
        try:
            return analyse_each(
                sweeps.trials, curves, outcomes=sweeps.outcomes, resamples=resamples, processes=processes, done=done
            )
        except BrokenExecutor:
            raise TableError(
                f"one of {processes} processes was killed, which is what a full memory looks like; "
                "give --processes 1, or fewer --resamples"
            ) from None
        except ValueError as error:
            # Rows of a stored study go in as they are; those of any other table have passed every rule already.
            if not runs.outcomes or isinstance(error, np.linalg.LinAlgError):
                raise
            raise TableError(str(error)) from None


def _write(
    analysis: Analysis, sweeps: SweepTable, place: ResultsPlace, *, title: str, source: str, notes: list[str]
) -> list[Path]:
    """Write tables and report; they appear together, once all of them are made."""
    from analysis.output import write_tables
    from analysis.report import write_report

    with publishing(place.store()) as making:
        tables = {name: getattr(analysis, name) for name in RESULT_TABLES}
        tables |= {name: getattr(analysis, name) for name in STEP_TABLES if len(getattr(analysis, name))}
        made = write_tables(tables, making, groups=sweeps.groups)
        page = write_report(
            analysis,
            making / REPORT_FILE,
            title=title,
            trials=sweeps.trials,
            groups=sweeps.groups,
            source=source,
            notes=notes,
        )
    return [*made, page]
