"""What the trade-off says, in words; every critical batch size stands beside its definition."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from .figures.text import number as plot_number
from .step_tables import RUN_COUNT_COLUMNS
from .tradeoff import STEP_STATUSES, overhead_batch_size

B_CRIT = "B_crit = E_min/S_min"
_NOT_BOUNDED = {
    "unbounded_high": "B_crit has no upper end: the tested batches are too small to show where steps stop falling",
    "unbounded_low": "B_crit has no lower end: the tested batches are too large to show where examples stop falling",
    "unbounded": "B_crit is not bounded on either side: the steps scatter too much, or too few are measured",
}


def tradeoff_sentences(row: Mapping[str, Any], steps: pd.DataFrame, counts: pd.DataFrame, *, name: str) -> list[str]:
    """Return the sentences about one sweep.

    Args:
        row: of the table ``tradeoff``.
        steps: rows of the table ``steps`` of this sweep.
        counts: rows of ``step_tables.run_counts`` of this sweep.
        name: of the sweep, empty for the only one.
    """
    head = f"{name}: " if name else ""
    lines = [_result(row, steps, counts, head)]
    if counts["runs"].sum() != counts["not_reached"].sum():
        lines += _row_notes(steps, counts, head)
    if row["status"] != "failed":
        lines.append(_overhead(row, head))
    return [line for line in lines if line]


def estimate(value: float, low: float, high: float) -> str:
    """Return a value with its 95 % interval, or the bound that is all that is known."""
    if math.isfinite(value):
        return f"{number(value)} [{number(low)}, {number(high)}]"
    if math.isfinite(low) and math.isfinite(high):
        return f"between {number(low)} and {number(high)}"
    if math.isfinite(low):
        return f"at least {number(low)}"
    return f"at most {number(high)}" if math.isfinite(high) else "not known"


def movement(rows: Sequence[Mapping[str, Any]], *, name: str) -> list[str]:
    """Return how B_crit moves along the targets of one group, given their rows of ``tradeoff`` with ``target``.

    The interval of a ratio joins the two intervals as independent; runs that serve both targets mostly err together, so
    that it is rather too wide.
    """
    head = f"{name}: " if name else ""
    listed = "; ".join(
        f"{estimate(row['b_crit'], row['b_crit_low'], row['b_crit_high'])} at target {row['target']:g}" for row in rows
    )
    known = [row for row in rows if row["status"] == "ok"]
    if len(known) < 2:
        return [f"{head}{B_CRIT} along the targets: {listed}. Fewer than two are bounded, so its move is not known."]
    first, last = known[0], known[-1]
    ratio, low, high = ratio_interval(last, first)
    verdict = "the data do not show that it moves"
    if low > 1 or high < 1:
        verdict = f"it {'rises' if low > 1 else 'falls'}"
    return [
        f"{head}{B_CRIT} along the targets: {listed}. From target {first['target']:g} to {last['target']:g} it changes "
        f"by a factor of {ratio:.2g} [{low:.2g}, {high:.2g}]: {verdict}."
    ]


def ratio_interval(top: Mapping[str, Any], bottom: Mapping[str, Any]) -> tuple[float, float, float]:
    """Return the ratio of two B_crit with a 95 % interval from their own, taken as independent (in ln)."""
    up, down = (np.log([row["b_crit"], row["b_crit_low"], row["b_crit_high"]]) for row in (top, bottom))
    middle = up[0] - down[0]
    low = middle - math.hypot(up[0] - up[1], down[2] - down[0])
    high = middle + math.hypot(up[2] - up[0], down[0] - down[1])
    return math.exp(middle), math.exp(low), math.exp(high)


def number(value: float) -> str:
    """Return a number to three digits with plain characters, as a terminal or a pipe takes it."""
    return plot_number(value).replace("\u202f", "")


def _result(row: Mapping[str, Any], steps: pd.DataFrame, counts: pd.DataFrame, head: str) -> str:
    if row["status"] == "failed":
        if counts["runs"].sum() == counts["not_reached"].sum():
            return f"{head}no trade-off between steps and examples: none of {len(counts)} batch sizes reached a target."
        measured = int(steps["status"].eq("measured").sum())
        have = "batch size has" if measured == 1 else "batch sizes have"
        return (
            f"{head}no trade-off between steps and examples: {measured or 'no'} {have} measured steps to the target, "
            f"three are needed for {B_CRIT}."
        )
    numbers = ", ".join(
        f"{words} {estimate(row[key], row[f'{key}_low'], row[f'{key}_high'])} {unit}"
        for key, words, unit in (
            ("s_min", "S_min", "steps"),
            ("e_min", "E_min", "examples"),
            ("b_crit", B_CRIT, "examples per step"),
        )
    )
    why = _NOT_BOUNDED.get(str(row["status"]), "")
    return f"{head}{numbers}.{f' {why}.' if why else ''}"


def _overhead(row: Mapping[str, Any], head: str) -> str:
    ends = [overhead_batch_size(row[key]) for key in ("b_crit", "b_crit_low", "b_crit_high")]
    return f"{head}batch size at 20 % more examples than the fewest (B_crit/5): {estimate(*ends)} examples per step."


def _row_notes(steps: pd.DataFrame, counts: pd.DataFrame, head: str) -> Iterable[str]:
    for status, words in STEP_STATUSES.items():
        rows = steps[steps["status"] == status]
        if status != "measured" and len(rows):
            batches = ", ".join(number(batch) for batch in rows["batch_size"])
            yield f"{head}steps at batch size {batches}: {words}."
    sums = counts[list(RUN_COUNT_COLUMNS)].sum()
    others = [f"{sums[key]} {key.replace('_', ' ')}" for key in RUN_COUNT_COLUMNS[1:] if sums[key]]
    if others:
        yield f"{head}of {sums['runs']} runs {', '.join(others)}."
