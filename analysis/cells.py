"""From trials to cells: one row per sweep, batch size and learning rate, averaged over seeds.

A cell is scored on a scale where lower is better and differences are comparable over the grid: the logarithm where the
outcome allows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd

Outcome = Literal["steps_to_target", "value_at_budget"]
Scale = Literal["log", "log_shortfall", "raw", "raw_negated"]

OUTCOMES: tuple[Outcome, ...] = ("steps_to_target", "value_at_budget")

CELL_COLUMNS = (
    "sweep",
    "batch_size",
    "learning_rate",
    "status",  # measured | right_censored | diverged
    "outcome",  # mean over seeds on the scale below, in the outcome's own unit; a bound where right_censored
    "score",  # the same on the scale: lower is better
    "spread",  # standard deviation of a trial's score over seeds; NaN for one seed
    "seeds",
    "outcome_name",
    "scale",
)

_REQUIRED = ("sweep", "batch_size", "learning_rate", "seed", "status")


def tabulate_cells(trials: pd.DataFrame, *, outcome: Outcome) -> pd.DataFrame:
    """Average the trials of each cell over seeds.

    Failed trials are left out. A cell of which any seed diverged is ``diverged``: it bounds the optimum from above. One
    of which any seed missed the target is ``right_censored`` for ``steps_to_target``: its outcome is a lower bound.

    Args:
        trials: the columns sweep, batch_size, learning_rate, seed, status, and steps_to_target with steps, or value
            with mode.
        outcome: what decides which rate is best.

    Returns:
        The columns ``CELL_COLUMNS``, sorted by sweep, batch size and learning rate.

    Raises:
        ValueError: for missing columns, an unknown outcome or status, rates or batch sizes that are not positive and
            finite, mixed modes in a sweep, or outcomes at different budgets.
    """
    frame = _checked(trials, outcome)
    parts = [_sweep_cells(part, str(sweep), outcome) for sweep, part in frame.groupby("sweep", sort=True)]
    if not parts:
        return pd.DataFrame(columns=list(CELL_COLUMNS))
    return pd.concat(parts, ignore_index=True)


def to_score(outcome: pd.Series | np.ndarray, scale: str) -> np.ndarray:
    """Return the score (lower is better) of an outcome."""
    values = np.asarray(outcome, dtype=float)
    if scale == "log":
        return np.log(values)
    if scale == "log_shortfall":
        return np.log1p(-values)
    return -values if scale == "raw_negated" else values


def from_score(score: np.ndarray | float, scale: str) -> np.ndarray:
    """Return the outcome that has this score."""
    values = np.asarray(score, dtype=float)
    if scale == "log":
        return np.exp(values)
    if scale == "log_shortfall":
        return -np.expm1(values)
    return -values if scale == "raw_negated" else values


def _checked(trials: pd.DataFrame, outcome: Outcome) -> pd.DataFrame:
    if outcome not in OUTCOMES:
        raise ValueError(f"outcome must be one of {list(OUTCOMES)}, but got {outcome!r}")
    needed = (*_REQUIRED, *(("steps_to_target", "steps") if outcome == "steps_to_target" else ("value", "mode")))
    missing = [name for name in needed if name not in trials.columns]
    if missing:
        raise ValueError(
            f"the outcome {outcome} needs the columns {list(needed)}, but {missing} are missing; "
            f"found {list(trials.columns)}"
        )
    unknown = sorted(set(trials["status"].astype(str)) - {"reached", "exhausted", "diverged", "failed"})
    if unknown:
        raise ValueError(f"status must be reached, exhausted, diverged or failed, but got {unknown}")
    frame = trials[trials["status"].astype(str) != "failed"]
    for name in ("batch_size", "learning_rate"):
        values = frame[name].to_numpy(dtype=float)
        wrong = values[~(np.isfinite(values) & (values > 0))]
        if len(wrong):
            raise ValueError(f"{name} must be positive and finite, but got {wrong[:3].tolist()}; drop those rows")
    return frame


def _sweep_cells(frame: pd.DataFrame, sweep: str, outcome: Outcome) -> pd.DataFrame:
    diverged = frame["status"].astype(str).eq("diverged").to_numpy()
    if outcome == "steps_to_target":
        reached_steps = frame["steps_to_target"].to_numpy(dtype=float)
        censored = ~diverged & ~np.isfinite(reached_steps)
        values = np.where(censored, frame["steps"].to_numpy(dtype=float), reached_steps)
        scale: Scale = "log"
        if np.any(values[~diverged] <= 0):
            raise ValueError(f"steps must be positive, but sweep {sweep!r} has values of zero or below")
    else:
        _check_same_budget(frame, diverged, sweep)
        values = frame["value"].to_numpy(dtype=float)
        diverged = diverged | ~np.isfinite(values)
        censored = np.zeros(len(frame), dtype=bool)
        scale = _value_scale(values[~diverged], frame["mode"], sweep)
    score = np.full(len(frame), np.nan)
    score[~diverged] = to_score(values[~diverged], scale)
    work = pd.DataFrame(
        {
            "batch_size": frame["batch_size"].to_numpy(),
            "learning_rate": frame["learning_rate"].to_numpy(dtype=float),
            "score": score,
            "diverged": diverged,
            "censored": censored,
        }
    )
    # The order of the rows must not move the last bit of a mean.
    work = work.sort_values(["batch_size", "learning_rate", "score"], kind="stable")
    groups = work.groupby(["batch_size", "learning_rate"], sort=True)
    cells = groups.agg(score=("score", "mean"), seeds=("score", "size"), spread=("score", "std")).reset_index()
    any_diverged = groups["diverged"].any().to_numpy()
    any_censored = groups["censored"].any().to_numpy()
    cells["status"] = np.select([any_diverged, any_censored], ["diverged", "right_censored"], "measured")
    cells.loc[any_diverged, "score"] = np.nan
    cells.loc[any_diverged | any_censored, "spread"] = np.nan
    cells["outcome"] = from_score(cells["score"].to_numpy(), scale)
    return cells.assign(sweep=sweep, outcome_name=outcome, scale=scale)[list(CELL_COLUMNS)]


def _value_scale(values: np.ndarray, modes: pd.Series, sweep: str) -> Scale:
    found = sorted(set(modes.astype(str)))
    if len(found) != 1 or found[0] not in ("min", "max"):
        raise ValueError(f"a sweep has one mode, min or max, but sweep {sweep!r} has {found}; split it into sweeps")
    if found[0] == "min":
        return "log" if len(values) and values.min() > 0 else "raw"
    return "log_shortfall" if len(values) and values.min() >= 0 and values.max() < 1 else "raw_negated"


def _check_same_budget(frame: pd.DataFrame, diverged: np.ndarray, sweep: str) -> None:
    """Refuse values of runs that stopped at their target: they are no values at the budget."""
    if "steps" not in frame.columns:
        return
    steps: Mapping[int, list[float]] = (
        frame.loc[~diverged].groupby("batch_size")["steps"].agg(lambda s: [float(s.min()), float(s.max())]).to_dict()
    )
    for batch_size, (least, most) in steps.items():
        if least < most:
            raise ValueError(
                "value_at_budget compares runs of one length at each batch size, but sweep "
                f"{sweep!r} has {least:.0f} to {most:.0f} steps at batch size {batch_size}; run with "
                "stop_at_target: false, or use the outcome steps_to_target"
            )
