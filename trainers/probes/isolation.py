"""A copy of the model to measure on, and random state that is put back: the run can't notice a probe."""

from __future__ import annotations

import contextlib
import copy
import random
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from ..errors import SettingsError, first_line


@contextlib.contextmanager
def isolated(device: torch.device, *, seed: int) -> Iterator[None]:
    """Run a block with torch's random state seeded; torch's, numpy's and Python's are as before after it.

    Fused attention kernels and cuDNN's recurrent layers can't be differentiated twice, so the block uses plain ones.
    """
    numpy_state, python_state = np.random.get_state(), random.getstate()
    devices = [torch.cuda.current_device() if device.index is None else device.index] if device.type == "cuda" else []
    recurrent = plain_recurrent_layers() if device.type == "cuda" else contextlib.nullcontext()
    try:
        with torch.random.fork_rng(devices=devices), sdpa_kernel(SDPBackend.MATH), recurrent:
            torch.manual_seed(seed)
            yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)


@contextlib.contextmanager
def plain_recurrent_layers() -> Iterator[None]:
    """Run recurrent layers without cuDNN inside the block; convolutions keep it, which it differentiates twice."""
    outside: list[bool] = []

    def enter(module: nn.Module, _inputs: object) -> None:
        if isinstance(module, nn.RNNBase):
            outside.append(torch.backends.cudnn.enabled)
            torch.backends.cudnn.enabled = False

    def leave(module: nn.Module, _inputs: object, _output: object) -> None:
        if isinstance(module, nn.RNNBase) and outside:
            torch.backends.cudnn.enabled = outside.pop()

    # Of all modules, as the block makes copies of the model.
    hooks = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave, always_call=True)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def copy_model(model: nn.Module) -> nn.Module:
    """Return a copy of ``model`` with weights, buffers and mode of its own, and no gradients.

    Raises:
        SettingsError: Its class can't be copied.
    """
    try:
        copied = copy.deepcopy(model)
    except Exception as error:  # a user's class may raise anything
        raise SettingsError(
            f"a probe measures on a copy of the model, but {type(model).__name__} can't be copied "
            f"({type(error).__name__}: {first_line(error)}); make it work with copy.deepcopy or leave probes out"
        ) from error
    copied.zero_grad(set_to_none=True)
    return copied
