"""Comma- and tab-separated text, and what exports call CSV."""

from __future__ import annotations

import codecs
import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from ..errors import TableError
from .table import RunTable, Source, file_table, shown_path
from .wandb_export import spread_dictionaries

SUFFIXES = (".csv", ".tsv", ".tab", ".txt")
DELIMITERS = (",", "\t", ";", "|")
_TAB = "\t"
_SAMPLE_LINES = 50
_ROWS_AT_ONCE = 50_000


def read_text(location: str, study: str | None = None) -> RunTable:  # noqa: ARG001
    """Return the rows of a delimited text file with every cell as text; blank lines don't count, but are numbered.

    The delimiter is the one of ``DELIMITERS`` that cuts the first lines into the same number of fields.

    Raises:
        TableError: for bytes that are no text, rows of another length than the header, a name that stands twice in the
            header, or no rows.
        OSError: the file can't be read.
    """
    name = shown_path(location)
    text = _decode(Path(location).read_bytes(), name)
    header, delimiter = _header(text, name)
    frame, numbers = _parse(text, header, delimiter, name)
    origin = f"{'TSV' if delimiter == _TAB else 'CSV'} file {name}, {len(frame):,} rows"
    spread, notes = spread_dictionaries(frame)
    return file_table(spread, origin=origin, row_numbers=numbers, notes=notes)


def _decode(data: bytes, name: str) -> str:
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    if encoding != "utf-16" and b"\0" in data:
        raise TableError(f"a text table holds no NUL bytes, but {name} does at byte {data.index(0)}; export it anew")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise TableError(
            f"a text table is UTF-8, but {name} has the byte 0x{data[error.start]:02x} at byte {error.start}; "
            "save it as UTF-8"
        ) from None


def _header(text: str, name: str) -> tuple[list[str], str]:
    sample = [line for line in text[:200_000].splitlines()[:_SAMPLE_LINES] if line.strip()]
    if not sample:
        raise TableError(f"a table needs a header and a row for each run, but {name} is empty")
    found = [(_agreement(sample, delimiter), -rank, delimiter) for rank, delimiter in enumerate(DELIMITERS)]
    delimiter = max(found)[2]
    try:
        header = [cell.strip() for cell in next(csv.reader(io.StringIO(text), delimiter=delimiter))]
    except (csv.Error, StopIteration) as error:
        raise TableError(
            f"the first line of a table names its columns, but that of {name} can't be read: {error}"
        ) from None
    header = [cell or f"column {number}" for number, cell in enumerate(header, start=1)]
    twice = sorted({cell for cell in header if header.count(cell) > 1}) if len(set(header)) < len(header) else []
    if twice:
        raise TableError(f"a column's name stands once in the header, but {name} has {twice[0]!r} twice; rename one")
    return header, delimiter


def _agreement(sample: list[str], delimiter: str) -> tuple[float, int]:
    """Return the share of lines with as many fields as the first, and that number; (0, 0) for one field."""
    try:
        counts = [len(row) for row in csv.reader(sample, delimiter=delimiter)]
    except csv.Error:
        return 0.0, 0
    if not counts or counts[0] < 2:
        return 0.0, 0
    return sum(count == counts[0] for count in counts) / len(counts), counts[0]


def _parse(text: str, header: list[str], delimiter: str, name: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Return all cells as text, and the line that each row ends on."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    parts: list[pa.Table] = []
    rows: list[list[str]] = []
    numbers: list[int] = []
    width = len(header)

    def put_aside() -> None:
        # Lists of lists of strings take ten times the memory of columns.
        if rows:
            parts.append(pa.table([pa.array(cells, pa.string()) for cells in zip(*rows, strict=True)], names=header))
            rows.clear()

    try:
        next(reader)
        for row in reader:
            if (not row or not row[0].strip()) and not any(cell.strip() for cell in row):
                continue
            if len(row) != width:
                raise TableError(
                    f"each row has as many fields as the header, but row {reader.line_num} of {name} has {len(row)} "
                    f"where the header has {len(header)}; mend that row"
                )
            rows.append(row)
            numbers.append(reader.line_num)
            if len(rows) == _ROWS_AT_ONCE:
                put_aside()
    except csv.Error as error:
        raise TableError(f"row {reader.line_num} of {name} can't be read: {error}; mend that row") from None
    put_aside()
    if not parts:
        return pd.DataFrame(columns=header, dtype="str"), np.array([], dtype=int)
    return pa.concat_tables(parts).to_pandas(), np.array(numbers)


SOURCE = Source(
    name="text",
    summary="a .csv or .tsv file",
    matches=lambda location: Path(location).suffix.lower() in SUFFIXES,
    read=read_text,
)
