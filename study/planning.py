"""The dry run: what a study would run, with its arithmetic and its price."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from rich.table import Table

from .cost import CostModel
from .design import Design
from .display import duration
from .resolve import BatchArithmetic, ResolvedStudy
from .terminal import plain_table, text_row


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlanRow:
    """One batch size of one sweep."""

    sweep: str
    arithmetic: BatchArithmetic
    rates: tuple[float, ...]
    trials: int
    stored: int
    missing_seconds: float | None
    """Expected core time of what is missing; ``None`` where nothing comparable is stored."""

    @property
    def missing(self) -> int:
        """Trials to run."""
        return self.trials - self.stored


def plan(study: ResolvedStudy, design: Design, rows: Mapping[str, Mapping[str, Any]]) -> list[PlanRow]:
    """Return what the study consists of, given what is stored."""
    cost = CostModel(rows.values())
    table = []
    for sweep in design.sweeps:
        for batch_size, lane in sweep.lanes.items():
            span = lane.span(rows)
            ids = [lane.trial_id(index, seed) for index in span for seed in sweep.sweep.seeds]
            missing = sum(trial_id not in rows for trial_id in ids)
            seconds = cost.seconds(lane.trial(span[0], sweep.sweep.seeds[0]))  # all of them cost the same
            table.append(
                PlanRow(
                    sweep=sweep.name,
                    arithmetic=study.arithmetic[sweep.name, batch_size],
                    rates=tuple(lane.lattice.rate(index) for index in span),
                    trials=len(ids),
                    stored=len(ids) - missing,
                    missing_seconds=missing * seconds if seconds is not None else (None if missing else 0.0),
                )
            )
    return table


def plan_table(rows: list[PlanRow]) -> Table:
    """Return the plan as a table."""
    # For 80 columns: the batch is split into micro-batch × accumulation × workers.
    headers = ("sweep", "batch", "split", "rates", "steps\n(examples)", "stored", "cost")
    table = plain_table(*headers, right=[name for name in headers if name not in ("sweep", "rates")], no_wrap=True)
    for row in rows:
        batch = row.arithmetic
        cells = (
            row.sweep,
            f"{batch.batch_size:,}",
            f"{batch.micro_batch_size}×{batch.accumulation_steps}×{batch.world_size}",
            f"{len(row.rates)}: {row.rates[0]:.3g}–{row.rates[-1]:.3g}",
            f"{batch.steps:,} ({batch.examples:,})",
            f"{row.stored}/{row.trials}",
            "" if row.missing_seconds is None or not row.missing else duration(row.missing_seconds),
        )
        table.add_row(*text_row(*cells))
    return table


def plan_summary(rows: list[PlanRow], *, extendable: bool, places: int | None = None) -> str:
    """Return the totals in words.

    Args:
        rows: the plan.
        extendable: whether the grid may grow.
        places: trials that run at a time, for the time it takes; ``None`` where nobody knows.
    """
    missing = sum(row.missing for row in rows)
    if not missing:
        return f"nothing to run: all {sum(row.trials for row in rows)} trials are stored"
    examples = sum(row.missing * row.arithmetic.examples for row in rows)
    probes = [row.arithmetic.probe_steps for row in rows if row.arithmetic.probe_steps is not None]
    price = _price(rows, places)
    more = "; the grid may grow where the best rate lies at its edge" if extendable else ""
    if probes:
        cost = f"{min(probes):,.0f}" if min(probes) == max(probes) else f"{min(probes):,.0f} to {max(probes):,.0f}"
        runs = "1 probe run follows" if len(probes) == 1 else f"{len(probes)} probe runs follow"
        more += f"; {runs}, each probe as long as {cost} training steps"
    return (
        f"{sum(row.trials for row in rows)} trials, {sum(row.stored for row in rows)} stored, {missing} to run: "
        f"at most {examples:,} examples; {price}{more}"
    )


def _price(rows: list[PlanRow], places: int | None) -> str:
    costs = [(row.missing_seconds, row.missing) for row in rows]
    known = [(seconds, missing) for seconds, missing in costs if seconds is not None]
    if len(known) < len(costs):
        return "cost unknown: nothing comparable is stored"
    total = sum(seconds for seconds, _ in known)
    whose = "one worker's" if all(row.arithmetic.world_size == 1 for row in rows) else "one crew's"
    price = f"about {duration(total)} of {whose} time, judged by stored trials"
    if not places:
        return price
    longest = max(seconds / missing for seconds, missing in known if missing)  # no trial is shared between places
    return f"{price}, so about {duration(max(total / places, longest))} here"
