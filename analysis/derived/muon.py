"""Muon: an orthogonal update, whose level is measured once and whose shape follows from the noise scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ..law import Array
from ..mean_draws import positive_ratio
from .derivation import Derivation, column, signal_share
from .optimizer import Optimizer


class MuonDerivation(Derivation):
    """η* = η_max / √(1 + c B_simple/B), c from Nesterov's average.

    The nuclear norm of the gradient is not among what is measured; the level is that of the one-step law at the largest
    batch size of the probe, divided by what noise leaves there.
    """

    name: ClassVar[str] = "muon"
    law: ClassVar[str | None] = "half_power"
    optimizers: ClassVar[tuple[str, ...]] = ("muon",)
    needs: ClassVar[tuple[str, ...]] = (
        "grad_sq",
        "grad_var",
        "update_gradient",
        "update_curvature",
        "update_batch_size",
    )
    formula: ClassVar[str] = "eta_max / (1 + c B_simple/B)**0.5, eta_max from the largest batch of the one-step law"
    assumes: ClassVar[str] = (
        "curvature between directions is negligible; all singular directions have one signal-to-noise ratio (mean "
        "field), that of the whole model's gradient"
    )

    def rates(self, batch_size: Array, constants: Mapping[str, Array], optimizer: Optimizer) -> Array:
        """Evaluate the formula; see ``Derivation.rates``."""
        found = self.parameters(constants, optimizer)
        return column(found["eta_max"]) * signal_share(batch_size, found["B_noise"])

    def parameters(self, constants: Mapping[str, Array], optimizer: Optimizer) -> dict[str, Array]:
        """Return the plateau and the noise scale."""
        scale = optimizer.noise_factor * positive_ratio(constants["grad_var"], constants["grad_sq"])
        largest = constants["update_batch_size"][:1]
        anchor = positive_ratio(constants["update_gradient"], constants["update_curvature"])
        return {"eta_max": positive_ratio(anchor, signal_share(largest, scale)[:, 0]), "B_noise": scale}
