"""Softmax losses on the angles between vectors and classes, with a margin at the right class."""

from __future__ import annotations

import torch
from torch.nn import functional


def am_softmax_loss(cosines: torch.Tensor, labels: torch.Tensor, *, scale: float, margin: float) -> torch.Tensor:
    """Return the mean of −log e^{s(cosθ_t − m)} / (e^{s(cosθ_t − m)} + Σ_{i≠t} e^{s cosθ_i}), AM-Softmax.

    Wang et al. 2018, equation 6.

    Args:
        cosines: of each example's vector and each class's, shape (examples, classes).
        labels: the right classes t, shape (examples,).
        scale: s.
        margin: m.
    """
    right = functional.one_hot(labels, cosines.shape[1]).to(cosines.dtype)
    return functional.cross_entropy(scale * (cosines - margin * right), labels)


def a_softmax_loss(cosines: torch.Tensor, labels: torch.Tensor, *, scale: float, multiple: int) -> torch.Tensor:
    """Return AM-Softmax's loss with min(cos mθ_t, cosθ_t) in the place of cosθ_t − m.

    A simple form of A-Softmax (Liu et al. 2017), whose own is monotone in θ by parts.

    Args:
        cosines: of each example's vector and each class's, shape (examples, classes).
        labels: the right classes t, shape (examples,).
        scale: s.
        multiple: m.
    """
    target = cosines.gather(1, labels[:, None])
    smaller = torch.minimum(cosine_of_multiple(target, multiple), target)
    return functional.cross_entropy(scale * cosines.scatter(1, labels[:, None], smaller), labels)


def cosine_of_multiple(cosines: torch.Tensor, multiple: int) -> torch.Tensor:
    """Return cos mθ for m = ``multiple`` ≥ 1, given cosθ: Chebyshev's polynomial, smooth also at θ = 0."""
    before, last = torch.ones_like(cosines), cosines
    for _ in range(multiple - 1):
        before, last = last, 2.0 * cosines * last - before
    return last
