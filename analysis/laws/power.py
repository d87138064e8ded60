"""A power with a free exponent."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from ..law import Array, Law, Parameter, columns, levelled


class Power(Law):
    """η* = a B^p, which people fit by eye; the rules for constant, root and linear are p = 0, 1/2, 1."""

    name: ClassVar[str] = "power"
    formula: ClassVar[str] = "a * B**p"
    source: ClassVar[str] = "descriptive"
    limits: ClassVar[tuple[str, ...]] = ("constant", "sqrt", "linear")

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The level and the exponent."""
        return (
            Parameter(name="a", unit="(examples/step)**-p", meaning="the rate at one example per step"),
            Parameter(name="p", unit="", meaning="exponent", bounds=(-np.inf, np.inf), scale="linear"),
        )

    def ln_rate(self, ln_batch: ArrayLike, values: ArrayLike) -> Array:
        """Evaluate the formula; see ``Law.ln_rate``."""
        a, p = columns(values, 2)
        return np.log(a) + p * np.asarray(ln_batch, dtype=float)

    def guess(self, ln_batch: Array, ln_rate: Array) -> Array:
        """Start from the three rules of thumb."""
        return levelled(self, ln_batch, ln_rate, [[0.0], [0.5], [1.0]])
