"""Sign updates where only the diagonal of the curvature matters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ..law import Array
from ..mean_draws import positive_ratio
from .derivation import Derivation, column, signal_share
from .optimizer import Optimizer


class HalfPowerDerivation(Derivation):
    """η* = (|g|₁ / tr H) / √(1 + c B_simple/B), c the noise that the optimiser's average lets through."""

    name: ClassVar[str] = "half_power"
    law: ClassVar[str | None] = "half_power"
    optimizers: ClassVar[tuple[str, ...]] = ("sign-sgd", "lion")
    needs: ClassVar[tuple[str, ...]] = ("grad_l1", "hessian_trace", "grad_sq", "grad_var")
    formula: ClassVar[str] = "(|g|_1 / tr H) / (1 + c B_simple/B)**0.5"
    assumes: ClassVar[str] = (
        "curvature between coordinates is negligible; all coordinates have one signal-to-noise ratio (mean field)"
    )

    def rates(self, batch_size: Array, constants: Mapping[str, Array], optimizer: Optimizer) -> Array:
        """Evaluate the formula; see ``Derivation.rates``."""
        found = self.parameters(constants, optimizer)
        return column(found["eta_max"]) * signal_share(batch_size, found["B_noise"])

    def parameters(self, constants: Mapping[str, Array], optimizer: Optimizer) -> dict[str, Array]:
        """Return the plateau and the noise scale."""
        return {
            "eta_max": positive_ratio(constants["grad_l1"], constants["hessian_trace"]),
            "B_noise": optimizer.noise_factor * positive_ratio(constants["grad_var"], constants["grad_sq"]),
        }
