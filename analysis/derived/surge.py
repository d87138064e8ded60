"""Sign updates with curvature between coordinates: the surge, from measured constants."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from ..law import Array
from ..mean_draws import positive_ratio
from .derivation import Derivation, column, signal_share
from .optimizer import Optimizer


class _SignDerivation(Derivation):
    """η* = β|g|₁ / (tr H + β² (sᵀHs - tr H)), β = (1 + c B_s/B)^(-1/2): a peak exists if β_n < 1.

    For B_n² = tr H / (sᵀHs - tr H) it is the law ``surge``; without positive curvature between coordinates the rate
    never falls, and β_n and the peak are infinite.
    """

    law: ClassVar[str | None] = "surge"
    optimizers: ClassVar[tuple[str, ...]] = ("sign-sgd", "lion", "adamw")

    @abstractmethod
    def noise_scale(self, constants: Mapping[str, Array]) -> Array:
        """Return B_s of the sign of one batch's gradient, in examples, shape (m,)."""

    def rates(self, batch_size: Array, constants: Mapping[str, Array], optimizer: Optimizer) -> Array:
        """Evaluate the formula; see ``Derivation.rates``."""
        beta = signal_share(batch_size, optimizer.noise_factor * self.noise_scale(constants))
        trace = column(constants["hessian_trace"])
        between = column(constants["curvature_sign"]) - trace
        return positive_ratio(beta * column(constants["grad_l1"]), trace + beta**2 * between)

    def parameters(self, constants: Mapping[str, Array], optimizer: Optimizer) -> dict[str, Array]:
        """Return height, shape and noise scale of the surge, and where its peak lies."""
        trace, between = constants["hessian_trace"], constants["curvature_sign"] - constants["hessian_trace"]
        scale = optimizer.noise_factor * self.noise_scale(constants)
        square = positive_ratio(trace, between)
        product = np.where((trace > 0) & (between > 0), trace * between, 0.0)
        product = np.where(np.isnan(trace) | np.isnan(between), np.nan, product)
        return {
            "eta_peak": positive_ratio(constants["grad_l1"], 2.0 * np.sqrt(product)),
            "beta_n": np.sqrt(square),
            "B_s": scale,
            "B_peak": peak_batch_size(scale, square),
        }


class SurgeDerivation(_SignDerivation):
    """The surge with B_s = π κ² / 2, κ² the mean of σ²/g² over coordinates (Li 2024)."""

    name: ClassVar[str] = "surge"
    needs: ClassVar[tuple[str, ...]] = ("grad_l1", "hessian_trace", "curvature_sign", "noise_to_signal")
    formula: ClassVar[str] = "b |g|_1 / (tr H + b^2 (s'Hs - tr H)), b = (1 + c (pi/2) kappa^2/B)**-0.5"
    assumes: ClassVar[str] = (
        "the update is the sign of a Gaussian gradient; noise is independent between coordinates; the mean of "
        "σ²/g² stands for all coordinates"
    )

    def noise_scale(self, constants: Mapping[str, Array]) -> Array:
        """Return π κ² / 2."""
        return np.pi / 2.0 * constants["noise_to_signal"]


class SurgeMeanFieldDerivation(_SignDerivation):
    """The surge with B_s = B_simple: the sign replaced by g/√(E g²), one signal-to-noise ratio for all coordinates."""

    name: ClassVar[str] = "surge_mean_field"
    needs: ClassVar[tuple[str, ...]] = ("grad_l1", "hessian_trace", "curvature_sign", "grad_sq", "grad_var")
    formula: ClassVar[str] = "b |g|_1 / (tr H + b^2 (s'Hs - tr H)), b = (1 + c B_simple/B)**-0.5"
    assumes: ClassVar[str] = (
        "all coordinates have one signal-to-noise ratio (mean field) and independent noise; the sign is taken for a "
        "division by the root mean square"
    )

    def noise_scale(self, constants: Mapping[str, Array]) -> Array:
        """Return B_simple."""
        return positive_ratio(constants["grad_var"], constants["grad_sq"])


def peak_batch_size(scale: Array, square: Array) -> Array:
    """Return the batch size where β² equals ``square``: scale × square / (1 - square), infinite from one upwards."""
    with np.errstate(invalid="ignore"):
        inside = scale * square / np.where(square < 1.0, 1.0 - square, 1.0)
    result = np.where(square < 1.0, inside, np.inf)
    return np.where(np.isnan(scale) | np.isnan(square), np.nan, result)
