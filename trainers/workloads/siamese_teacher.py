"""A teacher: an exponential moving average of a network's weights, kept in buffers."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn


class Teacher(nn.Module):
    """A copy of a network that follows it: θ' ← τ θ' + (1 − τ) θ after each step (BYOL, equation 1).

    Its weights are buffers: no optimiser, gradient or probe sees them, and copies of the model hold them. They stay in
    float32 when the model trains in bfloat16, whose three digits would lose what a step adds. BatchNorm keeps the
    statistics of what the teacher itself sees.
    """

    def __init__(self, student: nn.Module) -> None:
        """Begin as a copy of ``student``."""
        super().__init__()
        self.network = copy.deepcopy(student)
        for module in self.network.modules():
            for name, weight in list(module.named_parameters(recurse=False)):
                delattr(module, name)
                module.register_buffer(name, weight.detach().clone())

    @torch.no_grad()
    def follow(self, student: nn.Module, *, decay: float) -> None:
        """Move every weight to ``decay`` times itself plus 1 − ``decay`` times the student's.

        Args:
            student: The network that was copied; with ZeRO stage 3 all workers call this together.
            decay: τ; 1 stands still, 0 is the student.
        """
        mine = dict(self.network.named_buffers())
        for name, weight in student.named_parameters():
            with _whole(weight):
                mine[name].lerp_(weight.detach().to(mine[name].dtype), 1.0 - decay)

    @torch.no_grad()
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the network's output, without a gradient."""
        return self.network(images.float())

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Teacher:
        """Move to another device, but keep the numbers as they are (torch's hook behind ``to`` and ``bfloat16``)."""
        super()._apply(lambda tensor: fn(tensor).to(tensor.dtype), recurse)
        return self


def _whole(weight: Any) -> contextlib.AbstractContextManager[Any]:
    if not hasattr(weight, "ds_id"):
        return contextlib.nullcontext()
    from deepspeed.zero import GatheredParameters  # late: only with ZeRO stage 3, which shards the weights

    return GatheredParameters([weight])
