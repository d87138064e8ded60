"""Curvature along gradients and signs, and the signal that each coordinate's gradient carries.

E[g_bᵀH g_b] = gᵀHg + tr(HΣ)/b at two batch sizes gives gᵀHg and tr(HΣ); E[vᵀHv] over v of random signs is tr H
(Hutchinson 1990). H is on a batch of its own, so that no example is in both a gradient and the Hessian.
"""

from __future__ import annotations

import torch

from ..seeding import mix
from .gradients import Vector, dots
from .rows import Rows
from .sizes import ProbeSizes
from .two_batch import TwoBatch


def random_signs(like: Vector, *, seed: int) -> Vector:
    """Return a vector of independent signs, the same on every device."""
    generator = torch.Generator().manual_seed(mix(seed))
    return [(torch.randint(0, 2, x.shape, generator=generator) * 2 - 1).to(x) for x in like]


def curvature_vectors(drawn: TwoBatch, reference: Vector, *, draw: int, seed: int) -> list[Vector]:
    """Return the vectors whose products with H a draw needs: g_b, g_B, random signs; of the first draw sign(g) too."""
    vectors = [drawn.small, drawn.large, random_signs(reference, seed=seed)]
    return vectors if draw else [*vectors, [x.sign() for x in reference]]


def add_curvature(vectors: list[Vector], products: list[Vector], sizes: ProbeSizes, rows: Rows, *, draw: int) -> None:
    """Add the rows curvature_gradient, hessian_trace and, of the first draw, curvature_sign.

    Args:
        vectors: As ``curvature_vectors`` gave them.
        products: H times each.
        sizes: Of the batches.
        rows: Where the rows go.
        draw: The draw's number.
    """
    names = [
        ("curvature_gradient", sizes.small),
        ("curvature_gradient", sizes.large),
        ("hessian_trace", 0),
        ("curvature_sign", sizes.reference),
    ]
    for (name, batch_size), vector, product in zip(names, vectors, products, strict=False):
        rows.add(name, dots(vector, product), batch_size=batch_size, draw=draw)


def add_l1(reference: Vector, sizes: ProbeSizes, rows: Rows) -> None:
    """Add the row gradient_l1. Noise of the reference gradient lengthens it: |E g|₁ ≤ E|g|₁."""
    parts = torch.stack([x.abs().sum() for x in reference])
    rows.add("gradient_l1", parts, batch_size=sizes.reference, draw=0)


def add_noise_to_signal(drawn: TwoBatch, reference: Vector, sizes: ProbeSizes, rows: Rows, *, draw: int) -> None:
    """Add the row noise_to_signal, Σ σᵢ²/gᵢ² over the coordinates that have noise; its mean is κ².

    σᵢ² is the variance of an example's gradient, estimated from the draw's small batches, which are independent of the
    reference gradient over R examples. From that one's square its own noise σᵢ²/R is taken off, and what is left is not
    let below that noise: gᵢ² = max(ĝᵢ² − σᵢ²/R, σᵢ²/R). So no coordinate counts for more than R, and a κ² that is not
    small against R is a lower bound.
    """
    totals, counts = [], []
    for variance, mean in zip(drawn.variance, reference, strict=True):
        floor = variance / sizes.reference
        signal = torch.maximum(mean * mean - floor, floor)
        noisy = variance > 0
        totals.append(torch.where(noisy, variance / signal, 0.0).sum())
        counts.append(noisy.sum())
    rows.add("noise_to_signal", torch.stack(totals), batch_size=sizes.reference, count=torch.stack(counts), draw=draw)
