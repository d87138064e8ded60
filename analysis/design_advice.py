"""What a grid could have shown, and which trials would show more."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .fit import FitResult
from .observations import Observations

SURELY = 1.96 + 0.84
"""A difference of this many standard deviations is seen at the 5 % level in four cases of five."""
FURTHEST = 6
"""Doublings of the batch size that an extension of the grid may take."""


def smallest_detectable_surge(seen: Observations) -> float | None:
    """Return the smallest relative fall of the best rate, from a peak to the largest batch size, that would show.

    The peak's rate is taken to be known as well as a typical optimum. None if fewer than two optima are measured.
    """
    sd = seen.sd[seen.measured]
    if len(sd) < 2:
        return None
    return float(-np.expm1(-SURELY * np.hypot(np.median(sd[:-1]), sd[-1])))


def surge_shape(fall: float) -> float:
    """Return β_n of a surge whose final fall is ``fall``: the root below 1 of 2β_n/(1 + β_n²) = 1 - fall."""
    left = 1.0 - fall
    return float((1.0 - np.sqrt(1.0 - left * left)) / left)


def edge_advice(optima: pd.DataFrame) -> list[str]:
    """Return where the grid of rates must grow because the optimum is at its edge."""
    advice = []
    for status, word in (("edge_low", "lower"), ("edge_high", "higher")):
        rows = optima[optima["status"] == status]
        if len(rows):
            pairs = ", ".join(
                f"{int(b)} (best so far {r:.3g})"
                for b, r in zip(rows["batch_size"], rows["learning_rate"], strict=True)
            )
            advice.append(f"{word} rates at batch size {pairs}")
    lost = optima.loc[optima["status"] == "unresolved", "batch_size"]
    if len(lost):
        advice.append(f"more seeds or a longer budget at batch size {', '.join(str(int(b)) for b in lost)}")
    return advice


def separating_trials(best: FitResult, rival: FitResult | None, seen: Observations) -> str:
    """Return the smallest extension of the batch sizes at which two laws part, with the rates to try there."""
    if rival is None:
        return "three more seeds at every batch size, on the same rates"
    noise = SURELY * float(np.median(np.sqrt(seen.sd**2 + (best.extra_scatter or 0.0) ** 2)))
    smallest, largest = np.exp(seen.ln_batch[0]), np.exp(seen.ln_batch[-1])
    for doublings in range(1, FURTHEST + 1):
        for new in (largest * 2.0**doublings, smallest / 2.0**doublings):
            if new < 1.0:
                continue
            one, other = (float(fit.predict(new)[0][0]) for fit in (best, rival))
            if abs(np.log(one / other)) >= noise:
                up = new > largest
                batches = [(largest * 2.0**j if up else smallest / 2.0**j) for j in range(1, doublings + 1)]
                return (
                    f"batch sizes {', '.join(f'{b:.0f}' for b in batches)} x rates {_rates(one, other)} "
                    f"({best.law.name} says {one:.2g} and {rival.law.name} {other:.2g} at {new:.0f})"
                )
    names = f"{best.law.name} and {rival.law.name}"
    return f"three more seeds at every batch size: {names} stay close up to {2**FURTHEST} times the largest"


def _rates(one: float, other: float) -> str:
    low, high = np.log2(min(one, other) / 2.0), np.log2(max(one, other) * 2.0)
    ladder = 2.0 ** np.linspace(low, high, max(5, round(high - low) + 1))
    return ", ".join(f"{rate:.2g}" for rate in ladder)
