"""The direction that the run's own optimiser would take for a fresh batch.

The optimiser is a second one of the same kind on a copy of the weights. It begins at a copy of the run's state, or
afresh, and takes real steps; the run's own is only read.

Weight decay is switched off: the loss and its gradient are without it, so its part of a step is no part of their gain.
What is left of it is in sgd's momenta, which hold past decay, and LAMB's trust ratio is that of the step without decay.
A decay rate that is counted in examples (``beta2_half_life_examples``) is that of the direction's batch size.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch.optim import Optimizer

from ..optimizers import build_optimizer
from ..settings import TrainSettings
from ..workload import LossModule
from .gradients import Vector

_RATE = 2.0**20
"""So large that a step's rounding is relative to the step and not to the weights. No update depends on its rate."""


class Direction:
    """φ of one batch size, by the optimiser's own step on weights that are put back."""

    def __init__(self, module: LossModule, settings: TrainSettings, *, batch_size: int) -> None:
        """Build the optimiser of ``settings`` for ``module``, a copy that nothing else differentiates."""
        self._parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self._clipping = settings.engine.gradient_clipping
        self._optimizer = build_optimizer(
            settings.optimizer,
            {**settings.optimizer_settings, "weight_decay": 0.0},
            module,
            learning_rate=_RATE,
            batch_size=batch_size,
            rate_factors=module.rate_factors(settings.learning_rate),
        )

    def begin(self) -> None:
        """Forget all steps."""
        self._optimizer.state.clear()
        for group in self._optimizer.param_groups:
            group.pop("step", None)  # where pytorch-optimizer counts

    def begin_at(self, run: Optimizer, parameters: Sequence[torch.Tensor]) -> None:
        """Take over the state of ``run``, whose ``parameters`` are in the order of the module's."""
        self.begin()
        for own, group in zip(self._optimizer.param_groups, run.param_groups, strict=True):
            if "step" in group:
                own["step"] = copy.deepcopy(group["step"])
        for mine, theirs in zip(self._parameters, parameters, strict=True):
            if theirs in run.state:
                self._optimizer.state[mine] = copy.deepcopy(run.state[theirs])

    @torch.no_grad()
    def of(self, gradient: Vector) -> Vector:
        """Take the step for ``gradient`` and return φ, the step over minus the rate; the weights are put back.

        The gradient is clipped as in the run. The optimiser has seen it afterwards, as in training.
        """
        before = [parameter.clone() for parameter in self._parameters]
        for parameter, part in zip(self._parameters, gradient, strict=True):
            parameter.grad = part.clone()  # some optimisers write into it
        if self._clipping:
            torch.nn.utils.clip_grad_norm_(self._parameters, self._clipping)
        self._optimizer.step()
        direction = []
        for parameter, start in zip(self._parameters, before, strict=True):
            direction.append((start - parameter).div_(_RATE))
            parameter.copy_(start)
            parameter.grad = None
        return direction
