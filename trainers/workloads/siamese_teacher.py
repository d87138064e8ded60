"""A teacher: an exponential moving average of a network's weights, kept in buffers."""

from __future__ import annotations

import copy

import torch
from torch import nn

from .float32_buffers import Float32Buffers, move_towards


class Teacher(Float32Buffers):
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
                module.register_buffer(name, weight.detach().float().clone())

    def follow(self, student: nn.Module, *, decay: float) -> None:
        """Move every weight to ``decay`` times itself plus 1 − ``decay`` times the student's.

        Args:
            student: The network that was copied; with ZeRO stage 3 all workers call this together.
            decay: τ; 1 stands still, 0 is the student.
        """
        mine = dict(self.network.named_buffers())
        for name, weight in student.named_parameters():
            move_towards(mine[name], weight, share=1.0 - decay)

    @torch.no_grad()
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the network's output, without a gradient."""
        return self.network(images.float())
