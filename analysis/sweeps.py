"""From a user's runs to the trials of the analysis: sweeps, rates, seeds, statuses, every step of it said in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd

from .cells import Outcome
from .columns import Columns, usual_name
from .errors import TableError
from .grouping import ALL
from .last_step import last_rows
from .metric_mode import guess_mode
from .numbers import blank_cells
from .other_settings import other_settings
from .rate_labels import snap_rates
from .run_places import count_runs, finished_runs, measured_cells, place_runs, settle_grid, settle_seeds
from .sources import RunTable

__all__ = ["ALL", "SweepTable", "loss_sweeps", "snap_rates", "step_sweeps"]

LOSS_TRIAL_COLUMNS = (
    "sweep",
    "batch_size",
    "learning_rate",
    "seed",
    "status",  # exhausted | diverged
    "value",
    "mode",
    "metric",  # the loss column's name
    "run",
)
STEP_TRIAL_COLUMNS = (
    "sweep",
    "batch_size",
    "learning_rate",  # NaN where the table has no rates
    "seed",
    "status",  # reached | exhausted | diverged
    "steps",
    "steps_to_target",  # NaN where the target was not reached
    "run",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepTable:
    """Trials that ``study_analysis.analyse`` takes, and where they come from.

    Attributes:
        trials: the core's columns (``LOSS_TRIAL_COLUMNS`` or ``STEP_TRIAL_COLUMNS``), batch sizes whole numbers where
            they all are.
        groups: the column ``sweep`` and the group columns, one row a sweep, values as in the source.
        outcomes: sweep -> what decides which rate is best.
        notes: what was left out or put together, one sentence each.
        mode: min or max; None where sweeps of a stored study say it themselves, or the outcome is steps.
    """

    trials: pd.DataFrame
    groups: pd.DataFrame
    outcomes: Mapping[str, Outcome]
    notes: tuple[str, ...] = ()
    mode: str | None = None

    @property
    def outcome(self) -> Outcome:
        """The outcome that all sweeps share.

        Raises:
            ValueError: they differ.
        """
        found = sorted(set(self.outcomes.values()))
        if len(found) != 1:
            raise ValueError(f"sweeps share one outcome, but got {found}")
        return found[0]


def loss_sweeps(
    table: RunTable,
    columns: Columns,
    *,
    mode: Literal["min", "max"] | None = None,
    diverged_above: float | None = None,
) -> SweepTable:
    """Return the trials of a table of losses, or of another metric, at the end of each run.

    Rows of unfinished runs are left out; of rows along one run the last counts; a loss that is no finite number, or is
    above ``diverged_above``, is a diverged run; repeated runs are replicates.

    Args:
        table: the runs.
        columns: batch_size, learning_rate and loss; seed, status and steps where there are any.
        mode: which direction of the metric is better; None: as the source declares or the metric's name says.
        diverged_above: losses above it are diverged runs.

    Raises:
        TableError: cells that can't be read, a direction that can't be told.
    """
    loss = columns.need("loss")
    notes: list[str] = []
    mode = mode or _mode(table, loss, notes)
    if diverged_above is not None and mode == "max":
        raise TableError(
            f"--diverged-above is about a loss, where low is good, but {loss!r} has the mode max; leave it out"
        )
    rows, diverged, grouping = finished_runs(table, columns, notes)
    work = place_runs(table, columns, rows, grouping.sweep)
    values = measured_cells(table, columns, "loss", rows)
    work = work.assign(value=np.where(diverged, np.nan, values), blank=blank_cells(table.runs[loss].iloc[rows]))
    if columns["steps"] is not None:
        work["steps"] = measured_cells(table, columns, "steps", rows)
        work, said = last_rows(
            work, ["sweep", "batch_size", "learning_rate", "seed_", "run_"], step_column=columns.need("steps")
        )
        notes += said
    above = np.zeros(len(work), dtype=bool) if diverged_above is None else (work["value"] > diverged_above).to_numpy()
    lost = work["value"].isna().to_numpy()
    if lost.any():
        notes.append(f"{count_runs(lost)} without a finite {loss!r}: taken as diverged.")
    if above.any():
        notes.append(f"{count_runs(above)} with {loss!r} above {diverged_above:g}: taken as diverged.")
    work["status"] = np.where(lost | above, "diverged", "exhausted")
    work.loc[above, "value"] = np.nan
    work = work.assign(mode=mode, metric=loss)
    work = settle_grid(work, notes)
    notes += other_settings(table, columns, work)
    work["seed"] = settle_seeds(work, columns, notes)
    return SweepTable(
        trials=work[list(LOSS_TRIAL_COLUMNS)].reset_index(drop=True),
        groups=grouping.table,
        outcomes=dict.fromkeys(grouping.table["sweep"], "value_at_budget"),
        notes=tuple(notes),
        mode=mode,
    )


def step_sweeps(table: RunTable, columns: Columns) -> SweepTable:
    """Return the trials of a table of steps to a target; a blank or infinite cell is a target that was not reached.

    Args:
        table: the runs.
        columns: batch_size and steps; learning_rate, seed and status where there are any.

    Raises:
        TableError: cells that can't be read.
    """
    notes: list[str] = []
    rows, diverged, grouping = finished_runs(table, columns, notes)
    work = place_runs(table, columns, rows, grouping.sweep)
    name = columns.need("steps")
    steps = measured_cells(table, columns, "steps", rows)
    if np.any(steps <= 0):
        position = int(np.flatnonzero(steps <= 0)[0])
        where = table.where(int(rows[position]))
        raise TableError(
            f"steps (column {name!r}) must be above zero, but {where} has {steps[position]:g}; correct or drop it"
        )
    missed = np.isnan(steps)
    if missed.any():
        notes.append(f"{count_runs(missed)} without a number in {name!r}: taken as targets that were not reached.")
    status = np.select([diverged, missed], ["diverged", "exhausted"], "reached")
    work = work.assign(status=status, steps=steps, steps_to_target=np.where(diverged, np.nan, steps))
    work = settle_grid(work, notes)
    work["seed"] = settle_seeds(work, columns, notes)
    return SweepTable(
        trials=work[list(STEP_TRIAL_COLUMNS)].reset_index(drop=True),
        groups=grouping.table,
        outcomes=dict.fromkeys(grouping.table["sweep"], "steps_to_target"),
        notes=tuple(notes),
    )


def _mode(table: RunTable, loss: str, notes: list[str]) -> Literal["min", "max"]:
    declared = table.directions.get(loss)
    if declared is not None:
        return "max" if declared == "max" else "min"
    guessed = guess_mode(usual_name(loss))
    if guessed is None:
        raise TableError(f"the name {loss!r} does not say whether low or high is good; say --mode min or --mode max")
    notes.append(f"Of {loss!r} {'low' if guessed == 'min' else 'high'} is taken to be good (--mode says otherwise).")
    return guessed
