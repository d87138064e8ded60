"""The best rate at any batch size, from probes alone: what each derivation says, with or without a known good rate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from .derived import Optimizer, derive_laws, run_average
from .derived.derived_law import DerivedLaw
from .mean_draws import RESAMPLES, positive_ratio, summarise_positive
from .prediction import KnownPair

PROBE_PREDICTION_COLUMNS = (
    "derivation",
    "batch_size",
    "learning_rate",
    "low",
    "high",
    "status",  # ok | not_resolved | not_measured
    "reason",
)


def predict_from_probes(
    probes: pd.DataFrame,
    *,
    optimizer: Optimizer,
    batch_sizes: Sequence[float],
    pair: KnownPair | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """Return the rate of every derivation at every batch size, with ``PROBE_PREDICTION_COLUMNS``.

    With a known pair a derivation gives the shape alone: the known rate times the ratio of its rates at the two batch
    sizes, whose errors are those of one measurement and largely cancel. What it says of the level is left out, which a
    greedy step gets wrong more often than the shape.

    Args:
        probes: raw rows of one sweep's probe runs, see ``probe_rows.read_points``.
        optimizer: that of the runs.
        batch_sizes: in examples per step.
        pair: a batch size and a rate that is known to be good there.
        seed: decides the samples.
        resamples: samples of every mean.

    Raises:
        ValueError: for batch sizes that are not positive, or rows without a column.
    """
    wanted = list(dict.fromkeys(float(b) for b in batch_sizes))
    ladder = sorted({*wanted, *([pair.batch_size] if pair else [])})
    laws = run_average(derive_laws(probes, optimizer=optimizer, batch_sizes=ladder, seed=seed, resamples=resamples))
    rows = [_row(law, b, pair) for law in laws for b in wanted]
    return pd.DataFrame(rows, columns=list(PROBE_PREDICTION_COLUMNS))


def _row(law: DerivedLaw, batch_size: float, pair: KnownPair | None) -> dict[str, object]:
    samples = law.at([batch_size])[:, 0]
    at = batch_size
    if pair is not None:
        known = law.at([pair.batch_size])[:, 0]
        if np.isnan(samples).all() or not np.isnan(known).all():
            samples = pair.learning_rate * positive_ratio(samples, known)
        else:
            samples, at = known, pair.batch_size
    found = summarise_positive(samples)
    status, reason = law.status_of(found, batch_size=at)
    if not law.missing and np.isnan(samples).all() and at not in law.reasons:
        span = " to ".join(dict.fromkeys(f"{b:g}" for b in (law.batch_size[0], law.batch_size[-1])))
        status, reason = "not_measured", f"probed at batch size {span} only"
    return {
        "derivation": law.derivation,
        "batch_size": batch_size,
        "learning_rate": found.value if status != "not_measured" else np.nan,
        "low": found.low,
        "high": found.high,
        "status": status,
        "reason": reason,
    }
