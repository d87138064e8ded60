"""W&B's offline runs, read by the format of their file: a header of 7 bytes, then records in blocks of 32 KiB.

A record, or a piece of one, is a checksum (4 bytes), its length (2), its kind (1: whole, 2: first, 3: middle, 4: last)
and its bytes; what is left of a block when 7 bytes don't fit is padding.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

BLOCK = 32 * 1024
HEADER = 7


def read_records(path: Path) -> list[Any]:
    from wandb.proto.wandb_internal_pb2 import Record

    data, position, pieces, records = path.read_bytes(), HEADER, b"", []
    assert data.startswith(b":W&B")
    while position + HEADER <= len(data):
        left = BLOCK - position % BLOCK
        if left < HEADER:
            position += left
            continue
        length, kind = struct.unpack_from("<HB", data, position + 4)
        pieces += data[position + HEADER : position + HEADER + length]
        position += HEADER + length
        if kind in (1, 4):
            records.append(Record.FromString(pieces))
            pieces = b""
    return records


def read_run(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the configuration and the history of a run's folder."""
    (path,) = folder.glob("run-*.wandb")
    config: dict[str, Any] = {}
    history = []
    for record in read_records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        if kind == "history":
            values = {
                item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item
            }
            history.append(values)
    return config, history
