"""Adam: an averaged gradient over the root of its second moment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from ..law import Array
from ..mean_draws import positive_ratio
from .derivation import Derivation, column, signal_share
from .optimizer import Optimizer
from .surge import peak_batch_size


class AdamEmaDerivation(Derivation):
    """η* = (|g|₁ / tr H) / (c/β + d β), c = (1 - β₁)/(1 + β₁), d = (sᵀHs - c tr H)/tr H.

    β = (1 + B_simple/B)^(-1/2). With a diagonal H, sᵀHs = tr H: a peak exists if β₁ > 1/3, at
    B_simple (1 - β₁)/(3β₁ - 1).
    """

    name: ClassVar[str] = "adam_ema"
    law: ClassVar[str | None] = "adam_ema"
    optimizers: ClassVar[tuple[str, ...]] = ("adamw",)
    needs: ClassVar[tuple[str, ...]] = ("grad_l1", "hessian_trace", "curvature_sign", "grad_sq", "grad_var")
    formula: ClassVar[str] = "(|g|_1 / tr H) / (c/b + d b), b = (1 + B_simple/B)**-0.5, d = s'Hs/tr H - c"
    assumes: ClassVar[str] = (
        "the second moment is known without noise (β₂ near 1) and ε is negligible; the gradient hardly moves within "
        "the memory of the first; all coordinates have one signal-to-noise ratio (mean field) and independent noise"
    )
    signed: ClassVar[frozenset[str]] = frozenset({"d"})

    def rates(self, batch_size: Array, constants: Mapping[str, Array], optimizer: Optimizer) -> Array:
        """Evaluate the formula; see ``Derivation.rates``."""
        c = optimizer.noise_factor
        beta = signal_share(batch_size, positive_ratio(constants["grad_var"], constants["grad_sq"]))
        trace = column(constants["hessian_trace"])
        met = c * trace + beta**2 * (column(constants["curvature_sign"]) - c * trace)
        return positive_ratio(beta * column(constants["grad_l1"]), met)

    def parameters(self, constants: Mapping[str, Array], optimizer: Optimizer) -> dict[str, Array]:
        """Return level, noise scale and curvature ratio, and where the peak lies."""
        c = optimizer.noise_factor
        trace = constants["hessian_trace"]
        scale = positive_ratio(constants["grad_var"], constants["grad_sq"])
        d = np.where(trace > 0, constants["curvature_sign"] / np.where(trace > 0, trace, 1.0) - c, np.nan)
        return {
            "a": positive_ratio(constants["grad_l1"], trace),
            "B_simple": scale,
            "d": d,
            "B_peak": peak_batch_size(scale, positive_ratio(np.where(np.isnan(d), np.nan, c), d)),
        }
