"""Exact per-example gradients, one example at a time; only for losses that are a mean over examples."""

from __future__ import annotations

import torch

from ..batching import cut
from ..workload import Batch
from .gradients import HeldLoss, dots
from .rows import Rows
from .sizes import ProbeSizes


def per_example(loss: HeldLoss, batch: Batch, sizes: ProbeSizes, rows: Rows, *, draw: int) -> None:
    """Add the row example_square over the examples of a draw's large batch.

    With n examples, |g_B|² of the same draw and the mean square q, tr Σ is (q − |g_B|²) n/(n − 1), exactly the sample
    variance. Where the loss couples examples, no row is added: an example has no gradient of its own.
    """
    if not sizes.independent:
        return
    squares = torch.zeros(len(loss.parameters), dtype=torch.float64, device=loss.parameters[0].device)
    own = loss.alone()
    for number in loss.workers.share(range(sizes.large)):
        gradient = own.gradient(cut(batch, number, number + 1), size=1, pass_size=1)
        squares += dots(gradient, gradient)
    loss.workers.add_up([squares])
    loss.cost.gradient_examples += sizes.large
    rows.add("example_square", squares, batch_size=1, count=sizes.large, draw=draw)
