"""Curvature along gradients and signs, and the signal that each coordinate's gradient carries.

E[g_bᵀH g_b] = gᵀHg + tr(HΣ)/b at two batch sizes gives gᵀHg and tr(HΣ); E[vᵀHv] over v of random signs is tr H
(Hutchinson 1990). H is on a batch of its own, so that no example is in both a gradient and the Hessian.

Both expectations are had from one product a draw. Of the small batches' gradients let m be the mean, d a difference
that has the mean's noise but nothing of g (``TwoBatch``), n the examples of the draw and ĝ the reference gradient,
which shares no example with them. For any λ and v = m + λd,

    E[mᵀHv − λ dᵀHĝ]  = gᵀHg + tr(HΣ)/n
    E[n dᵀH(v − ĝ)/λ] = tr(HΣ)

and the rows are the sums of these two that have the expectations above. Hĝ is one product a probe. It changes no
expectation, as d has none, but takes off dᵀHg, which would hide tr(HΣ) where batches have little noise. λ² = 2 is near
the best for both at once. Of coupled losses both rows belong to the loss that a small batch couples.
"""

from __future__ import annotations

import torch

from ..seeding import mix
from .gradients import Vector, dots, plus
from .rows import Rows
from .sizes import ProbeSizes
from .two_batch import TwoBatch

_CONTRAST = 2.0**0.5


def random_signs(like: Vector, *, seed: int) -> Vector:
    """Return a vector of independent signs, the same on every device."""
    generator = torch.Generator().manual_seed(mix(seed))
    return [(torch.randint(0, 2, x.shape, generator=generator) * 2 - 1).to(x) for x in like]


class CurvatureRows:
    """The rows curvature_gradient, hessian_trace and, of the first draw, curvature_sign."""

    def __init__(self, reference: Vector, sizes: ProbeSizes, rows: Rows) -> None:
        """Begin a probe with its reference gradient."""
        self._reference, self._sizes, self._rows = reference, sizes, rows
        self._reference_product: Vector = []

    def vectors(self, drawn: TwoBatch, *, draw: int, seed: int) -> list[Vector]:
        """Return the vectors whose products with H a draw needs: m + λd, random signs; of the first draw sign(g), g."""
        mixed = plus([x.clone() for x in drawn.mean], drawn.contrast, _CONTRAST)
        vectors = [mixed, random_signs(self._reference, seed=seed)]
        return vectors if draw else [*vectors, [x.sign() for x in self._reference], self._reference]

    def add(self, drawn: TwoBatch, vectors: list[Vector], products: list[Vector], *, draw: int) -> None:
        """Add the rows of one draw.

        Args:
            drawn: The draw.
            vectors: As ``vectors`` gave them.
            products: H times each.
            draw: The draw's number; the first comes first.
        """
        sizes, rows = self._sizes, self._rows
        if draw == 0:
            self._reference_product = products[3]
            rows.add("curvature_sign", dots(vectors[2], products[2]), batch_size=sizes.reference, draw=draw)
        met = dots(drawn.contrast, plus([x.clone() for x in products[0]], self._reference_product, -1.0)) / _CONTRAST
        along = dots(drawn.mean, products[0]) - _CONTRAST * dots(drawn.contrast, self._reference_product)
        fewer = sizes.large / sizes.small - 1.0  # n (1/small − 1/n)
        rows.add("curvature_gradient", along + fewer * met, batch_size=sizes.small, draw=draw)
        rows.add("curvature_gradient", along, batch_size=sizes.large, draw=draw)
        rows.add("hessian_trace", dots(vectors[1], products[1]), draw=draw)


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
