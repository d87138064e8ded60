"""The laws, one a file; adding one takes a file and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ..law import Law
from .adam_ema import AdamEma
from .constant import Constant
from .half_power import HalfPower
from .linear import Linear
from .power import Power
from .saturating import Saturating
from .sqrt import Sqrt
from .surge import Surge
from .surge_small_batch import SurgeSmallBatch

LAWS: Mapping[str, Law] = MappingProxyType(
    {
        law.name: law
        for law in (
            Constant(),
            Sqrt(),
            Linear(),
            Power(),
            Saturating(),
            HalfPower(),
            SurgeSmallBatch(),
            Surge(),
            AdamEma(),
        )
    }
)
"""Name -> law, from the simplest to the richest. ``adam_ema`` stands with its default momentum of 0.9."""

__all__ = [
    "LAWS",
    "AdamEma",
    "Constant",
    "HalfPower",
    "Linear",
    "Power",
    "Saturating",
    "Sqrt",
    "Surge",
    "SurgeSmallBatch",
]
