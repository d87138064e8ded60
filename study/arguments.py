"""Arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def local_folder(text: str) -> Path:
    """Return ``text`` as a path.

    Raises:
        BadParameter: it is a URL, which a path would silently turn into a folder of this machine.
    """
    if "://" in text:
        raise typer.BadParameter(
            f"results lie in a folder of this machine (or mounted on it), but got {text}; give one, and copy it later"
        )
    return Path(text)


StudyArgument = Annotated[str, typer.Argument(metavar="STUDY", help="A YAML file, or the name of a preset.")]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="DIR", parser=local_folder, help="Folder of the results (default: results/<study name>)."
    ),
]
FolderArgument = Annotated[
    Path, typer.Argument(metavar="DIR", parser=local_folder, help="Folder of a study's results.")
]

RESAMPLES = 200
ResamplesOption = Annotated[
    int, typer.Option("--resamples", metavar="N", min=40, max=100_000, help="Draws behind every interval.")
]
ProcessesOption = Annotated[
    int | None,
    typer.Option("--processes", metavar="N", min=1, help="Processes for many sweeps (default: one a core)."),
]

# Columns of a table that was made elsewhere
BatchSizeOption = Annotated[
    str | None, typer.Option("--batch-size", metavar="COLUMN", help="Global batch size (default: by usual names).")
]
SeedOption = Annotated[str | None, typer.Option("--seed", metavar="COLUMN", help="Tells repeated runs apart.")]
StatusOption = Annotated[str | None, typer.Option("--status", metavar="COLUMN", help="How a run ended.")]
RunOption = Annotated[str | None, typer.Option("--run", metavar="COLUMN", help="Name of a run.")]
DivergedAboveOption = Annotated[
    float | None, typer.Option("--diverged-above", metavar="X", help="A loss above X is a diverged run.")
]
StudyOption = Annotated[str | None, typer.Option("--study", metavar="NAME", help="Optuna study or MLflow experiment.")]

TableArgument = Annotated[
    str,
    typer.Argument(
        metavar="TABLE",
        help="A folder of results, a .csv, .tsv or .parquet file, an Optuna storage URL, a Ray Tune experiment folder, "
        "an MLflow folder or URL, a W&B export.",
    ),
]
