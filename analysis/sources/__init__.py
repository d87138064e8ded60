"""The places that hold runs, one file each; to add one, write its file and list it here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ..errors import TableError
from .mlflow_folder import SOURCE as MLFLOW_FOLDER
from .mlflow_server import SOURCE as MLFLOW
from .optuna_storage import SOURCE as OPTUNA
from .parquet_file import SOURCE as PARQUET
from .ray_folder import SOURCE as RAY
from .results_folder import SOURCE as RESULTS
from .table import CURVE_COLUMNS, RunTable, Source
from .text_file import SOURCE as TEXT

__all__ = ["CURVE_COLUMNS", "SOURCES", "RunTable", "Source", "read_source"]

SOURCES: Mapping[str, Source] = {
    source.name: source for source in (RESULTS, TEXT, PARQUET, MLFLOW, OPTUNA, RAY, MLFLOW_FOLDER)
}


def read_source(location: str | os.PathLike[str], *, study: str | None = None) -> RunTable:
    """Return the runs of a file, a folder or a URL; what it is is seen from its name and from what it holds.

    Args:
        location: a path, or the URL of a storage.
        study: which study of a storage that holds several; None where there is one.

    Raises:
        TableError: nothing there that can be read as runs; see the sources.
        OSError: the file system refused.
    """
    place = os.fspath(location)
    if "\0" in place:
        raise TableError("a table's path holds no NUL character; check the spelling")
    source = next((source for source in SOURCES.values() if source.matches(place)), None)
    if source is None:
        if "://" not in place and not Path(place).exists():
            raise TableError(f"{place}: no such file or folder; check the spelling")
        kinds = "; ".join(source.summary for source in SOURCES.values())
        raise TableError(f"{place}: holds no runs that can be read; a table is {kinds}")
    if study is not None and not source.takes_study:
        raise TableError(f"--study names a study of a storage that holds several, but {place} is {source.summary}")
    return source.read(place, study)
