"""How many steps a larger batch saves: the hyperbola between steps and examples, and its critical batch size.

S = S_min (1 + B_crit/B) says that 1/S follows the law ``saturating`` with η_max = 1/S_min and B_noise = B_crit, so the
fit, its bounds and its bootstrap are those of ``analysis/fit.py``.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from .fit import TAIL, FitResult, fit_law
from .law import Array
from .laws import LAWS
from .optimum import Optima, OptimumDraws

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
    "status",  # ok | at_bound | unbounded_low | unbounded_high (of b_crit) | failed
    "definition",
)
STEP_COLUMNS = (
    "sweep",
    "batch_size",
    "steps",  # to the target, at the best rate of this batch size
    "low",
    "high",
    "examples",  # steps x batch_size
    "status",  # measured | at_most (best rate at the grid's edge) | at_least (no rate reached the target)
)
DEFINITION = (
    "S = S_min (1 + B_crit/B): S steps to the target at the best rate of batch size B. B_crit = E_min/S_min, where "
    "training takes twice the fewest steps and twice the fewest examples (other authors' definitions give 3 to 4 times "
    "smaller values)"
)
FEWEST_BATCH_SIZES = 3


def steps_table(cells: pd.DataFrame, optima: Optima) -> pd.DataFrame:
    """Return the steps to the target at each batch size's best rate, with ``STEP_COLUMNS``.

    Args:
        cells: from ``tabulate_cells`` with the outcome ``steps_to_target``.
        optima: located in the same cells.
    """
    rows: list[dict[str, object]] = []
    for row in optima.table.itertuples(index=False):
        drawn = optima.draws[str(row.sweep)]
        scores = np.exp(drawn.score[:, drawn.batch_size == row.batch_size][:, 0])
        here = cells[(cells["sweep"] == row.sweep) & (cells["batch_size"] == row.batch_size)]
        steps, low, high, status = _steps(row.status, row.outcome, scores, here)
        if status is not None:
            rows.append(
                {
                    "sweep": row.sweep,
                    "batch_size": row.batch_size,
                    "steps": steps,
                    "low": low,
                    "high": high,
                    "examples": steps * row.batch_size,
                    "status": status,
                }
            )
    return pd.DataFrame(rows, columns=list(STEP_COLUMNS))


def tradeoff_table(steps: pd.DataFrame, optima: Optima, *, seed: int = 0) -> pd.DataFrame:
    """Fit the hyperbola to every sweep of ``optima`` and return ``TRADEOFF_COLUMNS``; NaN where a number is unknown."""
    rows = []
    for sweep in optima.table["sweep"].unique():
        part = steps[steps["sweep"] == sweep]
        numbers: dict[str, float] = dict.fromkeys(TRADEOFF_COLUMNS[1:10], np.nan)
        status = "failed"
        if int((part["status"] == "measured").sum()) >= FEWEST_BATCH_SIZES:
            fit = _fit(part, optima.draws[str(sweep)], seed)
            status = next(e.status for e in fit.estimates if e.parameter.name == "B_noise")
            numbers = _numbers(fit)
        rows.append({"sweep": sweep, **numbers, "status": status, "definition": DEFINITION})
    return pd.DataFrame(rows, columns=list(TRADEOFF_COLUMNS))


def _steps(status: str, outcome: float, scores: Array, cells: pd.DataFrame) -> tuple[float, float, float, str | None]:
    if status == "interior" and np.isfinite(outcome):
        low, high = np.quantile(scores, [TAIL, 1.0 - TAIL])
        return outcome, min(float(low), outcome), max(float(high), outcome), "measured"
    if status in ("edge_low", "edge_high") and np.isfinite(outcome):
        return outcome, np.nan, outcome, "at_most"
    censored = cells.loc[cells["status"] == "right_censored", "outcome"]
    if len(censored) and not (cells["status"] == "measured").any():
        bound = float(censored.max())
        return bound, bound, np.nan, "at_least"
    return np.nan, np.nan, np.nan, None


def _fit(part: pd.DataFrame, drawn: OptimumDraws, seed: int) -> FitResult:
    """Fit ``saturating`` to 1/steps: bounds change sides, ends of intervals change places."""
    which = np.array([int(np.flatnonzero(drawn.batch_size == batch)[0]) for batch in part["batch_size"]])
    kind = part["status"].to_numpy()
    side = np.select([kind == "at_most", kind == "at_least"], [1.0, -1.0], 0.0)
    ln_speed = -drawn.score[:, which]
    bounds = np.broadcast_to(-np.log(part["steps"].to_numpy(dtype=float)), ln_speed.shape)
    speed_draws = OptimumDraws(
        batch_size=drawn.batch_size[which],
        ln_rate=np.where(side == 0, ln_speed, bounds),
        side=np.broadcast_to(side, ln_speed.shape),
        score=ln_speed,
    )
    return fit_law(
        LAWS["saturating"],
        batch_size=part["batch_size"].to_numpy(dtype=float),
        learning_rate=1.0 / part["steps"].to_numpy(dtype=float),
        low=1.0 / part["high"].to_numpy(dtype=float),
        high=1.0 / part["low"].to_numpy(dtype=float),
        status=np.select([side > 0, side < 0], ["edge_high", "edge_low"], "interior"),
        draws=speed_draws,
        seed=seed,
    )


def _numbers(fit: FitResult) -> dict[str, float]:
    speed, critical = fit.estimates
    s_min, s_low, s_high = (np.nan if v is None else 1.0 / v for v in (speed.value, speed.high, speed.low))
    b_crit, b_low, b_high = (np.nan if v is None else v for v in (critical.value, critical.low, critical.high))
    # The product is known even where neither factor is: with B_crit far above the grid, S = E_min/B.
    e_draws = fit.draws[:, 1] / fit.draws[:, 0]
    e_min = float(fit.values[1] / fit.values[0])
    e_low, e_high = (float(v) for v in np.quantile(e_draws, [TAIL, 1.0 - TAIL]))
    if critical.status == "unbounded_low":
        e_low = np.nan
        e_min = e_min if critical.value is not None else np.nan
        e_high = max(e_high, e_min) if critical.value is not None else e_high
    return {
        "s_min": s_min,
        "s_min_low": s_low,
        "s_min_high": s_high,
        "e_min": e_min,
        "e_min_low": np.nan if np.isnan(e_low) else min(e_low, e_min),
        "e_min_high": np.nanmax([e_high, e_min]),
        "b_crit": b_crit,
        "b_crit_low": b_low,
        "b_crit_high": b_high,
    }
