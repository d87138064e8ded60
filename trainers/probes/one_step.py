"""The two terms of the one-step gain, for the optimiser in use and each batch size of a ladder.

To second order E[L(θ − ηφ)] = L − η E[φ]ᵀg + ½η² E[φᵀHφ], so that η*(B) = E[φ]ᵀg / E[φᵀHφ] with no assumption on H, Σ
or φ. Batches of one draw contain each other; those of different draws, and of the reference gradient, are apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn
from torch.optim import Optimizer

from ..batching import cut
from ..settings import TrainSettings
from ..workload import Batch, LossModule, Workload
from .direction import Direction
from .gradients import HeldLoss, Vector, dots, plus
from .isolation import copy_model
from .rows import Rows
from .sizes import ProbeSizes


class Ladder:
    """The optimiser's directions at each batch size of the ladder."""

    def __init__(
        self,
        workload: Workload,
        settings: TrainSettings,
        sizes: ProbeSizes,
        *,
        model: nn.Module,
        optimizer: Optimizer | None,
        warm: dict[int, Iterator[Batch]],
    ) -> None:
        """Build an optimiser for each batch size.

        Args:
            workload: The problem.
            settings: Of the run.
            sizes: With the ladder.
            model: The run's; a copy is stepped on.
            optimizer: The run's, of the model's parameters; its state is where directions begin. None: afresh, with
                ``warm_steps`` batches of their size that they see first.
            warm: For each batch size an endless stream of these batches.
        """
        module = LossModule(workload, copy_model(model))
        self._sizes, self._warm = sizes, warm
        self._warm_steps = settings.probes.warm_steps if settings.probes else 0
        self._of_size = {size: Direction(module, settings, batch_size=size) for size in sizes.ladder}
        self._run = optimizer
        self._run_parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def directions(self, loss: HeldLoss, batch: Batch) -> dict[int, Vector]:
        """Return φ by batch size, for the first examples of ``batch``."""
        return {size: self._direction(loss, size, gradient) for size, gradient in self._gradients(loss, batch)}

    def _direction(self, loss: HeldLoss, size: int, gradient: Vector) -> Vector:
        direction = self._of_size[size]
        if self._run is not None:
            direction.begin_at(self._run, self._run_parameters)
            return direction.of(gradient)
        direction.begin()
        for _ in range(self._warm_steps):
            past = next(self._warm[size])
            direction.of(loss.gradient(past, size=size, pass_size=self._sizes.drawn_pass(size)))
        return direction.of(gradient)

    def _gradients(self, loss: HeldLoss, batch: Batch) -> Iterator[tuple[int, Vector]]:
        if not self._sizes.additive:
            for size in self._sizes.ladder:
                yield size, loss.gradient(batch, size=size, pass_size=size)
            return
        total = [torch.zeros_like(parameter) for parameter in loss.parameters]
        seen = 0
        for size in self._sizes.ladder:
            fresh = size - seen
            part = loss.gradient(cut(batch, seen, size), size=fresh, pass_size=self._sizes.drawn_pass(fresh))
            plus(total, part, fresh)
            seen = size
            yield size, [x / size for x in total]


def add_update(
    directions: dict[int, Vector], products: Sequence[Vector], reference: Vector, rows: Rows, *, draw: int
) -> None:
    """Add the rows update_gradient, update_curvature and update_square of one draw.

    Args:
        directions: φ by batch size.
        products: H φ in the same order.
        reference: g, over examples that no direction has seen.
        rows: Where the rows go.
        draw: The draw's number.
    """
    for (size, direction), product in zip(directions.items(), products, strict=True):
        rows.add("update_gradient", dots(direction, reference), batch_size=size, draw=draw)
        rows.add("update_curvature", dots(direction, product), batch_size=size, draw=draw)
        rows.add("update_square", dots(direction, direction), batch_size=size, draw=draw)
