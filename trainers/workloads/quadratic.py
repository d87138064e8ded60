"""The noisy quadratic: the one workload whose every answer is known to machine precision.

L(θ) = ½ Σ hᵢ θᵢ², with per-example gradients hᵢθᵢ + ξᵢ, ξᵢ ~ N(0, σᵢ²) (Zhang et al. 2019, section 3). For plain SGD
at a constant rate the expected loss follows an exact recursion, from which optimal rates and steps to a target follow.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn

from ..batching import rebatch
from ..reading import Settings
from ..seeding import mix
from ..workload import Batch, Target, Workload

_BLOCK = 256


class QuadraticSettings(Settings):
    """Spectrum hᵢ = i^(−spectrum_exponent); σᵢ² = noise·hᵢ (``curvature``) or noise (``white``); θᵢ(0) = start."""

    dimensions: int = Field(default=200, gt=0)
    spectrum_exponent: float = Field(default=1.0, ge=0)
    noise: float = Field(default=1.0, ge=0)
    noise_shape: Literal["curvature", "white"] = "curvature"
    start: float = 1.0
    target_loss: float = Field(default=0.01, gt=0)


class Quadratic(Workload):
    """A quadratic bowl with Gaussian gradient noise; diagonal Hessian."""

    name = "quadratic"
    summary = "noisy quadratic with its exact recursion: the known answer"
    data_set, source, parameters = "drawn", "Zhang et al. 2019", 200
    Settings = QuadraticSettings
    metrics = ("loss",)

    def __init__(self, settings: QuadraticSettings) -> None:
        """Set up the spectrum; costs nothing."""
        self.settings = settings
        self.target = Target(metric="loss", mode="min", value=settings.target_loss)
        index = np.arange(1, settings.dimensions + 1, dtype=np.float64)
        self.curvature = index**-settings.spectrum_exponent
        self.noise_variance = settings.noise * (
            self.curvature if settings.noise_shape == "curvature" else np.ones_like(self.curvature)
        )
        self.loss_limit = 10.0 * self.exact_loss(learning_rate=0.0, batch_size=1, steps=0) + 1.0
        self._torch_curvature = torch.tensor(self.curvature, dtype=torch.float32)
        self._torch_deviation = torch.tensor(np.sqrt(self.noise_variance), dtype=torch.float32)

    def build_model(self, *, seed: int) -> nn.Module:  # noqa: ARG002 - the start is fixed, as the theory wants it
        """Return θ at its start, the same for every seed."""
        return _Point(self.settings.dimensions, self.settings.start)

    def train_batches(self, *, batch_size: int, seed: int) -> Iterator[Batch]:
        """Yield the examples' gradient noises ξ, shape (batch_size, dimensions)."""
        return rebatch(self._blocks(seed), batch_size)

    def _blocks(self, seed: int) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(mix(seed, 2))
        while True:
            yield torch.randn(_BLOCK, self.settings.dimensions, generator=generator) * self._torch_deviation

    def loss(self, model: Any, batch: Any) -> torch.Tensor:
        """Return ½θᵀHθ + mean(ξ)·θ, whose gradient is the noisy one."""
        theta = model.theta
        return self._population_loss(theta) + (batch.mean(dim=0) * theta).sum()

    def evaluate(self, model: Any) -> dict[str, float]:
        """Return the population loss, which is known."""
        return {"loss": float(self._population_loss(model.theta))}

    def _population_loss(self, theta: torch.Tensor) -> torch.Tensor:
        return 0.5 * (self._torch_curvature.to(theta) * theta * theta).sum()

    # -- exact answers ------------------------------------------------------------------------------

    def exact_loss(self, *, learning_rate: float | np.ndarray, batch_size: int, steps: int) -> Any:
        """Return the expected loss of plain SGD after ``steps`` steps at a constant rate.

        E θᵢ² ← (1 − ηhᵢ)² E θᵢ² + η²σᵢ²/B, summed in closed form. ``learning_rate`` may be an array; the result
        has its shape.
        """
        rate = np.asarray(learning_rate, dtype=np.float64)[..., None]
        shrink = (1.0 - rate * self.curvature) ** 2
        injected = rate**2 * self.noise_variance / batch_size
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            decayed = shrink**steps
            total = np.where(shrink == 1.0, steps, (1.0 - decayed) / (1.0 - shrink))
        second_moment = decayed * self.settings.start**2 + injected * total
        return 0.5 * (self.curvature * second_moment).sum(axis=-1)

    def exact_one_step_law(self) -> dict[str, float]:
        """Return ``eta_max`` = |g|²/gᵀHg and ``b_noise`` = tr(HΣ)/gᵀHg at the start (theory, section 3)."""
        gradient = self.curvature * self.settings.start
        curvature_grad = float((self.curvature * gradient**2).sum())
        return {
            "eta_max": float((gradient**2).sum()) / curvature_grad,
            "b_noise": float((self.curvature * self.noise_variance).sum()) / curvature_grad,
        }


class _Point(nn.Module):
    def __init__(self, dimensions: int, start: float) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.full((dimensions,), start))
