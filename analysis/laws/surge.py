"""The surge of sign updates: a rise, a peak, a fall to a plateau."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from ..law import Array, Law, Parameter, batch_ladder, columns, levelled


class Surge(Law):
    """η* = 2 η_peak / (β_n/β + β/β_n) with β = (1 + B_s/B)^(-1/2).

    The peak lies at B_s β_n²/(1 - β_n²), only if β_n < 1; as B grows the rate falls to 2β_n/(1 + β_n²) of the peak.
    B_s = πκ²/2 (κ² the mean of σ²/g² over coordinates) and β_n² = tr H/(sᵀHs - tr H).
    """

    name: ClassVar[str] = "surge"
    formula: ClassVar[str] = "2 * eta_peak / (beta_n/beta + beta/beta_n), beta = (1 + B_s/B)**-0.5"
    source: ClassVar[str] = "one-step law with a sign update (Li 2024)"
    limits: ClassVar[tuple[str, ...]] = ("constant", "sqrt", "half_power", "surge_small_batch")

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Height, shape and noise scale."""
        return (
            Parameter(
                name="eta_peak", unit="", meaning="highest rate (reached only if beta_n < 1)", reach="learning_rate"
            ),
            Parameter(name="beta_n", unit="", meaning="beta at the peak", reach="shape", shape_limits=(0.02, 50.0)),
            Parameter(name="B_s", unit="examples/step", meaning="noise scale of the sign", reach="batch_size"),
        )

    def ln_rate(self, ln_batch: ArrayLike, values: ArrayLike) -> Array:
        """Evaluate the formula; see ``Law.ln_rate``."""
        eta_peak, beta_n, scale = columns(values, 3)
        ratio = beta_n * np.sqrt(1.0 + scale * np.exp(-np.asarray(ln_batch, dtype=float)))  # beta_n / beta
        return np.log(2.0 * eta_peak) - np.log(ratio + 1.0 / ratio)

    def guess(self, ln_batch: Array, ln_rate: Array) -> Array:
        """Cross strong, weak and absent surges with noise scales around the grid."""
        shapes = [(beta_n, scale) for beta_n in (0.15, 0.4, 0.8, 3.0) for scale in batch_ladder(ln_batch, 5)]
        return levelled(self, ln_batch, ln_rate, shapes)
