"""Nested settings as flat columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def flatten(values: Mapping[str, Any], *, prefix: str = "", separator: str) -> dict[str, Any]:
    """Return nested mappings as one, keys joined by ``separator``; ``{"value": x, "desc": …}``, as W&B writes, is x."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{separator}{key}" if prefix else str(key)
        if isinstance(value, Mapping) and "value" in value and set(value) <= {"value", "desc"}:
            value = value["value"]
        if isinstance(value, Mapping):
            flat |= flatten(value, prefix=name, separator=separator)
        else:
            flat[name] = value
    return flat
