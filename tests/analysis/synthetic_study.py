"""Trials and curves with a known truth, as a study would store them: no training, the same for the same seed."""

import json

import numpy as np
import pandas as pd

from results import CURVE_COLUMNS, TRIAL_COLUMNS

S_MIN, B_CRIT, ETA_MAX, B_NOISE = 60.0, 96.0, 0.008, 64.0


def best_rate(batch_size: float) -> float:
    """The saturating law."""
    return ETA_MAX / (1 + B_NOISE / batch_size)


def make_trials(
    *,
    sweep: str = "bert-mlm adamw",
    metric: str = "validation_loss",
    batch_sizes: tuple[int, ...] = (8, 16, 32, 64, 128, 256, 512, 1024),
    rates: tuple[float, ...] = tuple(float(f"{0.0005 * 2 ** (k / 2):.6g}") for k in range(12)),
    seeds: tuple[int, ...] = (0, 1, 2),
    target: float = 2.3,
    divergence: float = 6.0,
    best_rate=best_rate,
    optimizer: str = "adamw",
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return trials and curves of one sweep.

    Steps to the target follow S_min (1 + B_crit/B) and a parabola in log rate around ``best_rate``; a rate more than
    ``divergence`` times the best one diverges; runs stop at the target or at 4 times the fewest steps.
    """
    rng = np.random.default_rng(seed)
    trials, curves = [], []
    for batch_size in batch_sizes:
        fewest = S_MIN * (1 + B_CRIT / batch_size)
        for rate in rates:
            for trial_seed in seeds:
                row, curve = _trial(batch_size, rate, trial_seed, fewest, target, divergence, best_rate, rng)
                trial_id = f"{len(trials):016x}"
                names = {
                    "trial_id": trial_id,
                    "sweep": sweep,
                    "metric": metric,
                    "target": target,
                    "optimizer": optimizer,
                }
                trials.append(_COMMON | names | row)
                curves.append(curve.assign(trial_id=trial_id, name=metric))
    frame = pd.DataFrame(trials)[list(TRIAL_COLUMNS)]
    points = pd.concat(curves, ignore_index=True)[list(CURVE_COLUMNS)]
    return frame.astype({name: column.dtype for name, column in TRIAL_COLUMNS.items()}), points


def _trial(batch_size, rate, trial_seed, fewest, target, divergence, best_rate, rng):
    distance = np.log2(rate / best_rate(batch_size))
    needed = fewest * np.exp(0.16 * distance**2 + rng.normal(0, 0.03))
    limit = int(4 * fewest)
    diverged = rate > divergence * best_rate(batch_size)
    reached = needed < limit and not diverged
    steps = int(np.ceil(needed)) if reached else (max(2, limit // 10) if diverged else limit)
    ladder = np.unique(np.append(np.geomspace(1, steps, 24).astype(int), steps))
    # A loss that falls from 3.4 as a power law and meets the target after `needed` steps.
    values = 1.8 + (3.4 - 1.8) * (1 + ladder / needed * (((3.4 - 1.8) / (target - 1.8)) ** 2 - 1)) ** -0.5
    values = values + rng.normal(0, 0.004, len(ladder))
    if diverged:
        values = 3.4 + (ladder / steps) ** 3 * 40
    seconds = steps * (0.004 + 0.0002 * batch_size)
    row = {
        "batch_size": batch_size,
        "learning_rate": rate,
        "seed": trial_seed,
        "status": "diverged" if diverged else ("reached" if reached else "exhausted"),
        "value": np.nan if diverged else float(values[-1]),
        "steps": steps,
        "examples": steps * batch_size,
        "steps_to_target": needed if reached else np.nan,
        "examples_to_target": needed * batch_size if reached else np.nan,
        "train_seconds": seconds,
        "examples_per_second": steps * batch_size / seconds,
        "micro_batch_size": min(batch_size, 128),
        "accumulation_steps": max(1, batch_size // 128),
        "device_batch_size": batch_size,
        "message": f"train_loss 43.2 passed the limit of 20 at step {steps}" if diverged else "",
    }
    return row, pd.DataFrame({"step": ladder, "examples": ladder * batch_size, "value": values})


_COMMON = {
    "study": "synthetic",
    "workload": "bert-mlm",
    "schedule": "constant",
    "purpose": "sweep",
    "halvings": 0,
    "resumes": 0,
    "probe_seconds": 0.0,
    "mode": "min",
    "evaluate_seconds": 0.4,
    "setup_seconds": 0.2,
    "world_size": 1,
    "dtype": "float32",
    "zero_stage": 0,
    "code_version": "0.1.0+674d798",
    "hardware": "Synthetic processor, 2 cores",
    "started_at": "2026-01-02T03:04:05Z",
    "spec": json.dumps({"workload": "bert-mlm"}),
}
