"""Stored bytes and tables: how a finished trial becomes a part, and how parts become tables."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from .schema import CURVE_COLUMNS, PROBE_COLUMNS, SCHEMA_VERSION, TRIAL_COLUMNS, Column, validate_trial

MEASURED: Mapping[str, Mapping[str, Column]] = {"curves": CURVE_COLUMNS, "probes": PROBE_COLUMNS}
"""Tables of what was measured in a trial's run."""
_HEADER = f"batchlaw-part {SCHEMA_VERSION}"
_DEFAULTS = {name: column.default for name, column in TRIAL_COLUMNS.items() if column.default is not None}


def part_of(trial: Mapping[str, Any], measured: Mapping[str, Sequence[Mapping[str, Any]]]) -> bytes:
    """Return the bytes of one finished trial: a line with a checksum, then JSON.

    Args:
        trial: a row with exactly ``TRIAL_COLUMNS``.
        measured: table -> rows with the columns of ``MEASURED[table]`` but the id.
    """
    content = {
        table: {name: [row[name] for row in measured[table]] for name in columns if name != "trial_id"}
        for table, columns in MEASURED.items()
    }
    payload = json.dumps({"trial": dict(trial), **content}).encode()
    return f"{_HEADER} {hashlib.sha256(payload).hexdigest()}\n".encode() + payload


def parse_part(data: bytes) -> dict[str, Any]:
    """Return what ``part_of`` was given.

    Raises:
        ValueError: the bytes are no part of this version, or torn.
    """
    header, _, payload = data.partition(b"\n")
    prefix, _, digest = header.decode("utf-8", "replace").rpartition(" ")
    if prefix != _HEADER:
        raise ValueError(f"not a part of a batchlaw store of version {SCHEMA_VERSION}")
    if hashlib.sha256(payload).hexdigest() != digest:
        raise ValueError("the checksum in the first line does not fit the rest: torn or edited")
    part = json.loads(payload)
    part["trial"] = _DEFAULTS | part["trial"]
    validate_trial(part["trial"])
    return part


def tables_of(parts: Iterable[Mapping[str, Any]]) -> tuple[pd.DataFrame, ...]:
    """Return the trials of ``parts`` and, for each of ``MEASURED``, a table."""
    parts = list(parts)
    trials = pd.DataFrame([part["trial"] for part in parts], columns=list(TRIAL_COLUMNS))
    measured = [_measured(parts, table, columns) for table, columns in MEASURED.items()]
    return conform(trials, TRIAL_COLUMNS), *measured


def _measured(parts: Sequence[Mapping[str, Any]], table: str, columns: Mapping[str, Column]) -> pd.DataFrame:
    frames = [
        pd.DataFrame({"trial_id": part["trial"]["trial_id"], **part[table]})
        for part in parts
        if part.get(table, {}).get("step")
    ]
    return conform(pd.concat(frames) if frames else pd.DataFrame(columns=list(columns)), columns)


def conform(frame: pd.DataFrame, columns: Mapping[str, Column]) -> pd.DataFrame:
    """Return ``frame`` with these columns and types; columns that it is older than have their defaults.

    Raises:
        ValueError: it lacks a column.
    """
    added = {name: c.default for name, c in columns.items() if c.default is not None and name not in frame}
    frame = frame.assign(**added)
    missing = [name for name in columns if name not in frame]
    if missing:
        raise ValueError(f"the table lacks the columns {missing}")
    return frame[list(columns)].astype({name: column.dtype for name, column in columns.items()}).reset_index(drop=True)
