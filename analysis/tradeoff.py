"""How many steps a larger batch saves: from the best rate of each batch size to the trade-off and its critical batch.

The hyperbola itself is fitted in ``analysis/hyperbola.py``.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from .hyperbola import Hyperbola, Interval, StepPoints, fit_hyperbola
from .intervals import TAIL
from .law import Array
from .noise import NEAREST
from .observations import NORMAL_95
from .optimum import Optima

TRADEOFF_COLUMNS = (
    "sweep",
    "s_min",
    "s_min_low",
    "s_min_high",
    "e_min",
    "e_min_low",
    "e_min_high",
    "b_crit",
    "b_crit_low",
    "b_crit_high",
    "status",  # ok | unbounded_low | unbounded_high | unbounded (neither end of b_crit is known) | failed
    "definition",
)
STEP_COLUMNS = (
    "sweep",
    "batch_size",
    "steps",  # to the target, at the best rate of this batch size
    "low",
    "high",
    "examples",  # steps x batch_size
    "status",  # measured | at_most | at_least | diverged | unresolved | unknown_bound, see STEP_STATUSES
    "ln_sd",  # standard deviation of ln steps, NaN where nothing is known of the noise
    "degrees",  # degrees of freedom behind the ln_sd of all rows of the sweep together
)
STEP_STATUSES = {
    "measured": "measured",
    "at_most": "an upper bound: the best rate lies at the edge of the tested ones",
    "at_least": "a lower bound: the target was not reached within the budget",
    "diverged": "not used: runs diverged",
    "unresolved": "not used: the best rate is not resolved",
    "unknown_bound": "not used: the target was not reached, and after how many steps is not known",
}
DEFINITION = (
    "S = S_min (1 + B_crit/B): S steps to the target at the best rate of batch size B. B_crit = E_min/S_min, where "
    "training takes twice the fewest steps and twice the fewest examples (at 20 % more examples than the fewest, "
    "another definition in use, the batch is B_crit/5)"
)


def overhead_batch_size(b_crit: float, *, overhead: float = 0.2, base_batch_size: float = 0.0) -> float:
    """Return the batch size at which training takes ``overhead`` more examples than at ``base_batch_size``.

    E(B) = E_min (1 + B/B_crit), so E(B) = (1 + overhead) E(base) at B = base + overhead (B_crit + base). With the
    smallest batches as base (0) this is overhead x B_crit; authors who scale out from a base batch that is not small
    state larger values for the same runs.

    Raises:
        ValueError: for an overhead that is not positive, or a negative base.
    """
    if not overhead > 0 or not base_batch_size >= 0:
        raise ValueError(
            f"overhead must be positive and base_batch_size not negative, but got {overhead} and {base_batch_size}"
        )
    return base_batch_size + overhead * (b_crit + base_batch_size)


def steps_table(cells: pd.DataFrame, optima: Optima) -> pd.DataFrame:
    """Return the steps to the target at each batch size's best rate, with ``STEP_COLUMNS``.

    Args:
        cells: from ``tabulate_cells`` with the outcome ``steps_to_target``.
        optima: located in the same cells.
    """
    degrees = {str(sweep): _degrees(part) for sweep, part in optima.table.groupby("sweep")}
    rows: list[dict[str, object]] = []
    for row in optima.table.itertuples(index=False):
        drawn = optima.draws[str(row.sweep)]
        scores = np.exp(drawn.score[:, drawn.batch_size == row.batch_size][:, 0])
        here = cells[(cells["sweep"] == row.sweep) & (cells["batch_size"] == row.batch_size)]
        steps, low, high, status = _steps(row.status, row.outcome, scores, here)
        known = degrees[str(row.sweep)] > 0 and status in ("measured", "at_most") and np.isfinite(scores).all()
        ends = np.quantile(scores, [TAIL, 1.0 - TAIL]) if known else (np.nan, np.nan)
        rows.append(
            {
                "sweep": row.sweep,
                "batch_size": row.batch_size,
                "steps": steps,
                "low": low,
                "high": high,
                "examples": steps * row.batch_size,
                "status": status,
                "ln_sd": float(np.log(ends[1] / ends[0])) / (2.0 * NORMAL_95) if known else np.nan,
                "degrees": degrees[str(row.sweep)],
            }
        )
    return pd.DataFrame(rows, columns=list(STEP_COLUMNS))


def fit_steps(steps: pd.DataFrame) -> Hyperbola:
    """Fit the hyperbola to the rows of one sweep of a table with ``STEP_COLUMNS``."""
    side = steps["status"].map({"measured": 0.0, "at_most": -1.0, "at_least": 1.0}).to_numpy(dtype=float)
    value = steps["steps"].to_numpy(dtype=float)
    used = np.isfinite(side) & np.isfinite(value)
    return fit_hyperbola(
        StepPoints(
            batch_size=steps["batch_size"].to_numpy(dtype=float)[used],
            ln_steps=np.log(value[used]),
            side=side[used],
            sd=steps["ln_sd"].to_numpy(dtype=float)[used],
            degrees=float(steps["degrees"].max()) if used.any() else 0.0,
        )
    )


def tradeoff_table(steps: pd.DataFrame, optima: Optima | None = None) -> pd.DataFrame:
    """Fit the hyperbola to every sweep and return ``TRADEOFF_COLUMNS``; NaN where a number is not known.

    Args:
        steps: with ``STEP_COLUMNS``.
        optima: sweeps of it without steps get a row too; the sweeps of ``steps`` if left out.
    """
    sweeps = (steps if optima is None else optima.table)["sweep"].unique()
    return pd.DataFrame(
        [tradeoff_row(str(sweep), fit_steps(steps[steps["sweep"] == sweep])) for sweep in sweeps],
        columns=list(TRADEOFF_COLUMNS),
    )


def tradeoff_row(sweep: str, fit: Hyperbola) -> dict[str, object]:
    """Return a fitted hyperbola as a row of ``TRADEOFF_COLUMNS``."""
    return {
        "sweep": sweep,
        **_columns("s_min", fit.s_min),
        **_columns("e_min", fit.e_min),
        **_columns("b_crit", fit.b_crit),
        "status": fit.status,
        "definition": DEFINITION,
    }


def _columns(name: str, found: Interval) -> dict[str, float]:
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def _degrees(optima: pd.DataFrame) -> float:
    """Return the degrees of freedom behind the noise of a sweep's cells: seeds, or what a local cubic leaves."""
    near = np.minimum(optima["cells"].to_numpy(dtype=float), NEAREST)
    seeds = float(np.sum(near * (optima["seeds"].to_numpy(dtype=float) - 1.0)))
    return max(seeds, float(np.sum(np.maximum(near - 4.0, 0.0))))


def _steps(status: str, outcome: float, scores: Array, cells: pd.DataFrame) -> tuple[float, float, float, str]:
    if status == "interior" and np.isfinite(outcome):
        low, high = np.quantile(scores, [TAIL, 1.0 - TAIL])
        return outcome, min(float(low), outcome), max(float(high), outcome), "measured"
    if status in ("edge_low", "edge_high") and np.isfinite(outcome):
        return outcome, np.nan, outcome, "at_most"
    missed = cells.loc[cells["status"] == "right_censored", "outcome"]
    if len(missed) and not (cells["status"] == "measured").any():
        # Whichever rate is best, it took at least the least of these.
        bound = float(missed.min(skipna=False))
        return bound, bound, np.nan, "at_least" if np.isfinite(bound) else "unknown_bound"
    return np.nan, np.nan, np.nan, "diverged" if (cells["status"] == "diverged").all() else "unresolved"
