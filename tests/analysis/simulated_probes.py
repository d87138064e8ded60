"""Probes of a noisy quadratic, drawn in numpy, beside everything they estimate in closed form.

L(θ) = ½ θᵀHθ, the gradient of one example is g + ε with ε ~ N(0, Σ) and g = Hθ given directly.
"""

from __future__ import annotations

import dataclasses
from functools import cached_property

import numpy as np
import pandas as pd
from scipy.special import erf

from analysis.derived_study import RUN_COLUMNS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quadratic:
    """``hessian`` (d, d); ``gradient`` (d,); ``noise`` (d,): standard deviation of one example's gradient."""

    hessian: np.ndarray
    gradient: np.ndarray
    noise: np.ndarray

    @cached_property
    def grad_sq(self) -> float:
        return float(self.gradient @ self.gradient)

    @cached_property
    def grad_var(self) -> float:
        return float(np.sum(self.noise**2))

    @cached_property
    def curvature_grad(self) -> float:
        return float(self.gradient @ self.hessian @ self.gradient)

    @cached_property
    def curvature_noise(self) -> float:
        return float(np.diag(self.hessian) @ self.noise**2)

    @cached_property
    def hessian_trace(self) -> float:
        return float(np.trace(self.hessian))

    @cached_property
    def curvature_sign(self) -> float:
        s = np.sign(self.gradient)
        return float(s @ self.hessian @ s)

    @cached_property
    def grad_l1(self) -> float:
        return float(np.abs(self.gradient).sum())

    @cached_property
    def noise_to_signal(self) -> float:
        return float(np.mean(self.noise**2 / self.gradient**2))

    @property
    def b_simple(self) -> float:
        return self.grad_var / self.grad_sq

    @property
    def b_noise(self) -> float:
        return self.curvature_noise / self.curvature_grad

    @property
    def eta_max(self) -> float:
        return self.grad_sq / self.curvature_grad

    def sgd_rate(self, batch_size: float) -> float:
        """Return the exact one-step optimum of the plain gradient."""
        return self.grad_sq / (self.curvature_grad + self.curvature_noise / batch_size)

    def sign_rate(self, batch_size: float) -> float:
        """Return the exact one-step optimum of the sign: E sign = erf(g/σ √(B/2)), coordinates independent."""
        mean = erf(self.gradient / self.noise * np.sqrt(batch_size / 2.0))
        diagonal = np.diag(self.hessian)
        return float(mean @ self.gradient / (mean @ self.hessian @ mean + diagonal @ (1.0 - mean**2)))

    def batch_gradient(self, rng: np.random.Generator, batch_size: float, count: int) -> np.ndarray:
        """Return mean gradients of ``count`` batches, shape (count, d)."""
        return self.gradient + self.noise / np.sqrt(batch_size) * rng.standard_normal((count, len(self.gradient)))


def diagonal(*, size: int = 60, b_simple: float = 40.0) -> Quadratic:
    """Spectrum 1/i, gradient of one size in all coordinates, noise as large in all: every mean field is exact."""
    gradient = np.full(size, 0.1) * np.where(np.arange(size) % 3, 1, -1)
    return Quadratic(
        hessian=np.diag(1.0 / np.arange(1, size + 1)), gradient=gradient, noise=np.full(size, 0.1 * b_simple**0.5)
    )


def dense(*, beta_n: float, size: int = 60, b_simple: float = 40.0) -> Quadratic:
    """Curvature between coordinates along the signs: sᵀHs = tr H (1 + 1/β_n²), equal signal-to-noise ratios."""
    base = diagonal(size=size, b_simple=b_simple)
    signs = np.sign(base.gradient)
    trace = base.hessian_trace
    # D + w (s sᵀ - I) has trace tr D, and sᵀHs = tr D + w n (n - 1).
    weight = trace / beta_n**2 / (size * (size - 1))
    return dataclasses.replace(base, hessian=base.hessian + weight * (np.outer(signs, signs) - np.eye(size)))


def with_rate(problem: Quadratic, *, eta_max: float) -> Quadratic:
    """The same problem with all curvature scaled such that SGD's best rate without noise is ``eta_max``."""
    return dataclasses.replace(problem, hessian=problem.hessian * problem.eta_max / eta_max)


