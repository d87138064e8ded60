"""|g_b|² at two batch sizes and the same weights, from which |g|² and tr Σ follow (McCandlish et al. 2018, appendix A).

Needs nothing but the loss that is trained, so it holds for coupled losses too. Where the loss couples a whole batch
(BatchNorm without micro-batches), batches of two sizes have two losses, and the difference is in the estimate.
Batches are drawn as training draws them, without replacement within an epoch: near the size of the data, Σ/b is smaller
than for independent draws, as it is in training.
"""

from __future__ import annotations

import dataclasses
import math

import torch

from ..batching import cut
from ..workload import Batch
from .gradients import HeldLoss, Vector, dots, plus
from .rows import Rows
from .sizes import ProbeSizes


@dataclasses.dataclass(frozen=True, kw_only=True)
class TwoBatch:
    """What the gradients of one draw's small batches say: with n examples in all, and Σ of one example.

    Attributes:
        mean: Their mean: g with noise of covariance Σ/n.
        contrast: A difference between their halves: noise alone, of the same covariance, uncorrelated with the mean's.
        variance: σᵢ², of an example's gradient element.
    """

    mean: Vector
    contrast: Vector
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
        What else is measured on the small batches' gradients. The variance of an example's gradient element is
        ``small`` times that of the small batches' elements.
    """
    count = sizes.large // sizes.small
    squares = torch.zeros(len(loss.parameters), dtype=torch.float64, device=loss.parameters[0].device)
    mean, contrast, spread = ([torch.zeros_like(parameter) for parameter in loss.parameters] for _ in range(3))
    weights = _contrast_weights(count)
    numbers, own = loss.workers.share(range(count)), loss.alone()
    for taken, number in enumerate(numbers, start=1):
        shard = cut(batch, number * sizes.small, (number + 1) * sizes.small)
        gradient = own.gradient(shard, size=sizes.small, pass_size=sizes.drawn_pass(sizes.small))
        squares += dots(gradient, gradient)
        plus(contrast, gradient, weights[number])
        for m, s, g in zip(mean, spread, gradient, strict=True):  # Welford's recursion: no difference of large sums
            change = g - m
            m.add_(change, alpha=1.0 / taken)
            s.addcmul_(change, g - m)
    loss.workers.add_up([squares])
    loss.workers.add_up(contrast)
    loss.workers.merge(mean, spread, taken=len(numbers), total=count)
    loss.cost.gradient_examples += sizes.large
    large = mean if sizes.additive else loss.gradient(batch, size=sizes.large, pass_size=sizes.large)
    rows.add("gradient_square", squares, batch_size=sizes.small, count=count, draw=draw)
    rows.add("gradient_square", dots(large, large), batch_size=sizes.large, draw=draw)
    return TwoBatch(mean=mean, contrast=contrast, variance=[s * (sizes.small / (count - 1)) for s in spread])


def _contrast_weights(count: int) -> list[float]:
    """Return weights of sum 0 that are equal within each half and whose squares add up to those of a mean, 1/count."""
    half = count // 2
    height = math.sqrt(half * (count - half)) / count
    return [height / half] * half + [-height / (count - half)] * (count - half)
