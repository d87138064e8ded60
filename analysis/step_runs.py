"""Runs with their steps to a target, the ones that never reached it included, as trials of the analysis."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pandas as pd

from .columns import Columns, usual_name
from .errors import TableError
from .numbers import to_losses
from .run_places import count_runs, finished_runs
from .sources import RunTable
from .sweeps import SweepTable, step_sweeps

NOT_REACHED = frozenset(
    {"not_reached", "unreached", "never", "never_reached", "missed", "target_missed", "exhausted", "censored"}
    | {"right_censored", "budget", "out_of_budget", "budget_exhausted", "max_steps", "no"}
)
REACHED_NAMES = frozenset({"reached", "target_reached", "reached_target", "hit_target"})
BUDGET_NAMES = frozenset({"budget_steps", "step_budget", "steps_budget", "budget", "max_steps"})
_YES = frozenset({"true", "yes", "y", "1", "1.0", "reached"})
_NO = frozenset({"false", "no", "n", "0", "0.0", ""}) | NOT_REACHED
_BOUND = re.compile(r"(?:>=|>|≥)\s*(\S+)|(\S+)\s*\+")


def usual_column(table: RunTable, names: frozenset[str], taken: set[str | None]) -> str | None:
    """Return the one column with a usual name among ``names`` that plays no other part; None if none or several."""
    found = [name for name in table.names if usual_name(name) in names and name not in taken]
    return found[0] if len(found) == 1 else None


def read_step_runs(
    table: RunTable, columns: Columns, *, reached: str | None = None, budget_steps: str | None = None
) -> SweepTable:
    """Return the trials of a table of steps to a target.

    A run did not reach its target where its steps are blank, infinite or words such as ``not reached``, where they are
    a bound such as ``>1000``, and where its state or ``reached`` says so. It took at least the steps in its own cell,
    else those in ``budget_steps``, else an unknown number: then all runs of its batch size and rate are put aside, as
    their mean is not known either, and a note says so.

    Args:
        table: the runs.
        columns: batch_size and steps; learning_rate, seed and status where there are any.
        reached: column of yes or no.
        budget_steps: column of the steps after which a run that has not reached its target was stopped.

    Raises:
        TableError: cells that can't be read.
    """
    table, missed, diverged, own = _plain(table, columns, reached)
    sweeps = step_sweeps(table, columns)
    rows = finished_runs(table, columns, [])[0]
    missed, own, diverged = missed[rows], own[rows], diverged[rows]
    trials = sweeps.trials.copy()
    diverged |= trials["status"].eq("diverged").to_numpy()
    missed = (missed | ~np.isfinite(trials["steps_to_target"].to_numpy(dtype=float))) & ~diverged
    bound = own
    if budget_steps is not None:
        what = f"budget (column {budget_steps!r})"
        budgets = to_losses(table.runs[budget_steps].iloc[rows], where=lambda i: table.where(int(rows[i])), what=what)
        bound = np.where(np.isfinite(own), own, budgets)
    bound = np.where(bound > 0, bound, np.nan)
    trials["steps"] = np.where(missed, bound, trials["steps"].to_numpy(dtype=float))
    trials.loc[missed | diverged, "steps_to_target"] = np.nan
    trials["status"] = np.select([diverged, missed], ["diverged", "exhausted"], "reached")
    notes = [note for note in sweeps.notes if "targets that were not reached" not in note]
    trials, said = _put_aside(trials, missed)
    return dataclasses.replace(sweeps, trials=trials, notes=(*notes, *said))


def _put_aside(trials: pd.DataFrame, missed: np.ndarray) -> tuple[pd.DataFrame, list[str]]:
    """Blank all runs of a cell in which a run missed the target after an unknown number of steps."""
    unknown = missed & ~np.isfinite(trials["steps"].to_numpy(dtype=float))
    notes = []
    if (missed & ~unknown).any():
        notes.append(
            f"{count_runs(missed & ~unknown)} did not reach the target: kept as lower bounds on the steps to it."
        )
    if unknown.any():
        cell = trials.groupby(["sweep", "batch_size", "learning_rate"], sort=False, dropna=False).ngroup().to_numpy()
        beside = np.isin(cell, np.unique(cell[unknown])) & ~unknown & trials["status"].ne("diverged").to_numpy()
        more = f", nor can {count_runs(beside)} beside them, as their mean is not known" if beside.any() else ""
        notes.append(
            f"{count_runs(unknown)} did not reach the target after a number of steps that the table does not say: they "
            f"bound nothing{more}. A column of budgets (--budget-steps) would make bounds of them."
        )
        trials = trials.copy()
        trials.loc[unknown | beside, ["steps", "steps_to_target"]] = np.nan
        trials.loc[beside, "status"] = "exhausted"
    return trials, notes


def _plain(
    table: RunTable, columns: Columns, reached: str | None
) -> tuple[RunTable, np.ndarray, np.ndarray, np.ndarray]:
    """Return the table with steps and states that any reader takes; who missed, who diverged, and the own bounds."""
    runs = table.runs.copy()
    missed, diverged = np.zeros(len(runs), dtype=bool), np.zeros(len(runs), dtype=bool)
    said_missed = np.zeros(len(runs), dtype=bool)
    status = columns["status"]
    if status is not None:
        words = _words(runs[status])
        said_missed |= np.isin(words, sorted(NOT_REACHED))
        runs[status] = np.where(said_missed, "exhausted", runs[status].astype(str))
    if reached is not None:
        words = _words(runs[reached])
        wrong = ~np.isin(words, sorted(_YES | _NO))
        if wrong.any():
            at = int(np.argmax(wrong))
            raise TableError(
                f"whether a run reached its target (column {reached!r}) must be yes or no, but {table.where(at)} has "
                f"{str(runs[reached].iloc[at])[:40]!r}; rename it, or name another column by --reached COLUMN"
            )
        said_missed |= np.isin(words, sorted(_NO))
    name = columns.need("steps")
    cells = runs[name]
    if not pd.api.types.is_numeric_dtype(cells.dtype):
        texts = cells.astype(str).str.strip()
        words = _words(cells)
        diverged |= np.isin(words, ["diverged", "divergence"])
        missed |= np.isin(words, sorted(NOT_REACHED))
        ends = texts.str.extract(f"^(?:{_BOUND.pattern})$")
        bounds = ends[0].fillna(ends[1]) if ends.shape[1] > 1 else ends[0]
        bounded = bounds.notna().to_numpy()
        said_missed |= bounded
        runs[name] = np.select([missed | diverged, bounded], ["inf", bounds.fillna("")], texts)
    plain = dataclasses.replace(table, runs=runs)
    values = to_losses(runs[name], where=table.where, what=f"steps (column {name!r})")
    return plain, missed | said_missed, diverged, np.where(said_missed, values, np.nan)


def _words(cells: pd.Series) -> np.ndarray:
    plain = cells.astype(str).str.strip().str.lower().str.replace(r"[\s-]+", "_", regex=True).fillna("")
    return plain.to_numpy(dtype=str)
