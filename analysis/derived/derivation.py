"""What a derivation is: measured constants in, η*(B) out, no free parameter."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from ..law import Array
from .optimizer import Optimizer


class Derivation(ABC):
    """A closed form of the one-step law η*(B) = E[φ]ᵀg / E[φᵀHφ], φ the optimiser's direction.

    Constants come as arrays of shape (m,): the average over draws first, then samples of what the true value may be. A
    formula goes through all of them, so that its interval needs no further thought.

    Attributes:
        name: the key in ``DERIVATIONS`` and in every table.
        law: name of the fitted law that has the same form and parameters; None if there is none.
        optimizers: names of the optimisers it is for.
        needs: names of the constants (``noise_scale.Constants``).
        formula: as text.
        assumes: what must hold for it, in words.
        signed: names of parameters that may be negative.
    """

    name: ClassVar[str]
    law: ClassVar[str | None] = None
    optimizers: ClassVar[tuple[str, ...]]
    needs: ClassVar[tuple[str, ...]]
    formula: ClassVar[str]
    assumes: ClassVar[str]
    signed: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def rates(self, batch_size: Array, constants: Mapping[str, Array], optimizer: Optimizer) -> Array:
        """Return η* at batch sizes of shape (n,), in examples per step: shape (m, n).

        A rate is infinite where the constants bound it on no side, and zero where they give no descent.
        """

    @abstractmethod
    def parameters(self, constants: Mapping[str, Array], optimizer: Optimizer) -> dict[str, Array]:
        """Return the parameters of ``law``, and more that follow, each of shape (m,); batch sizes in examples."""


def column(values: Array) -> Array:
    """Return samples, shape (m,), as a column, shape (m, 1), that broadcasts over batch sizes."""
    return np.asarray(values, dtype=float)[:, None]


def signal_share(batch_size: Array, scale: Array) -> Array:
    """Return β = (1 + scale/B)^(-1/2), shape (m, n): what is left of a unit signal once noise has normalised it.

    Args:
        batch_size: shape (n,).
        scale: noise scale in examples, shape (m,); infinite where the gradient may be zero.
    """
    return 1.0 / np.sqrt(1.0 + np.maximum(column(scale), 0.0) / np.asarray(batch_size, dtype=float))
