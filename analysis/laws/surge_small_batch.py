"""The surge of sign updates far below the noise scale."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from ..law import Array, Law, Parameter, batch_ladder, columns, levelled


class SurgeSmallBatch(Law):
    """η* = 2 η_peak / (√(B_peak/B) + √(B/B_peak)): the limit B ≪ B_s of ``surge``, valid only there."""

    name: ClassVar[str] = "surge_small_batch"
    formula: ClassVar[str] = "2 * eta_peak / ((B_peak/B)**0.5 + (B/B_peak)**0.5)"
    source: ClassVar[str] = "sign update, small batch (Li 2024)"
    limits: ClassVar[tuple[str, ...]] = ("sqrt",)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Height and place of the peak."""
        return (
            Parameter(name="eta_peak", unit="", meaning="highest rate", reach="learning_rate"),
            Parameter(
                name="B_peak", unit="examples/step", meaning="batch size of the highest rate", reach="batch_size"
            ),
        )

    def ln_rate(self, ln_batch: ArrayLike, values: ArrayLike) -> Array:
        """Evaluate the formula; see ``Law.ln_rate``."""
        eta_peak, peak = columns(values, 2)
        ratio = np.exp(0.5 * (np.asarray(ln_batch, dtype=float) - np.log(peak)))
        return np.log(2.0 * eta_peak) - np.log(ratio + 1.0 / ratio)

    def guess(self, ln_batch: Array, ln_rate: Array) -> Array:
        """Try peaks below, inside and above the grid."""
        return levelled(self, ln_batch, ln_rate, batch_ladder(ln_batch, 7)[:, None])
