"""The only door to stored rows: append-only, atomic, in a folder or an object store.

Layout under the store's root: ``parts/<trial_id>.json`` holds one finished trial with its curves and probes;
``compacted/<n>-trials.parquet``, ``<n>-curves.parquet`` and ``<n>-probes.parquet`` hold many. A part is removed only
after the Parquet files that contain it are complete, so a crash leaves duplicates, never gaps. Of a trial that
is stored more than once, readers take the row that did not fail, and among equals the newest.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from .duplicates import one_row_a_trial
from .parts import MEASURED, conform, parse_part, part_of, tables_of
from .schema import PROBE, TRIAL_COLUMNS, Status, validate_trial
from .storage import Storage, StorageFailure, open_storage

Keep = Callable[..., tuple[pd.DataFrame, ...]]
"""Takes the tables of one file and returns what of them is held."""

_PARTS, _COMPACTED = "parts", "compacted"
_MOST_READINGS = 10
"""A compaction lasts longer than a reading: to meet ten in a row, files must vanish without being moved."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SkippedFile:
    """A file that was not read, and why. It is left where it is."""

    path: str
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredTables:
    """All that a store holds: one row a trial, and what was measured in the trials' runs.

    Attributes:
        trials: columns as in ``TRIAL_COLUMNS``.
        curves: columns as in ``CURVE_COLUMNS``.
        probes: columns as in ``PROBE_COLUMNS``.
        skipped: files that are torn or foreign.
    """

    trials: pd.DataFrame
    curves: pd.DataFrame
    probes: pd.DataFrame
    skipped: list[SkippedFile]


