"""|g_b|² at two batch sizes and the same weights, from which |g|² and tr Σ follow (McCandlish et al. 2018, appendix A).

Needs nothing but the loss that is trained, so it holds for coupled losses too. Where the loss couples a whole batch
(BatchNorm without micro-batches), batches of two sizes have two losses, and the difference is in the estimate.
Batches are drawn as training draws them, without replacement within an epoch: near the size of the data, Σ/b is smaller
than for independent draws, as it is in training.
"""

from __future__ import annotations

import dataclasses

import torch

from ..batching import cut
from ..workload import Batch
from .gradients import HeldLoss, Vector, dots
from .rows import Rows
from .sizes import ProbeSizes


@dataclasses.dataclass(frozen=True, kw_only=True)
class TwoBatch:
    """Gradients of one draw: of its first small batch, of the large batch, and σᵢ² estimated from the small ones."""

    small: Vector
    large: Vector
    variance: Vector


def two_batch(loss: HeldLoss, batch: Batch, sizes: ProbeSizes, rows: Rows, *, draw: int) -> TwoBatch:
    """Add the rows gradient_square of one draw: of all small batches that its large batch consists of, and of itself.

    Args:
        loss: The loss at the weights.
        batch: The draw.
        sizes: Of the batches.
        rows: Where the rows go.
        draw: The draw's number.

    Returns:
        The gradients, for what else is measured on them. The variance of an example's gradient element is ``small``
        times that of the small batches' elements.
    """
    count = sizes.large // sizes.small
    squares = torch.zeros(len(loss.parameters), dtype=torch.float64, device=loss.parameters[0].device)
    first: Vector = []
    mean = [torch.zeros_like(parameter) for parameter in loss.parameters]
    spread = [torch.zeros_like(parameter) for parameter in loss.parameters]
    for number in range(count):
        shard = cut(batch, number * sizes.small, (number + 1) * sizes.small)
        gradient = loss.gradient(shard, size=sizes.small, pass_size=sizes.drawn_pass(sizes.small))
        first = first or gradient
        squares += dots(gradient, gradient)
        for m, s, g in zip(mean, spread, gradient, strict=True):  # Welford's recursion: no difference of large sums
            change = g - m
            m.add_(change, alpha=1.0 / (number + 1))
            s.addcmul_(change, g - m)
    large = mean if sizes.additive else loss.gradient(batch, size=sizes.large, pass_size=sizes.large)
    rows.add("gradient_square", squares, batch_size=sizes.small, count=count, draw=draw)
    rows.add("gradient_square", dots(large, large), batch_size=sizes.large, draw=draw)
    return TwoBatch(small=first, large=large, variance=[s * (sizes.small / (count - 1)) for s in spread])
