"""The loss along an optimiser's direction, on examples that the direction has not seen: no expansion, no Hessian.

With a stop-gradient this is the loss with its targets moved along, while the curvature is with them held.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..workload import Batch
from .gradients import HeldLoss, Vector
from .rows import Rows
from .sizes import ProbeSizes


class LineSearch:
    """Losses of one held-out batch at θ − rate·φ, all with the same random numbers (dropout)."""

    def __init__(self, loss: HeldLoss, batch: Batch, sizes: ProbeSizes, *, rates: Sequence[float], seed: int) -> None:
        """Take the loss of a copy of the model, whose weights are moved; ``rates`` are learning rates."""
        self._loss, self._batch, self._sizes, self._seed = loss, batch, sizes, seed
        self._rates = list(rates)
        self._start = [parameter.detach().clone() for parameter in loss.parameters]
        self._at_start = self._value()

    def add(self, direction: Vector, rows: Rows, *, batch_size: int, draw: int) -> None:
        """Add the rows line_loss along ``direction``; a loss that overflows is infinite or NaN there."""
        rows.add_loss(self._at_start, rate=0.0, batch_size=batch_size, draw=draw)
        for rate in self._rates:
            self._move(direction, rate)
            rows.add_loss(self._value(), rate=rate, batch_size=batch_size, draw=draw)

    @torch.no_grad()
    def _move(self, direction: Vector, rate: float) -> None:
        for parameter, start, part in zip(self._loss.parameters, self._start, direction, strict=True):
            parameter.copy_(start).sub_(part, alpha=rate)

    def _value(self) -> float:
        torch.manual_seed(self._seed)
        return self._loss.value(self._batch, size=self._sizes.curvature, pass_size=self._sizes.curvature_pass)
