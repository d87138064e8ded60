"""SGD, with or without momentum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ..law import Array
from ..mean_draws import positive_ratio
from .derivation import Derivation, column
from .optimizer import Optimizer


class SaturatingDerivation(Derivation):
    """η* = |g|² / (gᵀHg + c tr(HΣ)/B), c = (1 - μ)/(1 + μ); heavy ball (1 - μ) times that (McCandlish 2018)."""

    name: ClassVar[str] = "saturating"
    law: ClassVar[str | None] = "saturating"
    optimizers: ClassVar[tuple[str, ...]] = ("sgd", "momentum", "ema-momentum")
    needs: ClassVar[tuple[str, ...]] = ("grad_sq", "curvature_grad", "curvature_noise")
    formula: ClassVar[str] = "(1-mu if heavy ball) * |g|^2 / (g'Hg + c tr(H Sigma)/B), c = (1-mu)/(1+mu)"
    assumes: ClassVar[str] = (
        "the loss is a parabola along a step; the gradient hardly moves within the memory of the momentum"
    )

    def rates(self, batch_size: Array, constants: Mapping[str, Array], optimizer: Optimizer) -> Array:
        """Evaluate the formula; see ``Derivation.rates``."""
        noise = optimizer.noise_factor * column(constants["curvature_noise"]) / batch_size
        return optimizer.rate_factor * positive_ratio(
            column(constants["grad_sq"]), column(constants["curvature_grad"]) + noise
        )

    def parameters(self, constants: Mapping[str, Array], optimizer: Optimizer) -> dict[str, Array]:
        """Return the plateau and the batch size at half of it."""
        curvature = constants["curvature_grad"]
        return {
            "eta_max": optimizer.rate_factor * positive_ratio(constants["grad_sq"], curvature),
            "B_noise": optimizer.noise_factor * positive_ratio(constants["curvature_noise"], curvature),
        }
