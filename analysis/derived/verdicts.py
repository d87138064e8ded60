"""Which derivations the data support: rules on the gap between derived and fitted rates, fixed before any study.

The gap is ln(derived/fitted) at the batch sizes where both are resolved. Its slope in ln B is a wrong exponent; what a
straight line leaves is a wrong bend, such as a surge that is not there; its mean is the level. The verdict is about
shape alone. The level is judged by the same kind of rule beside it: a one-step optimum is greedy, and over a horizon
the best rate differs from it (Wu 2018). The tolerance of the slope is SLOPE_TOLERANCE, or less where the batch sizes
reach so far that such a line would stray from its level by more than BEND_TOLERANCE at its ends.

    rejected      the slope is off by its tolerance or more and its 95 % interval leaves out zero; or, at some batch
                  size, the gap strays from its line by BEND_TOLERANCE or more and its interval (95 % for all batch
                  sizes together) leaves out zero
    supported     not rejected, the whole interval of the slope lies within its tolerance, and no batch size strays by
                  BEND_TOLERANCE
    not resolved  anything else; also fewer than FEWEST_BATCH_SIZES

The level is rejected if it is off by LEVEL_TOLERANCE or more and its interval leaves out a ratio of one, supported if
its whole interval lies within LEVEL_TOLERANCE.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ..compare import TOLERANCE
from ..law import Array
from ..mean_draws import Estimate, summarise

DERIVATION_VERDICT_COLUMNS = (
    "study",
    "workload",
    "optimizer",
    "derivation",
    "verdict",  # of the shape: supported | rejected | not resolved
    "slope",  # derived exponent minus fitted exponent
    "slope_low",
    "slope_high",
    "level_verdict",
    "level",  # derived over fitted, geometric mean
    "level_low",
    "level_high",
    "batch_sizes",  # compared
    "smallest",  # of them
    "largest",
    "reason",
)
SLOPE_TOLERANCE = 0.25
"""In the exponent: the rules in use (constant, root, linear) lie 0.5 apart, and this tells them apart."""
BEND_TOLERANCE = TOLERANCE
"""Half an octave of the rate, as between two fitted curves."""
LEVEL_TOLERANCE = np.log(2.0)
"""A factor of 2 in the rate, the step of a coarse sweep."""
FEWEST_BATCH_SIZES = 3
SUPPORTED, REJECTED, NOT_RESOLVED = "supported", "rejected", "not resolved"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gap:
    """ln(derived/fitted) over batch sizes.

    Attributes:
        batch_size: where both are resolved, shape (n,).
        level: mean of the gap.
        slope: of the gap in ln B; that of the derived rate minus that of the fitted one.
        derived_slopes: value and samples.
        fitted_slopes: the same.
        bend: the gap less its line, shape (n,).
        bend_is_real: where the interval of the bend leaves out zero, at 95 % for all batch sizes together.
    """

    batch_size: Array
    level: Estimate
    slope: Estimate
    derived_slopes: Array
    fitted_slopes: Array
    bend: Array
    bend_is_real: np.ndarray

    @classmethod
    def of(cls, ln_batch: Array, derived: Array, fitted: Array) -> Gap:
        """Measure the gap.

        Args:
            ln_batch: shape (n,), at least two different values.
            derived: ln rates, value first and then samples, shape (m, n).
            fitted: the same, independent of the derived ones.
        """
        both = derived - fitted
        spread = np.nanquantile(both[1:], [0.16, 0.84], axis=0)
        sd = np.maximum((spread[1] - spread[0]) / 2.0, 1e-3)
        weight = 1.0 / sd**2
        centred = ln_batch - np.sum(weight * ln_batch) / np.sum(weight)
        line = weight * centred / np.sum(weight * centred**2)
        middle = both @ (weight / np.sum(weight))
        with np.errstate(invalid="ignore"):
            slopes = [values @ line for values in (derived, fitted)]
            slope = slopes[0] - slopes[1]
            bends = both - middle[:, None] - slope[:, None] * centred
        count = len(ln_batch)
        with np.errstate(invalid="ignore"):  # between two infinite samples: no end
            ends = np.nanquantile(bends[1:], [0.025 / count, 1.0 - 0.025 / count], axis=0)
        return cls(
            batch_size=np.exp(ln_batch),
            level=summarise(both.mean(axis=1)),
            slope=summarise(slope),
            derived_slopes=slopes[0],
            fitted_slopes=slopes[1],
            bend=bends[0],
            bend_is_real=(ends[0] > 0) | (ends[1] < 0),
        )


def judge(gap: Gap | None, *, missing: str = "", doubt: str = "") -> dict[str, object]:
    """Return the verdict columns that follow from a gap; see the rules above.

    Args:
        gap: None where fewer than two batch sizes are resolved on both sides.
        missing: why there is no derivation at all.
        doubt: why it is not to be trusted.
    """
    verdict, reason = _shape(gap, missing or doubt)
    level_verdict, numbers = NOT_RESOLVED, {}
    if gap is not None and not doubt:
        level_verdict = _by_interval(gap.level, LEVEL_TOLERANCE)
        numbers = {f"slope{end}": getattr(gap.slope, name) for end, name in _ENDS} | {
            f"level{end}": float(np.exp(getattr(gap.level, name))) for end, name in _ENDS
        }
    batch_size = np.empty(0) if gap is None else gap.batch_size
    return {
        "verdict": verdict,
        "level_verdict": level_verdict,
        **({f"{what}{end}": np.nan for what in ("slope", "level") for end, _ in _ENDS} | numbers),
        "batch_sizes": len(batch_size),
        "smallest": float(batch_size.min()) if len(batch_size) else np.nan,
        "largest": float(batch_size.max()) if len(batch_size) else np.nan,
        "reason": reason,
    }


_ENDS = (("", "value"), ("_low", "low"), ("_high", "high"))


def _shape(gap: Gap | None, objection: str) -> tuple[str, str]:
    if objection:
        return NOT_RESOLVED, objection
    count = 0 if gap is None else len(gap.batch_size)
    if gap is None or count < FEWEST_BATCH_SIZES:
        have = "batch size has" if count == 1 else "batch sizes have"
        return NOT_RESOLVED, f"{count or 'no'} {have} both rates resolved, {FEWEST_BATCH_SIZES} are needed"
    reach = float(np.log(gap.batch_size.max() / gap.batch_size.min()))
    by_slope = _by_interval(gap.slope, min(SLOPE_TOLERANCE, 2.0 * BEND_TOLERANCE / reach))
    if by_slope == REJECTED:
        return REJECTED, f"its exponent is off by {gap.slope.value:+.2f} [{gap.slope.low:+.2f}, {gap.slope.high:+.2f}]"
    strays = np.abs(gap.bend) >= BEND_TOLERANCE
    worst = int(np.argmax(np.abs(gap.bend)))
    if (strays & gap.bend_is_real).any():
        worst = int(np.argmax(np.where(gap.bend_is_real, np.abs(gap.bend), 0.0)))
        return REJECTED, f"it bends otherwise: {_off(gap.bend[worst])} its line at batch size {gap.batch_size[worst]:g}"
    if by_slope == SUPPORTED and not strays.any():
        return SUPPORTED, f"its exponent is right to {max(abs(gap.slope.low), abs(gap.slope.high)):.2f}"
    if strays.any():
        return (
            NOT_RESOLVED,
            f"at batch size {gap.batch_size[worst]:g} it lies {_off(gap.bend[worst])} its line, by noise or not",
        )
    if not gap.slope.bounded:
        return NOT_RESOLVED, "the difference of the exponents is not bounded"
    return (
        NOT_RESOLVED,
        f"the difference of the exponents is known to [{gap.slope.low:+.2f}, {gap.slope.high:+.2f}] only",
    )


def _by_interval(found: Estimate, tolerance: float) -> str:
    if not found.bounded:
        return NOT_RESOLVED
    if abs(found.value) >= tolerance and (found.low > 0 or found.high < 0):
        return REJECTED
    return SUPPORTED if -tolerance < found.low and found.high < tolerance else NOT_RESOLVED


def _off(bend: float) -> str:
    return f"{np.exp(abs(bend)):.2g} times {'above' if bend > 0 else 'below'}"
