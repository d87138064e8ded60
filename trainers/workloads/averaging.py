"""A moving average of a model's weights, kept in its buffers (Polyak and Juditsky 1992)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from ..whole import gathered
from .float32_buffers import Float32Buffers, move_towards


class WeightAverage(Float32Buffers):
    """The average of the trained weights of another module, as buffers of this one.

    A part of the model that it averages: so copies, checkpoints and moves to a device take it along. It stays in
    float32 when the model trains in bfloat16, whose three digits would lose what a step adds.
    """

    def __init__(self, model: nn.Module) -> None:
        """Begin at the weights of ``model``, which gets this module as a part afterwards."""
        super().__init__()
        self._names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        for number, name in enumerate(self._names):
            self.register_buffer(f"average{number}", model.get_parameter(name).detach().float().clone())

    def update(self, model: nn.Module, *, decay: float, step: int) -> None:
        """Take the weights of ``model`` after ``step`` steps in, with weight 1 − min(decay, (1 + step)/(10 + step)).

        The second bound lets the start be forgotten in a short run. With ZeRO stage 3 all workers call this together.
        """
        share = 1.0 - min(decay, (1 + step) / (10 + step))
        for average, parameter in self._pairs(model):
            move_towards(average, parameter, share=share)

    @contextlib.contextmanager
    def in_place(self, model: nn.Module) -> Iterator[None]:
        """Let ``model`` have the average for its weights inside the block, for all workers together (ZeRO stage 3)."""
        pairs = self._pairs(model)
        own = [_exchange(parameter, average) for average, parameter in pairs]
        try:
            yield
        finally:
            for weights, (_, parameter) in zip(own, pairs, strict=True):
                _exchange(parameter, weights)

    def _pairs(self, model: nn.Module) -> list[tuple[torch.Tensor, nn.Parameter]]:
        return [
            (self.get_buffer(f"average{number}"), model.get_parameter(name)) for number, name in enumerate(self._names)
        ]


def _exchange(parameter: nn.Parameter, weights: torch.Tensor) -> torch.Tensor:
    """Write ``weights`` into ``parameter``, and return what was there."""
    with gathered(parameter, written=True):
        own = parameter.detach().clone()
        parameter.data.copy_(weights)
    return own
