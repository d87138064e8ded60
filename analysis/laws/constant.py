"""The null hypothesis: the best rate does not depend on the batch."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from ..law import Array, Law, Parameter, columns, levelled


class Constant(Law):
    """η* = η."""

    name: ClassVar[str] = "constant"
    formula: ClassVar[str] = "eta"
    source: ClassVar[str] = "null hypothesis"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The level."""
        return (Parameter(name="eta", unit="", meaning="the rate at every batch size", reach="free"),)

    def ln_rate(self, ln_batch: ArrayLike, values: ArrayLike) -> Array:
        """Evaluate the formula; see ``Law.ln_rate``."""
        (eta,) = columns(values, 1)
        return np.log(eta) + np.zeros_like(np.asarray(ln_batch, dtype=float))

    def guess(self, ln_batch: Array, ln_rate: Array) -> Array:
        """Put the level at the mean."""
        return levelled(self, ln_batch, ln_rate, np.empty((1, 0)))
