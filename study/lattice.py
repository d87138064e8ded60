"""The learning rates of one batch size: a base grid that can grow on both sides without end."""

from __future__ import annotations

import abc
import dataclasses
import math

from results import round_rate

from .config import RateWindow

_FARTHEST = 1e300
"""Places on a lattice beyond this have no rate; an integer is still made of them."""


def _power(base: float, exponent: int) -> float:
    try:
        return base**exponent
    except OverflowError:
        return math.inf


class Lattice(abc.ABC):
    """Rates by index: ``0 .. count - 1`` is the base grid, increasing; other indices continue it.

    Where the continuation leaves the range of numbers, a rate is zero or infinite; ``resolve`` refuses such studies.
    """

    count: int

    @abc.abstractmethod
    def rate(self, index: int) -> float:
        """Return the rate at ``index``, any integer; it increases with the index."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ListLattice(Lattice):
    """Rates given one by one; the grid grows by the ratio of the two rates at its edge."""

    rates: tuple[float, ...]
    """Increasing. A single rate grows by a factor of 2."""

    @property
    def count(self) -> int:  # type: ignore[override]
        """How many rates the base grid has."""
        return len(self.rates)

    def rate(self, index: int) -> float:
        """Return the given rate, or the geometric continuation."""
        last = self.count - 1
        if 0 <= index <= last:
            return round_rate(self.rates[index])
        if last == 0:
            return round_rate(self.rates[0] * _power(2.0, index))
        if index < 0:
            return round_rate(self.rates[0] * _power(self.rates[1] / self.rates[0], index))
        return round_rate(self.rates[last] * _power(self.rates[last] / self.rates[last - 1], index - last))


@dataclasses.dataclass(frozen=True, kw_only=True)
class WindowLattice(Lattice):
    """``count`` rates of the lattice ``center * factor**k``, beginning at ``k = first``.

    Windows at different batch sizes share the lattice, so that neighbouring batch sizes share rates.
    """

    center: float
    factor: float
    first: int
    count: int

    def rate(self, index: int) -> float:
        """Return ``center * factor**(first + index)``, to six digits."""
        return round_rate(self.center * _power(self.factor, self.first + index))


def lattice_for(rates: list[float] | RateWindow, batch_size: int) -> Lattice:
    """Return the rates at ``batch_size``."""
    if not isinstance(rates, RateWindow):
        return ListLattice(rates=tuple(sorted(rates)))
    exact = rates.exponent * math.log(batch_size / rates.at_batch_size) / math.log(rates.factor)
    exact = min(max(exact, -_FARTHEST), _FARTHEST)
    # Halves go up, also where the logarithms' last bits put them just below.
    nearest = math.floor(exact + 0.5 + 1e-9)
    return WindowLattice(
        center=rates.center, factor=rates.factor, first=nearest - (rates.count - 1) // 2, count=rates.count
    )
