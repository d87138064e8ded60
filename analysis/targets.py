"""Steps to a target from training curves: the first crossing of each run, interpolated between its evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd

from .law import Array

TARGET_COLUMNS = (
    "run",
    "target",
    "status",  # reached | exhausted (never met: at least `steps`) | diverged (before it met the target)
    "steps",  # where the curve ends, or met the target
    "steps_to_target",  # NaN where not reached
)
SHARE_REACHING = 0.75
"""Share of the runs that should reach a suggested target: a target that most runs miss makes bounds, not steps."""


def steps_to_targets(
    curves: pd.DataFrame,
    targets: Sequence[float],
    *,
    mode: Literal["min", "max"] = "min",
    statuses: Mapping[str, str] | None = None,
    diverged_above: float | None = None,
) -> pd.DataFrame:
    """Return the steps to every target for every run.

    Between the last evaluation that misses the target and the first that meets it, the value is taken as linear in ln
    step (in step from step 0): a loss that falls as a power of the steps bends less that way. The first evaluation of
    a run meets no target by interpolation: where it is good enough already, its step counts. Nothing is smoothed, so
    noise in the evaluations makes the first crossing a little early.

    A run diverged where its value is infinite, is NaN at its end, or passes ``diverged_above``, and where ``statuses``
    says so; a target met before is met. A NaN between evaluations, and any NaN of a run that has such, is no
    evaluation.

    Args:
        curves: the columns run, step and value, in any order.
        targets: values to meet.
        mode: ``min`` where lower is better.
        statuses: run -> reached | exhausted | diverged | failed, where known; failed runs stay failed.
        diverged_above: a value beyond which a run counts as diverged (below which, for ``max``).

    Returns:
        ``TARGET_COLUMNS``, a row per run and target, sorted by both; a run without an evaluation is left out.
    """
    sign = 1.0 if mode == "min" else -1.0
    known = dict(statuses or {})
    ordered = curves.sort_values(["run", "step"], kind="stable")
    limit = np.inf if diverged_above is None else sign * diverged_above
    rows: list[tuple[object, ...]] = []
    for run, part in ordered.groupby("run", sort=True):
        step = part["step"].to_numpy(dtype=float)
        value = sign * part["value"].to_numpy(dtype=float)
        step, value, diverged = _evaluations(step, value, limit)
        if not len(step) and not diverged:
            continue
        state = known.get(str(run), "")
        for target in targets:
            at = first_crossing(step, value, sign * target)
            end = float(step[-1]) if len(step) else np.nan
            if state == "failed":
                rows.append((run, target, "failed", end, np.nan))
            elif np.isfinite(at):
                rows.append((run, target, "reached", at, at))
            else:
                rows.append((run, target, "diverged" if diverged or state == "diverged" else "exhausted", end, np.nan))
    return pd.DataFrame(rows, columns=list(TARGET_COLUMNS))


def first_crossing(step: Array, value: Array, target: float) -> float:
    """Return the step at which a curve, shapes (n,), first falls to ``target``; NaN if it never does.

    Args:
        step: increasing.
        value: finite, lower is better.
        target: to be met.
    """
    met = np.flatnonzero(value <= target)
    if not len(met):
        return float("nan")
    i = int(met[0])
    if i == 0 or value[i] == target:
        return float(step[i])
    share = (value[i - 1] - target) / (value[i - 1] - value[i])
    if step[i - 1] <= 0:
        return float(step[i - 1] + share * (step[i] - step[i - 1]))
    return float(np.exp(np.log(step[i - 1]) + share * np.log(step[i] / step[i - 1])))


def suggest_targets(curves: pd.DataFrame, *, mode: Literal["min", "max"] = "min", count: int = 3) -> list[float]:
    """Return ``count`` targets, the easiest first, of which the hardest is met by most of the runs; fewer if equal.

    They are spread evenly between the value that most runs have met after a fifth of their evaluations and the one that
    most meet at all, and rounded to three digits towards the easy side.
    """
    sign = 1.0 if mode == "min" else -1.0
    best, early = [], []
    for _, part in curves.sort_values(["run", "step"], kind="stable").groupby("run", sort=True):
        value = sign * part["value"].to_numpy(dtype=float)
        value = value[np.isfinite(value)]
        if len(value):
            best.append(value.min())
            early.append(value[: max(1, round(len(value) / 5))].min())
    if not best:
        return []
    hard = float(np.quantile(best, SHARE_REACHING))
    easy = max(hard, float(np.quantile(early, 0.5)))
    found: list[float] = []
    for share in np.linspace(0.5, 0.0, count):
        target = sign * _rounded_up(hard + share * (easy - hard))
        if target not in found:
            found.append(target)
    return found


def _rounded_up(value: float, digits: int = 3) -> float:
    if value == 0:
        return 0.0
    unit = 10.0 ** (np.floor(np.log10(abs(value))) - digits + 1)
    return float(f"{np.ceil(value / unit - 1e-9) * unit:.{digits}g}")


def _evaluations(step: Array, value: Array, limit: float) -> tuple[Array, Array, bool]:
    """Return the finite part of a run before it diverged, and whether it did; of equal steps the last counts."""
    missing = np.isnan(value)
    last = int(np.flatnonzero(~missing)[-1]) if (~missing).any() else -1
    blanks = missing[: last + 1].any()
    bad = np.isinf(value) | (value > limit)
    if not blanks:
        bad |= missing
    diverged = bool(bad.any())
    end = int(np.argmax(bad)) if diverged else len(value)
    step, value = step[:end], value[:end]
    step, value = step[~np.isnan(value)], value[~np.isnan(value)]
    newest = np.append(step[1:] != step[:-1], True) if len(step) else np.zeros(0, dtype=bool)
    return step[newest], value[newest], diverged
