"""What a law of the best learning rate is: a formula with named, bounded parameters.

One law lives in one file of ``analysis/laws``. A law computes; it does not fit (``analysis/fit.py`` does, the same way
for all of them).
"""

from __future__ import annotations

import dataclasses
import functools
from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parameter:
    """One number of a law.

    ``scale`` is the coordinate it is fitted in: ``log`` means ln(value - lower bound). ``reach`` says which part of the
    data can pin it down, and so how far from the data an estimate may lie before it is reported as unbounded:
    ``batch_size`` and ``learning_rate`` are compared with the grid, ``shape`` with ``shape_limits`` (of value - lower
    bound), ``free`` is always pinned down.
    """

    name: str
    unit: str
    meaning: str
    bounds: tuple[float, float] = (0.0, np.inf)
    scale: Literal["log", "linear"] = "log"
    reach: Literal["batch_size", "learning_rate", "shape", "free"] = "free"
    shape_limits: tuple[float, float] = (1e-2, 1e2)

    def to_coordinate(self, value: ArrayLike) -> Array:
        """Return the coordinate in which ``value`` is fitted."""
        value = np.asarray(value, dtype=float)
        return np.log(value - self.bounds[0]) if self.scale == "log" else value

    def from_coordinate(self, coordinate: ArrayLike) -> Array:
        """Return the value at ``coordinate``."""
        coordinate = np.asarray(coordinate, dtype=float)
        return np.exp(coordinate) + self.bounds[0] if self.scale == "log" else coordinate


class Law(ABC):
    """A hypothesis about how the best learning rate moves with the batch size.

    Attributes:
        name: the key in ``LAWS`` and in every table.
        formula: the law as text, with the names of the parameters.
        source: where it comes from.
        limits: names of the laws that this one contains at the ends of its parameters' ranges.
        same_curves_as: name of a law whose curves this one repeats in other parameters; it is fitted for its parameters
            and takes no part in the choice between laws. None for the others.
    """

    name: ClassVar[str]
    formula: ClassVar[str]
    source: ClassVar[str]
    limits: ClassVar[tuple[str, ...]] = ()
    same_curves_as: ClassVar[str | None] = None

    @property
    @abstractmethod
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters in the order in which arrays hold them."""

    @abstractmethod
    def ln_rate(self, ln_batch: ArrayLike, values: ArrayLike) -> Array:
        """Return the natural logarithm of the best learning rate.

        Args:
            ln_batch: ln of the batch size in examples per step, shape (n,).
            values: parameter values, shape (..., number of parameters).

        Returns:
            ln rate, shape (..., n).
        """

    @abstractmethod
    def guess(self, ln_batch: Array, ln_rate: Array) -> Array:
        """Return starting points for a fit, shape (starts, number of parameters).

        They cover the shapes that the law can take over these batch sizes, so that a local search from each of them
        finds the global optimum.
        """

    def to_coordinates(self, values: ArrayLike) -> Array:
        """Return parameter values, shape (..., k), in the coordinates of the fit."""
        values = np.asarray(values, dtype=float)
        is_log, lowest = self._scales
        return np.where(is_log, np.log(np.where(is_log, values - lowest, 1.0)), values)

    def from_coordinates(self, coordinates: ArrayLike) -> Array:
        """Return parameter values from the coordinates of the fit, shape (..., k)."""
        coordinates = np.asarray(coordinates, dtype=float)
        is_log, lowest = self._scales
        return np.where(is_log, np.exp(np.where(is_log, coordinates, 0.0)) + lowest, coordinates)

    @functools.cached_property
    def _scales(self) -> tuple[Array, Array]:
        """Return which parameters are fitted in logarithms, and what is taken off before; shape (k,) each."""
        is_log = np.array([parameter.scale == "log" for parameter in self.parameters])
        return is_log, np.where(is_log, [parameter.bounds[0] for parameter in self.parameters], 0.0)


def columns(values: ArrayLike, count: int) -> tuple[Array, ...]:
    """Split parameter values, shape (..., count), into ``count`` arrays of shape (..., 1) that broadcast over batches.

    Raises:
        ValueError: if the last axis does not hold ``count`` values.
    """
    values = np.asarray(values, dtype=float)
    if values.ndim == 0 or values.shape[-1] != count:
        raise ValueError(f"a law takes its parameters on the last axis: {count} values, but got shape {values.shape}")
    return tuple(values[..., i : i + 1] for i in range(count))


def levelled(law: Law, ln_batch: Array, ln_rate: Array, shapes: ArrayLike) -> Array:
    """Complete shape parameters, shape (starts, k - 1), by the level (first parameter) that meets the mean ln rate."""
    shapes = np.atleast_2d(np.asarray(shapes, dtype=float))
    unit_level = np.column_stack([np.ones(len(shapes)), shapes])
    unit_level[:, 0] = np.exp(np.mean(ln_rate) - np.mean(law.ln_rate(ln_batch, unit_level), axis=-1))
    return unit_level


def batch_ladder(ln_batch: Array, count: int) -> Array:
    """Return ``count`` batch sizes from an eighth of the smallest to eight times the largest, evenly in ln."""
    return np.exp(np.linspace(np.min(ln_batch) - np.log(8), np.max(ln_batch) + np.log(8), count))
