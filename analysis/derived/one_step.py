"""The one-step law itself: η*(B) from the directions of the real optimiser, without a closed form."""

from __future__ import annotations

from ..law import Array
from ..mean_draws import positive_ratio, summarise
from ..noise_scale import Constants
from ..noise_status import count_words, more_draws
from .derived_law import DerivedLaw, direct_law

NAME = "one_step"
ASSUMES = "the loss is a parabola along a step; the optimiser's state at the probe is one like any other"


def one_step_law(constants: Constants) -> DerivedLaw:
    """Return η*(B) = mean(φᵀg) / mean(φᵀHφ) at every batch size for which φ was drawn.

    A rate is not resolved where noise may hide the descent (the interval of φᵀg holds zero) or the curvature.
    """
    point = constants.point
    ladder = [b for b in point.batch_sizes("update_gradient") if b > 0 and ("update_curvature", b, 0.0) in point.series]
    columns: list[Array] = []
    reasons: dict[float, str] = {}
    for b in ladder:
        descent, curvature = (constants.samples[name, b, 0.0] for name in ("update_gradient", "update_curvature"))
        columns.append(positive_ratio(descent, curvature))
        for what, samples, raw in (
            ("curvature", curvature, "update_curvature"),
            ("descent", descent, "update_gradient"),
        ):
            found = summarise(samples)
            if found.bounded and not found.low > 0:
                more = more_draws(found, len(point.series[raw, b, 0.0]))
                sign = "is negative" if found.high < 0 else f"may be zero; needs {count_words(more)}"
                reasons[b] = f"the {what} along the update {sign}"
    return direct_law(NAME, constants, batch_sizes=ladder, rates=columns, reasons=reasons)
