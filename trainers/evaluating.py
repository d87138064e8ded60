"""One evaluation, and what its values say of the weights."""

from __future__ import annotations

import math

import torch

from .engine import Engine
from .workload import Workload


def broken_value(values: dict[str, float], metric: str) -> str:
    """Return the name of a value that says that the weights are lost, or nothing.

    The target's must be finite, and none may be NaN: a vote or a count can be made of NaN and look well.
    """
    if not math.isfinite(values.get(metric, 0.0)):
        return metric
    return next((name for name, value in values.items() if math.isnan(value)), "")


def evaluate(workload: Workload, engine: Engine) -> dict[str, float]:
    """Return the workload's metrics of the engine's model, which is in training mode before and after."""
    model = engine.model
    model.eval()
    try:
        with torch.no_grad():
            metrics = workload.evaluate(model)
    finally:
        model.train()
    if set(metrics) != set(workload.metrics):
        raise RuntimeError(
            f"{workload.name}.evaluate must report exactly its metrics {workload.metrics}, but got {tuple(metrics)}"
        )
    return metrics
