"""TensorBoard's event files, read by the format's description and not by the library that wrote them.

A record is its length (8 bytes), a checksum of it (4), its bytes and a checksum of these (4).
"""

from __future__ import annotations

import struct
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event

Scalars = dict[str, list[tuple[int, float]]]


def read_events(folder: Path) -> list[Event]:
    (path,) = folder.glob("events.out.tfevents.*")
    data, events, position = path.read_bytes(), [], 0
    while position < len(data):
        (length,) = struct.unpack_from("<Q", data, position)
        events.append(Event.FromString(data[position + 12 : position + 12 + length]))
        position += 16 + length
    assert position == len(data)
    return events


def read_scalars(folder: Path) -> Scalars:
    """Return tag -> steps and values, in the order of the file."""
    scalars: Scalars = {}
    for event in read_events(folder):
        for value in event.summary.value:
            if value.HasField("simple_value"):
                scalars.setdefault(value.tag, []).append((event.step, value.simple_value))
    return scalars
