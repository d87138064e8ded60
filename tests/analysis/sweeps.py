"""Made-up sweeps with known truth, written without the package's own formulas."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd


def parabola_sweep(
    law: Callable[[float], float],
    *,
    sweep: str = "s",
    batch_sizes: Sequence[int] = (8, 16, 32, 64, 128, 256, 512),
    offsets: Sequence[float] = (-3, -2, -1, 0, 1, 2, 3),
    step: float = 0.5,
    seeds: int = 2,
    noise: float = 0.0,
    steepness: float = 0.1,
    seed: int = 0,
) -> pd.DataFrame:
    """Return trials whose log value is an exact parabola in log2 rate around ``law``; every run spends its budget."""
    rng = np.random.default_rng(seed)
    rows = []
    for batch_size in batch_sizes:
        centre = round(np.log2(law(batch_size)) / step) * step
        for offset in offsets:
            rate = 2.0 ** (centre + offset * step)
            for trial_seed in range(seeds):
                score = steepness * np.log2(rate / law(batch_size)) ** 2 + noise * rng.standard_normal()
                rows.append(
                    {
                        "sweep": sweep,
                        "batch_size": batch_size,
                        "learning_rate": rate,
                        "seed": trial_seed,
                        "status": "exhausted",
                        "mode": "min",
                        "value": float(np.exp(score)),
                        "steps": 100,
                        "steps_to_target": np.nan,
                    }
                )
    return pd.DataFrame(rows)


def one_step_sweep(
    law: Callable[[float], float],
    *,
    sweep: str = "s",
    batch_sizes: Sequence[int] = (8, 16, 32, 64, 128, 256, 512),
    step: float = 0.5,
    seeds: int = 2,
    noise: float = 0.02,
    s_min: float = 100.0,
    b_crit: float = 200.0,
    budget_factor: float = 4.0,
    seed: int = 0,
) -> pd.DataFrame:
    """Return runs to a target in S_min (1 + B_crit/B) / (2u - u^2) steps, u = rate/best rate; u >= 2 diverges."""
    rng = np.random.default_rng(seed)
    rows = []
    for batch_size in batch_sizes:
        fewest = s_min * (1 + b_crit / batch_size)
        budget = int(fewest * budget_factor)
        centre = round(np.log2(law(batch_size)) / step) * step
        for offset in range(-4, 4):
            rate = 2.0 ** (centre + offset * step)
            u = rate / law(batch_size)
            for trial_seed in range(seeds):
                steps = fewest / (2 * u - u * u) * np.exp(noise * rng.standard_normal()) if u < 2 else np.inf
                status = "diverged" if u >= 2 else "reached" if steps <= budget else "exhausted"
                rows.append(
                    {
                        "sweep": sweep,
                        "batch_size": batch_size,
                        "learning_rate": rate,
                        "seed": trial_seed,
                        "status": status,
                        "mode": "min",
                        "value": np.nan if status == "diverged" else 1.0,
                        "steps": 3
                        if status == "diverged"
                        else budget
                        if status == "exhausted"
                        else int(np.ceil(steps)),
                        "steps_to_target": steps if status == "reached" else np.nan,
                    }
                )
    return pd.DataFrame(rows)
