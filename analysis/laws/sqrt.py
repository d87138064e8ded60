"""The square-root rule."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from ..law import Array, Law, Parameter, columns, levelled


class Sqrt(Law):
    """η* = a √B: the covariance of the update, η²Σ/B, stays the same."""

    name: ClassVar[str] = "sqrt"
    formula: ClassVar[str] = "a * B**0.5"
    source: ClassVar[str] = (
        "constant update covariance (Krizhevsky 2014; Hoffer 2017); Adam at small batch (Malladi 2022)"
    )

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The level."""
        return (Parameter(name="a", unit="(examples/step)**-0.5", meaning="the rate at one example per step"),)

    def ln_rate(self, ln_batch: ArrayLike, values: ArrayLike) -> Array:
        """Evaluate the formula; see ``Law.ln_rate``."""
        (a,) = columns(values, 1)
        return np.log(a) + 0.5 * np.asarray(ln_batch, dtype=float)

    def guess(self, ln_batch: Array, ln_rate: Array) -> Array:
        """Put the level at the mean."""
        return levelled(self, ln_batch, ln_rate, np.empty((1, 0)))
