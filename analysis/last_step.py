"""The end of each run, in a table that holds whole curves or runs of unequal length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from .errors import TableError

FEWEST_MEASUREMENTS = 3
"""A table holds curves if most of its runs have rows at three steps or more."""
SAME_LENGTH = 0.98
"""Share of the longest run's steps from which a run counts as one of full length."""


def last_rows(work: pd.DataFrame, keys: Sequence[str], *, step_column: str) -> tuple[pd.DataFrame, list[str]]:
    """Return the row at the end of each run, and sentences about what was done.

    In a table of curves, the last measured value counts; a run that goes on as long as the others but has no value at
    the end, where they have one, diverged (its value becomes NaN). Runs that ended before the others of their sweep and
    batch size with a finite value were stopped by someone, and are left out.

    Args:
        work: sweep, batch_size, steps, value (NaN: diverged), blank (nothing is written in the cell), and ``keys``.
        keys: columns that tell runs apart.
        step_column: the user's name of the steps.

    Raises:
        TableError: a table of curves whose runs can't be told apart.
    """
    notes = []
    run = work.groupby(list(keys), sort=False, dropna=False).ngroup().to_numpy()
    full = pd.Series(work["steps"].to_numpy())
    distinct = work.assign(run_=run).groupby("run_")["steps"].nunique()
    if len(distinct) and distinct.median() >= FEWEST_MEASUREMENTS:
        twice = pd.DataFrame({"run": run, "step": work["steps"].to_numpy()}).duplicated().to_numpy()
        if twice.any():
            first = work.iloc[int(np.argmax(twice))]
            raise TableError(
                f"a table of curves has one row a run and step, but batch size {first.batch_size:g} with rate "
                f"{first.learning_rate:g} has two at {step_column} {first.steps:g}; name the column that "
                "tells the runs apart by --seed, --run or --group"
            )
        notes.append(
            f"The table holds curves, {len(work):,} rows of {len(distinct):,} runs: the last value along "
            f"{step_column!r} of each run counts."
        )
        # A blank among measurements is a step without one; where most runs have none, it is a value that was lost.
        sparse = work["blank"].groupby(run).any().mean() > 0.5
        work, full = _ends(work if sparse else work.assign(blank=False), run)
    steps = work["steps"].to_numpy()
    usual = work["value"].notna().to_numpy()
    place = [work["sweep"].to_numpy(), work["batch_size"].to_numpy()]
    longest = pd.Series(np.where(usual, steps, np.nan)).groupby(place).transform("max").to_numpy()
    short = usual & (steps < SAME_LENGTH * longest)
    silent = short & (full.to_numpy() >= SAME_LENGTH * longest)
    if silent.any():
        work = work.assign(value=np.where(silent, np.nan, work["value"].to_numpy()))
        short &= ~silent
    if short.any():
        count = int(short.sum())
        notes.append(
            f"{count:,} run{'s' if count != 1 else ''} ended before the longest of their batch size ({step_column!r} "
            f"{steps[short].min():g} to {steps[short].max():g}): left out."
        )
        work = work[~short]
    return work, notes


def _ends(work: pd.DataFrame, run: np.ndarray) -> tuple[pd.DataFrame, pd.Series]:
    """Return the last row of each run that holds a value (else its last row), and each run's last step."""
    ordered = work.assign(run_=run).sort_values(
        ["run_", "blank", "steps"], ascending=[True, False, True], kind="stable"
    )
    last = ordered.drop_duplicates("run_", keep="last")
    full = work["steps"].groupby(run).max()
    return last.drop(columns="run_"), pd.Series(full.loc[last["run_"]].to_numpy())
