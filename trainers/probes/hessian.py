"""Hessian-vector products of the mean loss over one fixed batch, by differentiating twice (Pearlmutter 1994)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..workload import Batch
from .gradients import HeldLoss, Vector, plus

_Graph = list[tuple[torch.Tensor, int]]
"""Elements of the gradient that depend on the weights, with the index of each one's parameter."""


class CurvatureBatch:
    """H, the Hessian of the mean loss over one batch.

    What the loss detaches is held: with a stop-gradient, H is the curvature of the loss with its targets fixed, which
    is what an update sees. Where the loss draws random numbers (dropout), each pass draws the same ones every time, so
    that H is one matrix.
    """

    def __init__(self, loss: HeldLoss, batch: Batch, *, size: int, pass_size: int, seed: int) -> None:
        """Take the first ``size`` examples of ``batch`` in passes of ``pass_size``, seeded by ``seed``."""
        self._loss, self._seed = loss, seed
        passes = loss.starts(size=size, pass_size=pass_size)
        numbers = loss.workers.share(range(len(passes)))
        self._pieces = list(zip(numbers, loss.pieces(batch, size=size, pass_size=pass_size), strict=True))
        self._size = size
        self._keep = len(passes) <= loss.workers.count
        self._kept: _Graph | None = None
        self._begun = False

    def products(self, vectors: Sequence[Vector]) -> list[Vector]:
        """Return H v for each of ``vectors``, which are the same on all workers."""
        parameters = self._loss.parameters
        results = [[torch.zeros_like(parameter) for parameter in parameters] for _ in vectors]
        if not (self._keep and self._begun):
            self._loss.cost.gradient_examples += self._size
        self._begun = True
        for number, (share, piece) in self._pieces:
            graph = self._kept or self._graph(number, piece)
            if self._keep:
                self._kept = graph  # one pass fits into a worker's memory: no need to make its graph again
            if not graph:  # the loss is linear
                continue
            for vector, result in zip(vectors, results, strict=True):
                plus(result, self._product(graph, vector), share)
        for result in results:
            self._loss.workers.add_up(result)
        self._loss.cost.product_examples += self._size * len(vectors)
        return results

    def _graph(self, number: int, piece: Batch) -> _Graph:
        torch.manual_seed(self._seed + number)
        gradient = torch.autograd.grad(
            self._loss.of(piece), self._loss.parameters, create_graph=True, allow_unused=True
        )
        return [(part, k) for k, part in enumerate(gradient) if part is not None and part.requires_grad]

    def _product(self, graph: _Graph, vector: Vector) -> Sequence[torch.Tensor]:
        return torch.autograd.grad(
            [part for part, _ in graph],
            self._loss.parameters,
            [vector[k] for _, k in graph],
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
