"""Rows as a run would store them, and the faults that storages have."""

from __future__ import annotations

import math
from typing import Any

from results import TRIAL_COLUMNS

DEFAULTS = {"str": "x", "int64": 1, "float64": 1.5}


def row(trial_id: str, **changes: Any) -> dict[str, Any]:
    plain = {name: DEFAULTS[column.dtype] for name, column in TRIAL_COLUMNS.items()}
    return plain | {"trial_id": trial_id, "status": "reached", "mode": "min", "purpose": "sweep"} | changes


def points(count: int, value: float = 0.5) -> list[dict[str, Any]]:
    return [{"step": k, "examples": 8 * k, "name": "loss", "value": value} for k in range(count)]


def probe_rows(count: int) -> list[dict[str, Any]]:
    plain = {"step": 3, "examples": 24, "name": "gradient_square", "scope": "all", "batch_size": 8, "rate": math.nan}
    return [plain | {"draw": k, "total": 0.5 if k == 0 else math.inf, "count": 1} for k in range(count)]
