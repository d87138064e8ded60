"""The command that fits the hyperbola between steps and examples to any table of runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .arguments import (
    BatchSizeOption,
    DivergedAboveOption,
    RunOption,
    SeedOption,
    StatusOption,
    StudyOption,
    TableArgument,
)
from .fit_command import REPORT_FILE, check_place, table_stem
from .fit_display import count_sweeps
from .place import ResultsPlace, publishing
from .terminal import line, say
from .tradeoff_display import show_tradeoff

if TYPE_CHECKING:
    import pandas as pd

    from analysis.study_analysis import Analysis
    from analysis.sweeps import SweepTable
    from analysis.tradeoff_source import Mode


def tradeoff(
    table: TableArgument,
    batch_size: BatchSizeOption = None,
    steps: Annotated[
        str | None,
        typer.Option("--steps", metavar="COLUMN", help="Steps to the target; with --target, the step of a row."),
    ] = None,
    target: Annotated[
        list[float] | None,
        typer.Option("--target", metavar="X", help="Count the steps to X along the curves; may be given again."),
    ] = None,
    loss: Annotated[str | None, typer.Option("--loss", metavar="COLUMN", help="What the targets are about.")] = None,
    mode: Annotated[
        str | None, typer.Option("--mode", metavar="min|max", help="Which direction of it is better.")
    ] = None,
    learning_rate: Annotated[
        str | None,
        typer.Option("--learning-rate", metavar="COLUMN", help="Peak learning rate: steps are those at the best."),
    ] = None,
    seed: SeedOption = None,
    group: Annotated[
        list[str] | None,
        typer.Option("--group", metavar="COLUMN", help="One trade-off for each value of it; may be given again."),
    ] = None,
    budget_steps: Annotated[
        str | None,
        typer.Option("--budget-steps", metavar="COLUMN", help="Steps of a run that missed its target."),
    ] = None,
    reached: Annotated[
        str | None, typer.Option("--reached", metavar="COLUMN", help="Whether a run reached its target: yes or no.")
    ] = None,
    status: StatusOption = None,
    run: RunOption = None,
    diverged_above: DivergedAboveOption = None,
    study: StudyOption = None,
    out: Annotated[
        ResultsPlace | None,
        typer.Option(
            "--out",
            metavar="PLACE",
            parser=ResultsPlace.of,
            help="Folder or URL to write to (default: tradeoff-<name of the table>).",
        ),
    ] = None,
) -> None:
    """Fit the trade-off between steps and examples: S_min, E_min and the critical batch size, with intervals."""
    from analysis.sources import read_source
    from analysis.step_tables import run_counts
    from analysis.tradeoff_analysis import analyse_steps, rate_note
    from analysis.tradeoff_source import StepRequest, step_trials

    given = {
        "batch_size": batch_size,
        "steps": steps,
        "loss": loss,
        "learning_rate": learning_rate,
        "seed": seed,
        "status": status,
        "run": run,
    }
    request = StepRequest(
        given=given,
        groups=group or (),
        reached=reached,
        budget_steps=budget_steps,
        targets=target or (),
        mode=_mode(mode),
        diverged_above=diverged_above,
    )
    title = table_stem(table, study)
    place = out or ResultsPlace.of(f"tradeoff-{title}")
    check_place(place)
    runs = read_source(table, study=study)
    say(f"{runs.origin}.", *runs.notes)
    sweeps = step_trials(runs, request)
    said = (*sweeps.notes, *rate_note(sweeps.trials))
    say(*said)
    _check_names(sweeps)
    order = list(sweeps.groups["sweep"])
    with count_sweeps(len(order)) as done:
        analysis = analyse_steps(sweeps.trials, sweeps=order, done=done)
    counts = run_counts(sweeps.trials, sweeps=order)
    notes = (*runs.notes, *said)
    paths = _write(analysis, sweeps, place, title=title, counts=counts, source=runs.origin, notes=notes)
    show_tradeoff(analysis, sweeps.groups, counts, along_targets=bool(target))
    tables = ", ".join(path.name for path in paths if path.suffix == ".csv")
    line()
    line(f"tables: {tables} in {place}")
    line(f"report: {place.where(REPORT_FILE)}")


def _mode(mode: str | None) -> Mode | None:
    from analysis.errors import TableError

    if mode not in (None, "min", "max"):
        raise TableError(f"--mode is min or max, but got {mode!r}")
    return None if mode is None else "max" if mode == "max" else "min"


def _check_names(sweeps: SweepTable) -> None:
    from analysis.optimum import OPTIMUM_COLUMNS
    from analysis.output import check_groups
    from analysis.step_tables import RUN_COUNT_COLUMNS
    from analysis.tradeoff import STEP_COLUMNS, TRADEOFF_COLUMNS

    columns = {"tradeoff": TRADEOFF_COLUMNS, "steps": STEP_COLUMNS, "optima": OPTIMUM_COLUMNS}
    check_groups(sweeps.groups, {**columns, "runs": ("batch_size", *RUN_COUNT_COLUMNS)})


def _write(
    analysis: Analysis,
    sweeps: SweepTable,
    place: ResultsPlace,
    *,
    title: str,
    counts: pd.DataFrame,
    source: str,
    notes: tuple[str, ...],
) -> list[Path]:
    """Write tables and report; they appear together, once all of them are made."""
    from analysis.output import write_tables
    from analysis.report import write_report

    tables = {"tradeoff": analysis.tradeoff, "steps": analysis.steps, "runs": counts}
    if len(analysis.optima):
        tables["optima"] = analysis.optima
    with publishing(place.store()) as making:
        made = write_tables(tables, making, groups=sweeps.groups)
        page = making / REPORT_FILE
        made.append(write_report(analysis, page, title=title, trials=sweeps.trials, source=source, notes=notes))
    return made
