"""Probe runs: the best cell of a batch size once more, measured inside."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from results import PROBE, Status

from .config import Probes, Sweep
from .extension import score_cell

if TYPE_CHECKING:
    from .design import PlannedTrial, Rows


def probe_run(
    cells: Sequence[Sequence[PlannedTrial]], rows: Rows, *, sweep: Sweep, probes: Probes
) -> PlannedTrial | None:
    """Return the best cell's run with probes; ``None`` while a cell is missing, or where no rate has a score.

    It is the run of the first seed that did not fail. Probes lie at shares of that run's length, which its stored row
    tells: a budget would say little of a run that stops at its target.

    Args:
        cells: of one batch size, each with its trials, one a seed.
        rows: the stored rows.
        sweep: that the cells belong to.
        probes: what is measured, complete.
    """
    stored = [[rows[trial.trial_id] for trial in cell if trial.trial_id in rows] for cell in cells]
    if any(len(found) < len(cell) for found, cell in zip(stored, cells, strict=True)):
        return None
    mode = str(sweep.target.mode)
    scores = [score_cell(found, outcome=sweep.outcome, mode=mode).score for found in stored]
    best = min(range(len(cells)), key=lambda i: scores[i])
    if math.isinf(scores[best]):
        return None
    trial, row = next(
        (trial, row) for trial, row in zip(cells[best], stored[best], strict=True) if row["status"] != Status.FAILED
    )
    steps = sorted({round(int(row["steps"]) * fraction) for fraction in probes.fractions})
    return with_probes(trial, {**probes.measurement_at(trial.spec.batch_size), "steps": steps})


def with_probes(trial: PlannedTrial, probes: Mapping[str, Any]) -> PlannedTrial:
    """Return ``trial`` as a probe run, whose losses are the same."""
    return dataclasses.replace(trial, spec=dataclasses.replace(trial.spec, probes=probes), purpose=PROBE)