class ResultStore:
    """Trials, curves and probes of one study. One process writes (the driver); any number may read meanwhile."""

    def __init__(self, place: str | os.PathLike[str] | Storage) -> None:
        """Point at a local folder, a URL or a storage. Nothing is created or read yet.

        Raises:
            StorageError: it can't be a place of results.
        """
        self.storage = open_storage(place)
        self.url = self.storage.url
        self.before_writing: Callable[[], None] = lambda: None
        """Called before anything is written; what it raises is raised, and nothing is written."""
        self._read_statuses: dict[str, str] | None = None

    # -- writing ------------------------------------------------------------------------------------

    def append(
        self,
        trial: Mapping[str, Any],
        curves: Sequence[Mapping[str, Any]] = (),
        probes: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Store one finished trial. When this returns, the row survives a crash of the machine.

        A trial that is stored as failed may be stored once more; the new row then stands for it.

        Args:
            trial: a row with exactly ``TRIAL_COLUMNS``.
            curves: rows with ``CURVE_COLUMNS`` but the id.
            probes: rows with ``PROBE_COLUMNS`` but the id.

        Raises:
            ValueError: the row breaks the schema, or a trial of this id is stored that did not fail.
            OSError: the storage refused; nothing was stored.
        """
        validate_trial(trial)
        trial_id = trial["trial_id"]
        if self._statuses().get(trial_id, Status.FAILED) != Status.FAILED:
            raise ValueError(f"a trial is stored once, but {trial_id} is in {self.url} already")
        self._write(f"{_PARTS}/{trial_id}.json", part_of(trial, {"curves": curves, "probes": probes}))
        self._statuses()[trial_id] = str(trial["status"])

    def compact(self) -> int:
        """Move all parts into one set of Parquet files and return how many trials were moved."""
        self.before_writing()
        for folder in (_PARTS, _COMPACTED):
            self.storage.remove_unfinished(folder)
        parts, _ = self._read_parts()
        if not parts:
            return 0
        number = 1 + max((int(name.split("-")[0]) for name in self._compacted("trials")), default=-1)
        trials, *measured = tables_of(parts.values())
        # Trials last: a trials file without what was measured must never be visible.
        for table, frame in zip(MEASURED, measured, strict=True):
            self._write(f"{_COMPACTED}/{number:06d}-{table}.parquet", _parquet(frame))
        self._write(f"{_COMPACTED}/{number:06d}-trials.parquet", _parquet(trials))
        self.storage.remove_each(f"{_PARTS}/{trial_id}.json" for trial_id in parts)
        return len(parts)

    def write_text(self, name: str, text: str) -> None:
        """Write a small companion file (the resolved study, a report) beside the rows, atomically."""
        self.write_bytes(name, text.encode())

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write a small companion file; see ``write_text``."""
        self._write(name, data)

    def _write(self, name: str, data: bytes) -> None:
        self.before_writing()
        self.storage.write(name, data)

    # -- reading ------------------------------------------------------------------------------------

    def trial_ids(self) -> set[str]:
        """Return the ids stored, read once and then kept current by this writer."""
        return set(self._statuses())

    def _statuses(self) -> dict[str, str]:
        if self._read_statuses is None:
            trials = self.trials(("trial_id", "status"))
            self._read_statuses = dict(zip(trials["trial_id"], trials["status"], strict=True))
        return self._read_statuses

    def trials(self, columns: Sequence[str] = tuple(TRIAL_COLUMNS)) -> pd.DataFrame:
        """Return one row a trial, with these of ``TRIAL_COLUMNS``; empty when nothing is stored.

        What was measured in the trials' runs is looked at, but not held.
        """
        kept = list(dict.fromkeys((*columns, "trial_id", "status")))
        found, _ = self._tables(lambda trials, *_: (trials[kept],))
        return one_row_a_trial(found)[0][list(columns)]

    def curves(self) -> pd.DataFrame:
        """Return one row a measurement, columns as in ``CURVE_COLUMNS``."""
        return self.read().curves

    def skipped(self) -> list[SkippedFile]:
        """Return the files under the store that are torn or foreign, with the reason."""
        return self.read().skipped

    def read(self) -> StoredTables:
        """Return all tables in one pass over the storage; a run may be writing and compacting meanwhile."""
        tables, skipped = self._tables(lambda *tables: tables)
        trials, curves, probes = one_row_a_trial(tables)
        return StoredTables(trials=trials, curves=curves, probes=probes, skipped=skipped)

    def _tables(self, keep: Keep) -> tuple[list[tuple[pd.DataFrame, ...]], list[SkippedFile]]:
        """Return what ``keep`` leaves of each file's tables, the oldest first, and the files that were not read."""
        for _ in range(_MOST_READINGS - 1):
            with contextlib.suppress(_Moved):
                return self._tables_once(keep)
        return self._tables_once(keep, may_move=False)

    def _tables_once(
        self, keep: Keep, *, may_move: bool = True
    ) -> tuple[list[tuple[pd.DataFrame, ...]], list[SkippedFile]]:
        # Parts first: one that is compacted meanwhile is then seen twice, or there; never nowhere.
        parts, skipped = self._read_parts()
        newest = keep(*tables_of(parts.values()))
        found = []
        for name in self._compacted("trials"):
            path = f"{_COMPACTED}/{name}"
            try:
                found.append(keep(*self._read_compacted(path)))
            except StorageFailure:
                raise
            except Exception as error:  # pyarrow raises many types for a damaged file
                if may_move and isinstance(error, FileNotFoundError) and not self.storage.is_file(path):
                    raise _Moved from None
                skipped.append(SkippedFile(path=self.storage.where(path), reason=_first_line(error)))
        return [*found, newest], skipped

    def _read_compacted(self, path: str) -> tuple[pd.DataFrame, ...]:
        trials = conform(self._read_parquet(path), TRIAL_COLUMNS)
        measured = []
        for table, columns in MEASURED.items():
            beside = path.replace("-trials.", f"-{table}.")
            if table == "probes" and not (trials["purpose"] == PROBE).any() and not self.storage.is_file(beside):
                measured.append(conform(pd.DataFrame(columns=list(columns)), columns))  # stored before there were any
            else:
                measured.append(conform(self._read_parquet(beside), columns))
        return trials, *measured

    def _compacted(self, table: str) -> list[str]:
        return [name for name in self.storage.names(_COMPACTED) if _is_compacted(name, table)]

    def _read_parquet(self, path: str) -> pd.DataFrame:
        return pd.read_parquet(io.BytesIO(self.storage.read(path)))

    def _read_parts(self) -> tuple[dict[str, dict[str, Any]], list[SkippedFile]]:
        parts: dict[str, dict[str, Any]] = {}
        skipped: list[SkippedFile] = []
        names = [f"{_PARTS}/{name}" for name in self.storage.names(_PARTS)]
        for name, data in zip(names, self.storage.read_each(names), strict=True):
            if isinstance(data, FileNotFoundError):
                continue  # compacted meanwhile
            try:
                if isinstance(data, OSError):
                    raise data
                part = parse_part(data)
                trial_id = part["trial"]["trial_id"]
                if name != f"{_PARTS}/{trial_id}.json":
                    raise ValueError(f"a part has the name of its trial, but this one holds {trial_id!r}")
                parts[trial_id] = part
            except (ValueError, KeyError, OSError) as error:
                skipped.append(SkippedFile(path=self.storage.where(name), reason=_first_line(error)))
        return parts, skipped


class _Moved(Exception):
    """A file was compacted into another after it was listed."""


def _is_compacted(name: str, table: str) -> bool:
    number, _, rest = name.partition("-")
    return number.isdigit() and rest == f"{table}.parquet"


def _parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]