def probe_runs(
    problem: Quadratic,
    *,
    sweep: str = "toy sgd",
    batch_sizes: tuple[int, ...] = (8, 32, 128, 512),
    rate=None,
    steps: tuple[int, ...] = (0, 40, 120),
    drift: float = 1.0,
    seed: int = 0,
    **settings,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of a probe run at each batch size, its own batch size the whole ladder, and the table of runs.

    ``drift`` multiplies the curvature from the first point of a run to its last, and leaves its mean in ln alone.
    """
    rows, runs = [], []
    for i, batch_size in enumerate(batch_sizes):
        trial_id = f"{sweep}-{batch_size}"
        runs.append((trial_id, sweep, batch_size, (rate or problem.sgd_rate)(batch_size)))
        for j, (step, share) in enumerate(zip(steps, np.linspace(-0.5, 0.5, len(steps)), strict=True)):
            here = dataclasses.replace(problem, hessian=problem.hessian * drift**share)
            where = {"step": step, "trial_id": trial_id, "ladder": (batch_size,), "seed": [seed, i, j]}
            rows.append(probe_rows(here, **where, **settings))
    return pd.concat(rows, ignore_index=True), pd.DataFrame(runs, columns=list(RUN_COLUMNS))


def probe_rows(
    problem: Quadratic,
    *,
    draws: int = 16,
    small: int = 4,
    large: int = 64,
    reference: int = 10**7,
    ladder: tuple[int, ...] = (),
    phi=lambda g: g,
    rates: tuple[float, ...] = (),
    per_example: bool = False,
    step: int = 10,
    trial_id: str | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Return raw rows as a probe would write them; ``phi`` maps batch gradients (k, d) to directions."""
    rng = np.random.default_rng(seed)
    h, rows = problem.hessian, []

    def add(name, batch_size, draw, total, *, count=1, rate=np.nan):
        rows.append(
            {
                "step": step,
                "examples": (ladder[0] if ladder else 32) * step,
                "name": name,
                "scope": "all",
                "batch_size": batch_size,
                "rate": rate,
            }
            | {"draw": draw, "total": float(total), "count": count}
        )

    reference_gradient = problem.batch_gradient(rng, reference, 1)[0]
    signs = np.sign(reference_gradient)
    add("gradient_l1", reference, 0, np.abs(reference_gradient).sum())
    add("curvature_sign", reference, 0, signs @ h @ signs)
    parts = large // small
    for draw in range(draws):
        batches = problem.batch_gradient(rng, small, parts)
        for batch_size, g in ((small, batches), (large, batches.mean(axis=0)[None])):
            add("gradient_square", batch_size, draw, np.sum(g**2), count=len(g))
            add("curvature_gradient", batch_size, draw, np.einsum("ki,ij,kj->", g, h, g), count=len(g))
        if per_example:
            singles = problem.batch_gradient(rng, 1, large)
            singles += batches.mean(axis=0) - singles.mean(axis=0)  # examples of this draw's large batch
            add("example_square", 1, draw, np.sum(singles**2), count=large)
        v = rng.choice([-1.0, 1.0], len(h))
        add("hessian_trace", 0, draw, v @ h @ v)
        ratios = problem.noise**2 / problem.gradient**2 * rng.normal(1.0, 0.02)
        add("noise_to_signal", reference, draw, np.sum(ratios), count=len(h))
        for batch_size in ladder:
            p = phi(problem.batch_gradient(rng, batch_size, 1))[0]
            add("update_gradient", batch_size, draw, p @ reference_gradient)
            add("update_curvature", batch_size, draw, p @ h @ p)
            add("update_square", batch_size, draw, p @ p)
            for rate in (0.0, *rates) if rates else ():
                change = -rate * p @ problem.gradient + 0.5 * rate**2 * p @ h @ p
                add("line_loss", batch_size, draw, 1.0 + change, rate=rate)
    frame = pd.DataFrame(rows)
    return frame if trial_id is None else frame.assign(trial_id=trial_id)
