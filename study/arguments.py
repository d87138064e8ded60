"""Arguments that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from .place import ResultsPlace

StudyArgument = Annotated[str, typer.Argument(metavar="STUDY", help="A YAML file, or the name of a preset.")]
OutOption = Annotated[
    ResultsPlace | None,
    typer.Option(
        "--out",
        metavar="PLACE",
        parser=ResultsPlace.of,
        help="Folder or URL of the results (default: <storage_path>/<study name>; storage_path: results).",
    ),
]
PlaceArgument = Annotated[
    ResultsPlace,
    typer.Argument(metavar="PLACE", parser=ResultsPlace.of, help="Folder or URL of a study's results."),
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
        help="A folder or URL of results, a .csv, .tsv or .parquet file, an Optuna storage URL, a Ray Tune experiment "
        "folder, an MLflow folder or URL, a W&B export.",
    ),
]
