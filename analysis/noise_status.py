"""Whether an average or a ratio of averages is resolved, and about how many more draws would resolve it."""

from __future__ import annotations

import dataclasses

import numpy as np

from .law import Array
from .mean_draws import Estimate, positive_ratio, summarise, summarise_positive

ONE_DRAW = "one draw has no interval; take at least two, better eight"
NOT_MEASURED = "the probe did not measure it"
_WORDS = {
    "grad_sq": "|g|²",
    "grad_sq:two_batch": "|g|²",
    "grad_sq:per_example": "|g|²",
    "curvature_grad": "gᵀHg",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """A measured number, its interval and its status; NaN is what is not known."""

    value: float = np.nan
    low: float = np.nan
    high: float = np.nan
    standard_error: float = np.nan
    draws: int = 0
    status: str = "not_measured"
    more_draws: float = np.nan
    reason: str = NOT_MEASURED


def find_mean(
    samples: Array | None, draws: int, *, standard_error: float = np.nan, positive: bool = False, doubt: str = ""
) -> Finding:
    """Return what an average says.

    It is resolved if its interval does not hold zero; a number that is positive by its nature must also be above it.

    Args:
        samples: average first, shape (1 + resamples,); None where it was not measured.
        draws: behind it.
        standard_error: of the average.
        positive: whether the truth is a square, a variance or the like.
        doubt: why it is not to be trusted whatever the interval; empty where it is.
    """
    if samples is None or draws == 0:
        return Finding()
    found = summarise(samples)
    if not found.bounded:
        return Finding(value=found.value, draws=draws, status="not_resolved", reason=ONE_DRAW)
    if found.low > 0 or (found.high < 0 and not positive):
        more, reason = np.nan, doubt
    else:
        more = more_draws(found, draws, positive=positive)
        reason = f"noise may have given the average its sign; needs {count_words(more)}"
        if positive and found.value <= 0:
            reason = f"the average is not positive; needs {count_words(more)}"
    return Finding(
        value=found.value,
        low=found.low,
        high=found.high,
        standard_error=standard_error,
        draws=draws,
        status="not_resolved" if reason else "ok",
        more_draws=more,
        reason=reason,
    )


def find_ratio(over: Array | None, under: Array | None, draws: int, *, under_name: str) -> Finding:
    """Return what a ratio of two averages says, both of them positive by their nature or by what the ratio is for."""
    if over is None or under is None or draws == 0:
        return Finding()
    found = summarise_positive(positive_ratio(over, under))
    open_ended = Finding(
        value=found.value, low=found.low, high=found.high, draws=draws, status="not_resolved", reason=ONE_DRAW
    )
    if found.bounded:
        return dataclasses.replace(open_ended, status="ok", reason="")
    if draws < 2:
        return open_ended
    name, bottom, top = _WORDS.get(under_name, under_name), summarise(under), summarise(over)
    which, weak = (name, bottom) if not bottom.low > 0 else ("the numerator", top)
    if weak.high < 0:
        return dataclasses.replace(open_ended, reason=f"{which} is negative")
    more = more_draws(weak, draws)
    return dataclasses.replace(open_ended, more_draws=more, reason=f"{which} may be zero; needs {count_words(more)}")


def more_draws(found: Estimate, draws: int, *, positive: bool = True) -> float:
    """Return about how many more draws would take zero out of the interval of an average.

    The true value is taken to lie in the middle of what the interval leaves between zero and its farther end (its upper
    one, if the truth is positive). NaN where not even that end is known.
    """
    size = max(found.high, 0.0 if positive else -found.low) / 2.0
    half = (found.high - found.low) / 2.0
    if not (np.isfinite(half) and size > 0):
        return np.nan
    return float(max(np.ceil(draws * ((half / size) ** 2 - 1.0)), 1.0))


def count_words(more: float) -> str:
    """Return how many more draws are needed, in words."""
    return f"about {more:.2g} more draws" if np.isfinite(more) else "more draws"
