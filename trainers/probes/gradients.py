"""The trained loss of a batch and its gradient, at weights that are held, without a parameter's ``.grad``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from ..batching import cut, map_tensors
from ..errors import SettingsError
from ..workload import Batch, Workload
from .cost import ProbeCost
from .workers import ALONE, Workers

Vector = list[torch.Tensor]
"""One tensor for each trained parameter, of its shape: a point or a direction in the space of weights."""


class HeldLoss:
    """A workload's loss as a function of the batch, at a model's weights.

    ``workers`` share the passes over a batch; all of them ask for the same at the same time, and get the same.
    """

    def __init__(self, workload: Workload, model: nn.Module, cost: ProbeCost, workers: Workers = ALONE) -> None:
        """Take the model, which is never changed except for buffers that a pass in training mode writes."""
        named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
        self.names = [name for name, _ in named]
        self.parameters: Vector = [parameter for _, parameter in named]
        self.cost = cost
        self.workers = workers
        self._workload, self._model = workload, model
        self._device = self.parameters[0].device

    def alone(self) -> HeldLoss:
        """Return the loss for batches of which each worker has its own; what they cost is for the caller to count."""
        return HeldLoss(self._workload, self._model, ProbeCost())

    def starts(self, *, size: int, pass_size: int) -> range:
        """Return where each pass over ``size`` examples begins; passes are dealt to the workers in turn.

        Where examples are independent, a pass is no larger than a worker's share; where not, passes stay whole.
        """
        if self._workload.examples_are_independent:
            pass_size = min(pass_size, -(-size // self.workers.count))
        return range(0, size, pass_size)

    def pieces(self, batch: Batch, *, size: int, pass_size: int) -> Iterator[tuple[float, Batch]]:
        """Yield this worker's passes over the first ``size`` examples of ``batch`` and each one's share of them."""
        starts = self.starts(size=size, pass_size=pass_size)
        for first in self.workers.share(starts):
            last = min(first + starts.step, size)
            piece = cut(batch, first, last)
            yield (last - first) / size, map_tensors(lambda t: t.to(self._device, non_blocking=True), piece)

    def of(self, piece: Batch) -> torch.Tensor:
        """Return the mean loss of one pass, with its graph."""
        try:
            return self._workload.loss(self._model, piece)
        except torch.OutOfMemoryError:
            raise _too_large() from None

    def gradient(self, batch: Batch, *, size: int, pass_size: int) -> Vector:
        """Return the gradient of the mean loss of the first ``size`` examples of ``batch``.

        Where passes couple their examples, the loss is the mean over passes, as it is for micro-batches in training.
        """
        self.cost.gradient_examples += size
        total: Vector = []
        for share, piece in self.pieces(batch, size=size, pass_size=pass_size):
            try:
                part = torch.autograd.grad(self.of(piece), self.parameters, allow_unused=True, materialize_grads=True)
            except torch.OutOfMemoryError:
                raise _too_large() from None
            if share == 1.0 and self.workers.count == 1:
                return list(part)
            total = plus(total, part, share) if total else [share * x for x in part]
        total = total or [torch.zeros_like(parameter) for parameter in self.parameters]
        self.workers.add_up(total)
        return total

    @torch.no_grad()
    def value(self, batch: Batch, *, size: int, pass_size: int) -> float:
        """Return the mean loss of the first ``size`` examples of ``batch``."""
        self.cost.loss_examples += size
        total = torch.zeros((), dtype=torch.float64, device=self._device)
        for share, piece in self.pieces(batch, size=size, pass_size=pass_size):
            total += share * self.of(piece).double()
        self.workers.add_up([total])
        return float(total)


def dots(one: Sequence[torch.Tensor], other: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the scalar product of each pair of tensors, shape (tensors,), in float64."""
    return torch.stack([torch.dot(a.flatten(), b.flatten()) for a, b in zip(one, other, strict=True)]).double()


def plus(vector: Vector, other: Sequence[torch.Tensor], factor: float) -> Vector:
    """Add ``factor`` times ``other`` to ``vector`` in place and return it."""
    for a, b in zip(vector, other, strict=True):
        a.add_(b, alpha=factor)
    return vector


def _too_large() -> SettingsError:
    return SettingsError(
        "a probe's pass does not fit into the device's memory (second derivatives take about three times a training "
        "step's); set probes.micro_batch_size lower, or curvature_batch_size where the loss couples examples"
    )
