"""The optimiser as the closed forms see it: how much noise its average of gradients lets through."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimizer:
    """An optimiser by its name in a study, and its settings (``momentum``, ``betas`` or ``beta1``, ``epsilon``).

    A setting left out has the value of ``DEFAULTS``.
    """

    name: str
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse settings that no average has."""
        for name, value in (("momentum", self.momentum), ("beta1", self.betas[0]), ("beta2", self.betas[1])):
            if not 0.0 <= value < 1.0:
                raise ValueError(f"{name} of {self.name} must lie in [0, 1), but got {value}; 0 means no average")
        if not self.epsilon >= 0.0:
            raise ValueError(f"epsilon of {self.name} must not be negative, but got {self.epsilon}; 0 leaves it out")

    @property
    def momentum(self) -> float:
        """Return the fraction that an average keeps at a step, of optimisers with one."""
        return float(self._setting("momentum", 0.0))

    @property
    def betas(self) -> tuple[float, float]:
        """Return the fractions that the first and the second average keep, of optimisers with two."""
        given, default = self.settings.get("betas"), DEFAULTS.get(self.name, {}).get("betas", (0.0, 0.0))
        first, second = default if given is None else given
        beta1 = self.settings.get("beta1")
        return float(first if beta1 is None else beta1), float(second)

    @property
    def epsilon(self) -> float:
        """Return what Adam adds to the root of the second moment."""
        return float(self._setting("epsilon", 0.0))

    @property
    def noise_factor(self) -> float:
        """Return c, the variance of the averaged gradient over that of one gradient, long after the start.

        The average of a gradient that stays where it is behaves as a batch of B/c examples: c is (1 - μ)/(1 + μ) for
        an exponential average, and the sum of squared weights in general.
        """
        return _NOISE_FACTORS.get(self.name, _fresh)(self)

    @property
    def rate_factor(self) -> float:
        """Return 1 - μ for heavy ball, whose sum of gradients is 1/(1 - μ) times an average; one for the others."""
        return 1.0 - self.momentum if self.name == "momentum" else 1.0

    def _setting(self, name: str, otherwise: float) -> Any:
        value = self.settings.get(name)
        return DEFAULTS.get(self.name, {}).get(name, otherwise) if value is None else value


DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "momentum": {"momentum": 0.9},
    "ema-momentum": {"momentum": 0.9},
    "adamw": {"betas": (0.9, 0.999), "epsilon": 1e-8},
    "lamb": {"betas": (0.9, 0.999), "epsilon": 1e-6},
    "lion": {"betas": (0.9, 0.99)},
    "muon": {"momentum": 0.95},
}
"""The settings that these optimisers have unless a study says otherwise."""


def _fresh(_: Optimizer) -> float:
    return 1.0


def _average(kept: float) -> float:
    return (1.0 - kept) / (1.0 + kept)


def _lion(optimizer: Optimizer) -> float:
    """Return c of β₁ m + (1 - β₁) g, where m is an average (β₂) of the gradients before g."""
    beta1, beta2 = optimizer.betas
    return (1.0 - beta1) ** 2 + beta1**2 * _average(beta2)


def _nesterov(optimizer: Optimizer) -> float:
    """Return c of (1 - μ) g + μ m, where m is an average that holds g already."""
    kept = optimizer.momentum
    return (1.0 - kept**2) ** 2 + kept**4 * _average(kept)


_NOISE_FACTORS: Mapping[str, Callable[[Optimizer], float]] = {
    "momentum": lambda optimizer: _average(optimizer.momentum),
    "ema-momentum": lambda optimizer: _average(optimizer.momentum),
    "sign-sgd": lambda optimizer: _average(optimizer.momentum),
    "adamw": lambda optimizer: _average(optimizer.betas[0]),
    "lamb": lambda optimizer: _average(optimizer.betas[0]),
    "lion": _lion,
    "muon": _nesterov,
}
