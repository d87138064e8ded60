"""Whether the best rate of one batch size lies at the edge of its grid, and on which side the grid must grow."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, Literal

from results import Status


@dataclasses.dataclass(frozen=True, kw_only=True)
class CellScore:
    """One batch size and rate over its seeds: ``score`` is better when smaller, infinite when there is none."""

    score: float
    diverged: bool
    known: bool = True
    """Whether some seed did not fail: a cell of failures says nothing about its rate."""


def score_cell(
    rows: Sequence[Mapping[str, Any]], *, outcome: Literal["steps_to_target", "value_at_budget"], mode: str
) -> CellScore:
    """Return the mean over the seeds that did not fail.

    One seed that diverged or missed the target makes the mean infinite: such a rate is no optimum, but it
    brackets one.
    """
    rows = [row for row in rows if row["status"] != Status.FAILED]
    scores = [_score(row, outcome=outcome, mode=mode) for row in rows]
    return CellScore(
        score=fmean(scores) if scores else math.inf,
        diverged=any(row["status"] == Status.DIVERGED for row in rows),
        known=bool(scores),
    )


def _score(row: Mapping[str, Any], *, outcome: str, mode: str) -> float:
    if row["status"] == Status.DIVERGED:
        return math.inf
    if outcome == "steps_to_target":
        return row["steps_to_target"] if row["status"] == Status.REACHED else math.inf
    value = row["value"] if mode == "min" else -row["value"]
    return value if math.isfinite(value) else math.inf


def open_sides(cells: Sequence[CellScore]) -> tuple[bool, bool]:
    """Return whether the grid must grow below and above, given its cells in increasing order of the rate.

    Cells that failed are as if they were not there. Where no rate has a score, the grid grows below if its lowest rate
    diverged, else above if its highest did not: stable, faster rates may lie there.
    """
    cells = [cell for cell in cells if cell.known]
    if not cells:
        return False, False
    best = min(cell.score for cell in cells)
    if math.isinf(best):
        below = cells[0].diverged
        return below, not below and not cells[-1].diverged
    return cells[0].score <= best, cells[-1].score <= best
