"""From runs with their steps to a target to the trade-off of every sweep."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from .cells import CELL_COLUMNS, Outcome, tabulate_cells
from .compare import VERDICT_COLUMNS
from .fit_tables import BAND_COLUMNS, FIT_COLUMNS
from .optimum import OPTIMUM_COLUMNS, locate_optima
from .step_tables import measured_steps
from .study_analysis import Analysis
from .tradeoff import STEP_COLUMNS, TRADEOFF_COLUMNS, fit_steps, steps_table, tradeoff_row

OUTCOME: Outcome = "steps_to_target"


def analyse_steps(
    trials: pd.DataFrame,
    *,
    sweeps: Sequence[str],
    seed: int = 0,
    resamples: int = 200,
    done: Callable[[], object] = lambda: None,
) -> Analysis:
    """Return the trade-off of every sweep; the tables of laws stay empty.

    Where a sweep tried several rates at a batch size, its steps are those at the best rate, and ``optima`` holds that
    rate. Else every run measures the steps of its batch size.

    Args:
        trials: the columns sweep, batch_size, learning_rate (NaN where there is none), seed, status, steps and
            steps_to_target.
        sweeps: in the order in which they are to stand; each has trials.
        seed: decides the resampling of the best rates.
        resamples: draws of it.
        done: called after each sweep.
    """
    optimum_parts, step_parts, rows = [], [], []
    by_sweep = dict(iter(trials.groupby("sweep", sort=False)))
    for sweep in sweeps:
        part = by_sweep[sweep]
        if has_rates(part):
            cells = tabulate_cells(part, outcome=OUTCOME)
            optima = locate_optima(cells, seed=seed, resamples=resamples)
            steps = steps_table(cells, optima)
            optimum_parts.append(optima.table)
        else:
            steps = measured_steps(part)
        step_parts.append(steps)
        rows.append(tradeoff_row(sweep, fit_steps(steps)))
        done()
    return Analysis(
        outcomes=dict.fromkeys(sweeps, OUTCOME),
        cells=pd.DataFrame(columns=list(CELL_COLUMNS)),
        optima=_stack(optimum_parts, OPTIMUM_COLUMNS),
        fits=pd.DataFrame(columns=list(FIT_COLUMNS)),
        bands=pd.DataFrame(columns=list(BAND_COLUMNS)),
        verdicts=pd.DataFrame(columns=list(VERDICT_COLUMNS)),
        steps=_stack(step_parts, STEP_COLUMNS),
        tradeoff=pd.DataFrame(rows, columns=list(TRADEOFF_COLUMNS)),
        curves=pd.DataFrame(),
    )


def has_rates(trials: pd.DataFrame) -> bool:
    """Return whether the runs of one sweep tried more than one learning rate at some batch size."""
    if not np.isfinite(trials["learning_rate"].to_numpy(dtype=float)).all():
        return False
    return bool((trials.groupby("batch_size")["learning_rate"].nunique() > 1).any())


def rate_note(trials: pd.DataFrame) -> list[str]:
    """Return a sentence where steps are not those at the best of several learning rates."""
    parts = [part for _, part in trials.groupby("sweep", sort=False)]
    alone = sum(not has_rates(part) for part in parts)
    if not alone:
        return []
    where = "" if alone == len(parts) else f" in {alone} of {len(parts)} sweeps"
    return [
        f"No batch size has runs at more than one learning rate{where}: every run counts as a measurement of the steps "
        "of its batch size, and the answer holds for rates as they were chosen."
    ]


def _stack(frames: list[pd.DataFrame], columns: tuple[str, ...]) -> pd.DataFrame:
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=list(columns))
