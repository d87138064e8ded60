"""``batchlaw export``: a stored study in the tools that show runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .arguments import PlaceArgument
from .terminal import line

INCOMPLETE = 1


def export(
    place: PlaceArgument,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Event files in loggers/tensorboard.")] = False,
    mlflow: Annotated[
        str | None, typer.Option("--mlflow", metavar="PLACE", help="An MLflow folder or tracking URL.")
    ] = None,
    wandb: Annotated[bool, typer.Option("--wandb", help="Offline runs of W&B in loggers/wandb.")] = False,
    optuna: Annotated[
        str | None, typer.Option("--optuna", metavar="URL", help="An Optuna storage, such as sqlite:///study.db.")
    ] = None,
) -> None:
    """Write a study's stored trials to other tools (default: those the study names); what they hold is left as it is.

    A password is given as '${NAME}' in single quotes, a variable of the environment.
    """
    from .errors import ConfigError
    from .folder import open_folder
    from .locations import without_secrets
    from .loggers_config import Loggers, MLflow, WandB
    from .scribe import open_scribe

    config, _ = open_folder(place)
    for option, tool in (("--mlflow", mlflow), ("--optuna", optuna)):
        try:
            without_secrets(tool, variable="NAME")
        except ValueError:
            raise ConfigError(
                f"{option}: a command's words are seen by others, but these hold a password; "
                f"write {option} '${{NAME}}' in single quotes and set that variable"
            ) from None
    given = Loggers(
        tensorboard=tensorboard,
        mlflow=MLflow(tracking_uri=_here(mlflow)) if mlflow else None,
        wandb=WandB() if wandb else None,
        optuna=_here(optuna),
    )
    loggers = given if given.wanted else config.loggers
    if not loggers.wanted:
        raise ConfigError(
            f"{place}: a study is written to the tools that it or the command names, but neither names one; "
            "give --tensorboard, --mlflow PLACE, --wandb or --optuna URL"
        )
    with open_scribe(config, place, say=line, loggers=loggers) as scribe:
        complete = scribe is not None and scribe.complete()
    if not complete:
        raise typer.Exit(INCOMPLETE)
    line(f"all stored trials of {config.name} are written")


def _here(place: str | None) -> str | None:
    """Return a place whose relative path counts from where the command is typed, not from the study's folder."""
    if place is None or place.startswith("${"):
        return place
    start, mark, rest = place.partition(":///")
    if mark and start.lower().startswith("sqlite") and not rest.startswith(("/", ":memory:")):
        return f"{start}:///{Path(rest).resolve()}"
    return place if "://" in place else str(Path(place).resolve())
