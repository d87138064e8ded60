"""Steps to a target by batch size where runs have no learning rate to choose: every run is a measurement."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from .intervals import COVERAGE
from .tradeoff import STEP_COLUMNS

RUN_COUNT_COLUMNS = ("runs", "not_reached", "diverged", "failed")


def measured_steps(trials: pd.DataFrame) -> pd.DataFrame:
    """Return steps to the target by sweep and batch size, with ``STEP_COLUMNS``.

    Steps are geometric means over a batch size's runs. A run that missed the target enters with its budget, and makes
    the mean a lower bound; a batch size of which any run diverged has no steps, nor has one where a run missed the
    target after a number of steps that is not known. Failed runs are left out.

    Args:
        trials: the columns sweep, batch_size, status (reached | exhausted | diverged | failed), steps (of an exhausted
            run: its budget, NaN where not known) and steps_to_target (NaN where not reached).
    """
    used = trials[trials["status"].astype(str) != "failed"]
    parts = [_sweep_steps(part, sweep) for sweep, part in used.groupby("sweep", sort=True)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(STEP_COLUMNS))


def run_counts(trials: pd.DataFrame, *, sweeps: Sequence[str]) -> pd.DataFrame:
    """Return how many runs stand behind each batch size: sweep (in this order), batch_size, ``RUN_COUNT_COLUMNS``."""
    status = trials["status"].astype(str)
    diverged, failed = status.eq("diverged"), status.eq("failed")
    missed = ~diverged & ~failed & ~np.isfinite(trials["steps_to_target"].to_numpy(dtype=float))
    counted = trials[["sweep", "batch_size"]].assign(runs=1, not_reached=missed, diverged=diverged, failed=failed)
    sums = counted.groupby(["sweep", "batch_size"], sort=True)[list(RUN_COUNT_COLUMNS)].sum()
    table = sums.astype(int).reset_index()
    place = {sweep: position for position, sweep in enumerate(sweeps)}
    return table.sort_values("sweep", key=lambda names: names.map(place), kind="stable", ignore_index=True)


def _sweep_steps(runs: pd.DataFrame, sweep: object) -> pd.DataFrame:
    reached = runs["steps_to_target"].to_numpy(dtype=float)
    diverged = runs["status"].astype(str).eq("diverged").to_numpy()
    missed = ~diverged & ~np.isfinite(reached)
    values = np.where(diverged, np.nan, np.where(missed, runs["steps"].to_numpy(dtype=float), reached))
    ln_values = np.log(values)
    # The order of the rows must not move the last bit of a mean.
    order = np.lexsort((ln_values, runs["batch_size"].to_numpy(dtype=float)))
    batch, at = np.unique(runs["batch_size"].to_numpy(dtype=float)[order], return_inverse=True)
    ln_values, diverged, missed = ln_values[order], diverged[order], missed[order]

    def of_batch(weights: np.ndarray) -> np.ndarray:
        return np.bincount(at, weights=weights, minlength=len(batch))

    count = of_batch(np.ones(len(at)))
    mean = of_batch(ln_values) / count
    squares = of_batch((ln_values - mean[at]) ** 2)
    unknown = missed & ~np.isfinite(ln_values)
    flags = [of_batch(flag.astype(float)) > 0 for flag in (diverged, unknown, missed)]
    status = np.select(flags, ["diverged", "unknown_bound", "at_least"], "measured")
    ln_steps = np.where(np.isin(status, ["measured", "at_least"]), mean, np.nan)
    repeated = (status == "measured") & (count > 1)
    degrees = float(np.sum(count[repeated] - 1.0))
    total = float(np.sum(squares[repeated]))
    ln_sd = np.sqrt(total / degrees / count) if degrees else np.full(len(count), np.nan)
    half = float(stdtrit(degrees, 0.5 + COVERAGE / 2)) * ln_sd if degrees else ln_sd
    steps = np.exp(ln_steps)
    measured, bound = status == "measured", status == "at_least"
    return pd.DataFrame(
        {
            "sweep": sweep,
            "batch_size": batch,
            "steps": steps,
            "low": np.where(measured, np.exp(ln_steps - half), np.where(bound, steps, np.nan)),
            "high": np.where(measured, np.exp(ln_steps + half), np.nan),
            "examples": steps * batch,
            "status": status,
            "ln_sd": ln_sd,
            "degrees": degrees,
        }
    )[list(STEP_COLUMNS)]
