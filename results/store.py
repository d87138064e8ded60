"""The only door to stored rows: append-only, atomic, on any fsspec URL.

Layout under the store's root: ``parts/<trial_id>.json`` holds one finished trial with its curves;
``compacted/<n>-trials.parquet`` and ``compacted/<n>-curves.parquet`` hold many. A part is removed only
after the Parquet files that contain it are complete, so a crash leaves duplicates, never gaps. Of a trial that
is stored more than once, readers take the row that did not fail, and among equals the newest.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import fsspec
import pandas as pd

from .duplicates import one_row_a_trial
from .schema import CURVE_COLUMNS, SCHEMA_VERSION, TRIAL_COLUMNS, Column, Status, validate_trial

_HEADER = f"batchlaw-part {SCHEMA_VERSION}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SkippedFile:
    """A file that was not read, and why. It is left where it is."""

    path: str
    reason: str


class ResultStore:
    """Trials and curves of one study. One process writes (the driver); any number may read meanwhile."""

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

    def append(self, trial: Mapping[str, Any], curves: Sequence[Mapping[str, Any]] = ()) -> None:
        """Store one finished trial. When this returns, the row survives a crash of the machine.

        A trial that is stored as failed may be stored once more; the new row then stands for it.

        Args:
            trial: a row with exactly ``TRIAL_COLUMNS``.
            curves: rows with ``step``, ``examples``, ``name`` and ``value``.

        Raises:
            ValueError: the row breaks the schema, or a trial of this id is stored that did not fail.
            OSError: the storage refused; nothing was stored.
        """
        validate_trial(trial)
        trial_id = trial["trial_id"]
        if self._statuses().get(trial_id, Status.FAILED) != Status.FAILED:
            raise ValueError(f"a trial is stored once, but {trial_id} is in {self.url} already")
        columns = [name for name in CURVE_COLUMNS if name != "trial_id"]
        payload = json.dumps(
            {"trial": dict(trial), "curves": {name: [row[name] for row in curves] for name in columns}}
        ).encode()
        header = f"{_HEADER} {hashlib.sha256(payload).hexdigest()}\n".encode()
        self._write(f"parts/{trial_id}.json", header + payload)
        self._statuses()[trial_id] = str(trial["status"])

    def compact(self) -> int:
        """Move all parts into one pair of Parquet files and return how many trials were moved."""
        parts, _ = self._read_parts()
        if not parts:
            return 0
        number = 1 + max((int(os.path.basename(p).split("-")[0]) for p in self._compacted("trials")), default=-1)
        trials, curves = _frames(parts.values())
        # Curves first: a trials file without its curves must never be visible.
        self._write(f"compacted/{number:06d}-curves.parquet", _parquet(curves))
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
            trials = self.trials()
            self._read_statuses = dict(zip(trials["trial_id"], trials["status"], strict=True))
        return self._read_statuses

    def trials(self) -> pd.DataFrame:
        """Return one row a trial, columns as in ``TRIAL_COLUMNS``; empty when nothing is stored."""
        return self.read()[0]

    def curves(self) -> pd.DataFrame:
        """Return one row a measurement, columns as in ``CURVE_COLUMNS``."""
        return self.read()[1]

    def skipped(self) -> list[SkippedFile]:
        """Return the files under the store that are torn or foreign, with the reason."""
        return self.read()[2]

    def read(self) -> tuple[pd.DataFrame, pd.DataFrame, list[SkippedFile]]:
        """Return trials, curves and the skipped files in one pass over the storage."""
        parts, skipped = self._read_parts()
        tables: list[tuple[pd.DataFrame, pd.DataFrame]] = []  # the oldest first
        for path in self._compacted("trials"):
            try:
                rows = _conform(self._read_parquet(path), TRIAL_COLUMNS)
                points = _conform(self._read_parquet(_curves_beside(path)), CURVE_COLUMNS)
            except Exception as error:  # pyarrow raises many types for a damaged file
                skipped.append(SkippedFile(path=path, reason=_first_line(error)))
                continue
            tables.append((rows, points))
        trials, curves = one_row_a_trial([*tables, _frames(parts.values())])
        return trials, curves, skipped

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
                part = _parse_part(self._fs.cat_file(path))
                parts[part["trial"]["trial_id"]] = part
            except (ValueError, KeyError, OSError) as error:
                skipped.append(SkippedFile(path=path, reason=_first_line(error)))
        return parts, skipped


def _is_compacted(path: str, table: str) -> bool:
    number, _, rest = os.path.basename(path).partition("-")
    return number.isdigit() and rest == f"{table}.parquet"


def _curves_beside(trials_path: str) -> str:
    folder, _, name = trials_path.rpartition("/")
    return f"{folder}/{name.replace('-trials.', '-curves.')}"


def _parse_part(data: bytes) -> dict[str, Any]:
    header, _, payload = data.partition(b"\n")
    prefix, _, digest = header.decode("utf-8", "replace").rpartition(" ")
    if prefix != _HEADER:
        raise ValueError(f"not a part of a batchlaw store of version {SCHEMA_VERSION}")
    if hashlib.sha256(payload).hexdigest() != digest:
        raise ValueError("the checksum in the first line does not fit the rest: torn or edited")
    part = json.loads(payload)
    validate_trial(part["trial"])
    return part


def _frames(parts: Iterable[Mapping[str, Any]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    parts = list(parts)
    trials = pd.DataFrame([part["trial"] for part in parts], columns=list(TRIAL_COLUMNS))
    curves = [
        pd.DataFrame({"trial_id": part["trial"]["trial_id"], **part["curves"]})
        for part in parts
        if part["curves"]["step"]
    ]
    empty = pd.DataFrame(columns=list(CURVE_COLUMNS))
    return _conform(trials, TRIAL_COLUMNS), _conform(pd.concat(curves) if curves else empty, CURVE_COLUMNS)


def _conform(frame: pd.DataFrame, columns: Mapping[str, Column]) -> pd.DataFrame:
    missing = [name for name in columns if name not in frame]
    if missing:
        raise ValueError(f"the table lacks the columns {missing}")
    return frame[list(columns)].astype({name: column.dtype for name, column in columns.items()}).reset_index(drop=True)


def _parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]
