"""The only door to stored rows: append-only, atomic, on any fsspec URL.

Layout under the store's root: ``parts/<trial_id>.json`` holds one finished trial with its curves and probes;
``compacted/<n>-trials.parquet``, ``<n>-curves.parquet`` and ``<n>-probes.parquet`` hold many. A part is removed only
after the Parquet files that contain it are complete, so a crash leaves duplicates, never gaps. Of a trial that
is stored more than once, readers take the row that did not fail, and among equals the newest.
"""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import fsspec
import pandas as pd

from .duplicates import one_row_a_trial
from .parts import MEASURED, conform, parse_part, part_of, tables_of
from .schema import PROBE, TRIAL_COLUMNS, Status, validate_trial


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

    def __init__(self, url: str | os.PathLike[str]) -> None:
        """Point at ``url``: a local folder, or any URL fsspec knows. Nothing is created or read yet."""
        self.url = os.fspath(url)
        # A local path is taken as it is: fsspec would read some characters, such as "::", as its own.
        self._local = "://" not in self.url or self.url.startswith("file://")
        if self._local:
            self._fs: Any = fsspec.filesystem("file")
            self._root = os.path.abspath(os.path.expanduser(self.url.removeprefix("file://")))
        else:
            self._fs, self._root = fsspec.core.url_to_fs(self.url)
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
        self._write(f"parts/{trial_id}.json", part_of(trial, {"curves": curves, "probes": probes}))
        self._statuses()[trial_id] = str(trial["status"])

    def compact(self) -> int:
        """Move all parts into one set of Parquet files and return how many trials were moved."""
        parts, _ = self._read_parts()
        if not parts:
            return 0
        number = 1 + max((int(os.path.basename(p).split("-")[0]) for p in self._compacted("trials")), default=-1)
        trials, *measured = tables_of(parts.values())
        # Trials last: a trials file without what was measured must never be visible.
        for table, frame in zip(MEASURED, measured, strict=True):
            self._write(f"compacted/{number:06d}-{table}.parquet", _parquet(frame))
        self._write(f"compacted/{number:06d}-trials.parquet", _parquet(trials))
        for trial_id in parts:
            self._fs.rm_file(f"{self._root}/parts/{trial_id}.json")
        return len(parts)

    def write_text(self, name: str, text: str) -> None:
        """Write a small companion file (the resolved study, a report) beside the rows, atomically."""
        self._write(name, text.encode())

    def _write(self, name: str, data: bytes) -> None:
        path = f"{self._root}/{name}"
        folder = os.path.dirname(path)
        self._fs.makedirs(folder, exist_ok=True)
        if not self._local:  # object stores publish a put as a whole
            self._fs.pipe_file(path, data)
            return
        temporary = f"{folder}/.{os.path.basename(path)}.{os.getpid()}.tmp"
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException as error:
            if os.path.exists(temporary):
                os.remove(temporary)
            if isinstance(error, OSError) and error.filename is None and error.errno is not None:
                # A write that fails for want of space does not say where.
                raise OSError(error.errno, error.strerror, path) from error
            raise
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

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
        """Return all tables in one pass over the storage."""
        tables, skipped = self._tables(lambda *tables: tables)
        trials, curves, probes = one_row_a_trial(tables)
        return StoredTables(trials=trials, curves=curves, probes=probes, skipped=skipped)

    def _tables(
        self, keep: Callable[..., tuple[pd.DataFrame, ...]]
    ) -> tuple[list[tuple[pd.DataFrame, ...]], list[SkippedFile]]:
        """Return what ``keep`` leaves of each file's tables, the oldest first, and the files that were not read."""
        # Parts first: one that is compacted meanwhile is then seen twice, or there; never nowhere.
        parts, skipped = self._read_parts()
        newest = keep(*tables_of(parts.values()))
        found = []
        for path in self._compacted("trials"):
            try:
                found.append(keep(*self._read_compacted(path)))
            except Exception as error:  # pyarrow raises many types for a damaged file
                skipped.append(SkippedFile(path=path, reason=_first_line(error)))
        return [*found, newest], skipped

    def _read_compacted(self, path: str) -> tuple[pd.DataFrame, ...]:
        trials = conform(self._read_parquet(path), TRIAL_COLUMNS)
        measured = []
        for table, columns in MEASURED.items():
            beside = _beside(path, table)
            if table == "probes" and not (trials["purpose"] == PROBE).any() and not self._fs.exists(beside):
                measured.append(conform(pd.DataFrame(columns=list(columns)), columns))  # stored before there were any
            else:
                measured.append(conform(self._read_parquet(beside), columns))
        return trials, *measured

    def _compacted(self, table: str) -> list[str]:
        folder = f"{self._root}/compacted"
        if not self._fs.isdir(folder):
            return []
        # Listed, not globbed: the folder's own name may hold a pattern.
        return sorted(path for path in self._fs.ls(folder, detail=False) if _is_compacted(path, table))

    def _read_parquet(self, path: str) -> pd.DataFrame:
        return pd.read_parquet(io.BytesIO(self._fs.cat_file(path)))

    def _read_parts(self) -> tuple[dict[str, dict[str, Any]], list[SkippedFile]]:
        parts: dict[str, dict[str, Any]] = {}
        skipped: list[SkippedFile] = []
        folder = f"{self._root}/parts"
        if not self._fs.isdir(folder):
            return parts, skipped
        for path in sorted(self._fs.ls(folder, detail=False)):
            if os.path.basename(path).startswith("."):
                continue  # a write that never finished
            try:
                part = parse_part(self._fs.cat_file(path))
                parts[part["trial"]["trial_id"]] = part
            except FileNotFoundError:
                continue  # compacted since the folder was listed: the tables hold it
            except (ValueError, KeyError, OSError) as error:
                skipped.append(SkippedFile(path=path, reason=_first_line(error)))
        return parts, skipped


def _is_compacted(path: str, table: str) -> bool:
    number, _, rest = os.path.basename(path).partition("-")
    return number.isdigit() and rest == f"{table}.parquet"


def _beside(trials_path: str, table: str) -> str:
    folder, _, name = trials_path.rpartition("/")
    return f"{folder}/{name.replace('-trials.', f'-{table}.')}"


def _parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]
