"""What a sweep measured, in the words that stand on its axes."""

from __future__ import annotations

import dataclasses
from typing import Literal

import pandas as pd

from .text import number

OutcomeName = Literal["steps_to_target", "value_at_budget"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """An outcome with its words. Names of metrics are raw: escape them where they are shown."""

    name: str
    label: str
    """Such as ``steps to validation_loss ≤ 2.3``."""
    lower_is_better: bool


def describe_outcome(trials: pd.DataFrame, outcome: str) -> Outcome:
    """Return the words for ``outcome`` in the trials of one sweep.

    Raises:
        ValueError: for an outcome that is not known.
    """
    if outcome not in ("steps_to_target", "value_at_budget"):
        raise ValueError(f"outcome must be steps_to_target or value_at_budget, but got {outcome!r}")
    metrics = sorted(set(trials["metric"]))
    modes = set(trials["mode"])
    metric = " / ".join(metrics) or "metric"
    if outcome == "value_at_budget":
        lower = modes != {"max"}
        hint = "lower is better" if lower else "higher is better"
        return Outcome(name=outcome, label=f"{metric} at the budget ({hint})", lower_is_better=lower)
    targets = sorted(set(trials["target"].dropna()))
    sign = "≥" if modes == {"max"} else "≤"
    goal = f"{metric} {sign} {number(targets[0])}" if len(targets) == 1 else "target"
    return Outcome(name=outcome, label=f"steps to {goal}", lower_is_better=True)
