"""Adam whose ε is not negligible: between the sign and the plain gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from ..law import Array
from ..mean_draws import positive_ratio
from .adam_ema import AdamEmaDerivation
from .derivation import Derivation, column, signal_share
from .optimizer import Optimizer


class AdamEpsilonDerivation(Derivation):
    """η* = η*(``adam_ema``) × (1 + β ε/g₀), g₀ = |g|²/|g|₁ the size of a coordinate of the gradient.

    In mean field √v = g₀/β in every coordinate, so that ε divides the whole update by 1 + β ε/g₀. For ε ≫ g₀/β it is
    SGD at rate η/ε.
    """

    name: ClassVar[str] = "adam_epsilon"
    optimizers: ClassVar[tuple[str, ...]] = ("adamw",)
    needs: ClassVar[tuple[str, ...]] = AdamEmaDerivation.needs
    formula: ClassVar[str] = "adam_ema * (1 + b epsilon/g0), b = (1 + B_simple/B)**-0.5, g0 = |g|^2/|g|_1"
    assumes: ClassVar[str] = f"{AdamEmaDerivation.assumes.replace(' and ε is negligible', '')}; one size for all of g"

    def rates(self, batch_size: Array, constants: Mapping[str, Array], optimizer: Optimizer) -> Array:
        """Evaluate the formula; see ``Derivation.rates``."""
        beta = signal_share(batch_size, positive_ratio(constants["grad_var"], constants["grad_sq"]))
        share = self.parameters(constants, optimizer)["epsilon_share"]
        plain = AdamEmaDerivation().rates(batch_size, constants, optimizer)
        with np.errstate(invalid="ignore"):  # no signal and no gradient: nothing is known
            return plain * (1.0 + beta * column(share))

    def parameters(self, constants: Mapping[str, Array], optimizer: Optimizer) -> dict[str, Array]:
        """Return ε/g₀: far below one it plays no part."""
        inverse = positive_ratio(constants["grad_l1"], constants["grad_sq"])
        if optimizer.epsilon == 0.0:
            return {"epsilon_share": np.zeros_like(inverse)}
        return {"epsilon_share": optimizer.epsilon * inverse}
