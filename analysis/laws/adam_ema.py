"""Sign updates on an averaged gradient: Adam with momentum β₁."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from ..law import Array, Law, Parameter, batch_ladder, columns, levelled


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdamEma(Law):
    """η* = a / (c/β + d β), c = (1 - β₁)/(1 + β₁), β = (1 + B_simple/B)^(-1/2), d = (sᵀHs - c tr H)/tr H.

    The momentum is a setting of the optimiser, known and not fitted. For d > 0 the curves are those of ``surge`` with
    β_n² = c/d, so that data on η* alone cannot tell the two apart. With a diagonal H, sᵀHs = tr H and d = 1 - c: a
    peak exists if β₁ > 1/3, at B_simple (1 - β₁)/(3β₁ - 1).
    """

    name: ClassVar[str] = "adam_ema"
    formula: ClassVar[str] = "a / (c/beta + d*beta), c = (1-beta1)/(1+beta1), beta = (1 + B_simple/B)**-0.5"
    source: ClassVar[str] = "one-step law with a sign update on an exponential moving average"
    limits: ClassVar[tuple[str, ...]] = ("constant", "sqrt", "half_power", "surge_small_batch")
    same_curves_as: ClassVar[str | None] = "surge"

    beta1: float = 0.9

    def __post_init__(self) -> None:
        """Refuse a momentum outside [0, 1)."""
        if not 0.0 <= self.beta1 < 1.0:
            raise ValueError(f"beta1 must lie in [0, 1), but got {self.beta1}; 0 means no momentum")

    @property
    def noise_factor(self) -> float:
        """Return c, the share of the gradient noise that the average lets through."""
        return (1.0 - self.beta1) / (1.0 + self.beta1)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Level, noise scale and curvature ratio; d > -c because sᵀHs is positive at a minimum."""
        c = self.noise_factor
        return (
            Parameter(name="a", unit="", meaning="rate scale |g|_1 / tr H", reach="learning_rate"),
            Parameter(name="B_simple", unit="examples/step", meaning="noise scale", reach="batch_size"),
            Parameter(
                name="d",
                unit="",
                meaning="off-diagonal curvature met by the sign, over the trace",
                bounds=(-c, np.inf),
                reach="shape",
                shape_limits=(0.02 * c, 2500.0 * c),
            ),
        )

    def ln_rate(self, ln_batch: ArrayLike, values: ArrayLike) -> Array:
        """Evaluate the formula; see ``Law.ln_rate``."""
        a, scale, d = columns(values, 3)
        inverse = np.sqrt(1.0 + scale * np.exp(-np.asarray(ln_batch, dtype=float)))  # 1 / beta
        return np.log(a) - np.log(self.noise_factor * inverse + d / inverse)

    def guess(self, ln_batch: Array, ln_rate: Array) -> Array:
        """Cross curvature ratios of strong, weak and absent surges with noise scales around the grid."""
        c = self.noise_factor
        shapes = [(scale, d) for d in (0.1 * c, 1.5 * c, 6.0 * c, 45.0 * c) for scale in batch_ladder(ln_batch, 5)]
        return levelled(self, ln_batch, ln_rate, shapes)
