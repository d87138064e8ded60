"""A known learning rate moved along a law that is assumed, without any measurements."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .errors import TableError
from .law import Law
from .prediction import KnownPair, LawShare, Prediction, require_positive


def predict_by_law(law: Law, *, batch_size: float, pair: KnownPair, shape: Mapping[str, float]) -> Prediction:
    """Move a known rate along one assumed law, without any data: there is no interval.

    Args:
        law: its first parameter, the level, is set by the pair.
        batch_size: examples per step over all devices.
        pair: where the rate is known.
        shape: a value for each of the law's other parameters.

    Raises:
        TableError: for shape parameters that are missing, unknown or out of bounds.
    """
    require_positive(batch_size, "the batch size")
    level, *others = law.parameters
    wanted = {p.name: p for p in others}
    unknown = [name for name in shape if name not in wanted]
    if unknown:
        hint = (
            f"{level.name} follows from the known pair"
            if level.name in unknown
            else f"it has {', '.join(wanted) or 'none'}"
        )
        raise TableError(f"{law.name} has no shape parameter {unknown[0]!r}; {hint}")
    missing = [p for p in others if p.name not in shape]
    if missing:
        means = "; ".join(f"{p.name} ({', '.join(filter(None, (p.meaning, p.unit)))})" for p in missing)
        raise TableError(f"{law.name} needs a value for {means}; give --parameter {missing[0].name}=VALUE")
    for name, value in shape.items():
        low, high = wanted[name].bounds
        if not (np.isfinite(value) and low < value < high):
            raise TableError(f"{name} must lie between {low:g} and {high:g}, but got {value:g}")
    values = np.array([1.0, *(shape[p.name] for p in others)])
    ends = law.ln_rate(np.log([pair.batch_size, batch_size]), values)
    rate = float(pair.learning_rate * np.exp(ends[1] - ends[0]))
    return Prediction(
        sweep="",
        outcome="",
        batch_size=float(batch_size),
        status="ok",
        learning_rate=rate,
        laws=(LawShare(law=law.name, weight=None, learning_rate=rate, low=None, high=None),),
        pair=pair,
    )
