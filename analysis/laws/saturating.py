"""Linear at small batch, flat at large batch: the one-step optimum of SGD."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from ..law import Array, Law, Parameter, batch_ladder, columns, levelled


class Saturating(Law):
    """η* = η_max / (1 + B_noise/B); half of η_max at B = B_noise.

    η_max = |g|²/gᵀHg and B_noise = tr(HΣ)/gᵀHg.
    """

    name: ClassVar[str] = "saturating"
    formula: ClassVar[str] = "eta_max / (1 + B_noise/B)"
    source: ClassVar[str] = "one-step law with the plain gradient (McCandlish 2018)"
    limits: ClassVar[tuple[str, ...]] = ("constant", "linear")

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The plateau and the noise scale."""
        return (
            Parameter(name="eta_max", unit="", meaning="rate that large batches approach", reach="learning_rate"),
            Parameter(
                name="B_noise", unit="examples/step", meaning="batch size at half of eta_max", reach="batch_size"
            ),
        )

    def ln_rate(self, ln_batch: ArrayLike, values: ArrayLike) -> Array:
        """Evaluate the formula; see ``Law.ln_rate``."""
        eta_max, noise = columns(values, 2)
        return np.log(eta_max) - np.log1p(noise * np.exp(-np.asarray(ln_batch, dtype=float)))

    def guess(self, ln_batch: Array, ln_rate: Array) -> Array:
        """Try noise scales below, inside and above the grid."""
        return levelled(self, ln_batch, ln_rate, batch_ladder(ln_batch, 7)[:, None])
