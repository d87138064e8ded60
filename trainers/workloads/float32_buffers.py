"""Buffers that need more digits than bfloat16 has, such as averages of weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import torch
from torch import nn

from ..whole import gathered


class Float32Buffers(nn.Module):
    """A module without weights of its own whose buffers go along to a device, but to no other type.

    An average of weights, or what an iteration has found so far, changes by less than a digit of bfloat16 at a step.
    """

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Self:
        """Apply what moves or casts (torch's hook behind ``to`` and ``bfloat16``), less the casting."""

        def moved(tensor: torch.Tensor) -> torch.Tensor:
            changed = fn(tensor)
            return changed if changed.dtype is tensor.dtype else tensor.to(changed.device)

        return super()._apply(moved, recurse)


@torch.no_grad()
def move_towards(average: torch.Tensor, weight: nn.Parameter, *, share: float) -> None:
    """Set ``average`` to 1 − ``share`` times itself plus ``share`` times ``weight``, in its own type.

    With ZeRO stage 3, where a weight is in pieces, all workers call this together.
    """
    with gathered(weight):
        average.lerp_(weight.detach().to(average.dtype), share)
