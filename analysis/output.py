"""Tables as CSV files in which a sweep is named by its group columns."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from .errors import TableError
from .grouping import ALL


def write_tables(
    tables: Mapping[str, pd.DataFrame], folder: str | os.PathLike[str], *, groups: pd.DataFrame
) -> list[Path]:
    """Write each table as ``<stem>.csv`` (UTF-8) into ``folder``, made if needed; each file is complete or not there.

    The group columns stand in place of the column ``sweep``. Without group columns, ``sweep`` is dropped where it is
    the one label of an undivided table, and else stays.

    Args:
        tables: file stem -> table, with or without the column ``sweep``.
        folder: where to write.
        groups: the column ``sweep`` and the group columns, one row a sweep.

    Raises:
        TableError: a group column has the name of a table's own column; nothing is written then.
        OSError: the file system refused.
    """
    written = {stem: name_sweeps(table, groups) for stem, table in tables.items()}
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    return [write_csv(table, target / f"{stem}.csv") for stem, table in written.items()]


def check_groups(groups: pd.DataFrame, tables: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse group columns that have the name of a column of a table to be written (stem -> columns)."""
    for stem, columns in tables.items():
        clash = sorted((set(groups.columns) - {"sweep"}) & set(columns))
        if clash:
            raise TableError(
                f"a group column needs a name of its own, but {stem}.csv has a column {clash[0]!r} too; rename the "
                "table's column"
            )


def name_sweeps(table: pd.DataFrame, groups: pd.DataFrame) -> pd.DataFrame:
    """Return ``table`` with the group columns in place of ``sweep``; see ``write_tables``."""
    if "sweep" not in table.columns:
        return table
    names = [name for name in groups.columns if name != "sweep"]
    if not names:
        alone = list(groups["sweep"]) == [ALL]
        return table.drop(columns="sweep") if alone else table
    check_groups(groups, {"a result": tuple(name for name in table.columns if name != "sweep")})
    row = pd.Index(groups["sweep"]).get_indexer(pd.Index(table["sweep"].astype(str)))
    if (row < 0).any():
        raise ValueError(
            f"groups must name every sweep, but {table['sweep'].iloc[int((row < 0).argmax())]!r} is missing"
        )
    values = groups[names].iloc[row].reset_index(drop=True)
    return pd.concat([values, table.drop(columns="sweep").reset_index(drop=True)], axis=1)


def write_csv(table: pd.DataFrame, path: Path) -> Path:
    """Write one table to ``path`` in one piece: readers see the old file or the new one."""
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=f".{path.name}.", delete=False, encoding="utf-8", newline=""
    ) as file:
        try:
            table.to_csv(file, index=False, lineterminator="\n")
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            Path(file.name).unlink()
            raise
    Path(file.name).chmod(0o644)
    os.replace(file.name, path)
    return path
