"""The linear rule."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from ..law import Array, Law, Parameter, columns, levelled


class Linear(Law):
    """η* = a B: the noise temperature η/B stays the same."""

    name: ClassVar[str] = "linear"
    formula: ClassVar[str] = "a * B"
    source: ClassVar[str] = "constant noise temperature of the SDE; Goyal 2017"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The level."""
        return (Parameter(name="a", unit="step/example", meaning="the rate at one example per step"),)

    def ln_rate(self, ln_batch: ArrayLike, values: ArrayLike) -> Array:
        """Evaluate the formula; see ``Law.ln_rate``."""
        (a,) = columns(values, 1)
        return np.log(a) + np.asarray(ln_batch, dtype=float)

    def guess(self, ln_batch: Array, ln_rate: Array) -> Array:
        """Put the level at the mean."""
        return levelled(self, ln_batch, ln_rate, np.empty((1, 0)))
