"""Parquet files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from ..errors import TableError
from .table import RunTable, Source, file_table, shown_path


def read_parquet(location: str, study: str | None = None) -> RunTable:  # noqa: ARG001
    """Return the rows of a Parquet file; a row's number counts from 1.

    Raises:
        TableError: the file is no Parquet, names a column twice, or has no rows.
        OSError: the file can't be opened.
    """
    name = shown_path(location)
    try:
        with Path(location).open("rb") as file:
            table = pyarrow.parquet.read_table(file)
        twice = [column for column in table.column_names if table.column_names.count(column) > 1]
        if twice:
            raise TableError(f"a column's name stands once in a table, but {name} has {twice[0]!r} twice; rename one")
        frame = table.to_pandas()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise TableError(f"{name} is no Parquet file that can be read ({reason}); write it anew") from None
    # A named index is a column; one without a name is what a filter left of the row numbers.
    frame = frame.reset_index(drop=all(name is None for name in frame.index.names))
    frame.columns = [str(column) for column in frame.columns]
    return file_table(
        frame, origin=f"Parquet file {name}, {len(frame):,} rows", row_numbers=np.arange(1, len(frame) + 1)
    )


SOURCE = Source(
    name="parquet",
    summary="a .parquet file",
    matches=lambda location: Path(location).suffix.lower() in (".parquet", ".pq"),
    read=read_parquet,
)
