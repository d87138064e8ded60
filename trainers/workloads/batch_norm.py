"""BatchNorm in models that train in bfloat16."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn
from torch.nn import functional

M = TypeVar("M", bound=nn.Module)


def float32_batch_norm(module: M) -> M:
    """Make each BatchNorm in ``module`` take weights of any type into its float32 arithmetic, and return ``module``.

    DeepSpeed casts weights to bfloat16 and leaves running statistics in float32, whose averages need the digits;
    torch's kernels on processors then refuse the mixture. In float32 nothing changes, not by a bit.
    """
    for layer in module.modules():
        if type(layer) is nn.BatchNorm1d:
            layer.__class__ = _BatchNorm1d
        elif type(layer) is nn.BatchNorm2d:
            layer.__class__ = _BatchNorm2d
    return module


def _forward(layer: nn.BatchNorm1d | nn.BatchNorm2d, states: torch.Tensor) -> torch.Tensor:
    momentum = layer.momentum
    if layer.training and layer.num_batches_tracked is not None:
        layer.num_batches_tracked.add_(1)
        if momentum is None:  # a mean over all batches
            momentum = 1.0 / float(layer.num_batches_tracked)
    return functional.batch_norm(
        states,
        layer.running_mean,
        layer.running_var,
        layer.weight.float(),
        layer.bias.float(),
        training=layer.training,
        momentum=momentum or 0.0,
        eps=layer.eps,
    )


class _BatchNorm1d(nn.BatchNorm1d):
    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return _forward(self, states) if _is_mixed(self) else super().forward(states)


class _BatchNorm2d(nn.BatchNorm2d):
    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return _forward(self, states) if _is_mixed(self) else super().forward(states)


def _is_mixed(layer: nn.BatchNorm1d | nn.BatchNorm2d) -> bool:
    return (
        layer.weight is not None and layer.running_mean is not None and layer.weight.dtype != layer.running_mean.dtype
    )
