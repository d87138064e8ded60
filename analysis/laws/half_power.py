"""Root at small batch, flat at large batch: sign and Muon updates."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from ..law import Array, Law, Parameter, batch_ladder, columns, levelled


class HalfPower(Law):
    """η* = η_max / √(1 + B_noise/B), with off-diagonal curvature negligible; B_noise = B_simple in mean field."""

    name: ClassVar[str] = "half_power"
    formula: ClassVar[str] = "eta_max / (1 + B_noise/B)**0.5"
    source: ClassVar[str] = "one-step law with a sign or Muon update, mean field"
    limits: ClassVar[tuple[str, ...]] = ("constant", "sqrt")

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The plateau and the noise scale."""
        return (
            Parameter(name="eta_max", unit="", meaning="rate that large batches approach", reach="learning_rate"),
            Parameter(
                name="B_noise", unit="examples/step", meaning="batch size at eta_max / sqrt(2)", reach="batch_size"
            ),
        )

    def ln_rate(self, ln_batch: ArrayLike, values: ArrayLike) -> Array:
        """Evaluate the formula; see ``Law.ln_rate``."""
        eta_max, noise = columns(values, 2)
        return np.log(eta_max) - 0.5 * np.log1p(noise * np.exp(-np.asarray(ln_batch, dtype=float)))

    def guess(self, ln_batch: Array, ln_rate: Array) -> Array:
        """Try noise scales below, inside and above the grid."""
        return levelled(self, ln_batch, ln_rate, batch_ladder(ln_batch, 7)[:, None])
