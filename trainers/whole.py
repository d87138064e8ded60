"""Whole weights and whole optimiser state of a model that DeepSpeed's ZeRO shards over workers, in copies.

| stage | weights | optimiser state |
|---|---|---|
| 1, 2 | whole on each worker | each worker's part of one flat tensor a group |
| 3 | a part on each worker, small tensors whole | the same |

All functions are collective: every worker calls them, at the same moment. The run is only read, except where a weight
is said to be written.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from .errors import SettingsError


def fill_model(model: nn.Module, sharded: nn.Module) -> nn.Module:
    """Give ``model``, built like ``sharded``, its weights, buffers and modes, and return it.

    A copy of ``sharded`` itself would carry the hooks of stage 3.

    Raises:
        SettingsError: The two have different tensors.
    """
    theirs = dict(itertools.chain(sharded.named_parameters(), sharded.named_buffers()))
    ours = dict(itertools.chain(model.named_parameters(), model.named_buffers()))
    if ours.keys() != theirs.keys():
        odd = ", ".join(sorted(ours.keys() ^ theirs.keys())[:3])
        raise SettingsError(
            f"with zero_stage 3 a probe builds the model anew, but {type(model).__name__} has got other tensors since "
            f"it was built ({odd}); leave probes out or use zero_stage 2"
        )
    for name, tensor in ours.items():
        tensor.data = _whole(theirs[name])
    for mine, run in zip(model.modules(), sharded.modules(), strict=True):
        mine.training = run.training
    return model


def fill_state(optimizer: Optimizer, model: nn.Module, *, run: Any, sharded: nn.Module) -> Optimizer:
    """Give ``optimizer`` the state that the run's has, and return it.

    Args:
        optimizer: Of the run's kind, with the trained parameters of ``model``.
        model: Built like ``sharded``.
        run: DeepSpeed's wrapper of the run's optimiser, for ZeRO stage 1, 2 or 3. Its optimiser is elementwise: its
            state is numbers, and tensors like its parameters.
        sharded: The run's model.
    """
    for own, group in zip(optimizer.param_groups, run.param_groups, strict=True):
        if "step" in group:
            own["step"] = copy.deepcopy(group["step"])
    example: dict[str, Any] = next((state for state in run.state.values() if state), {})
    for mine, theirs in zip(model.parameters(), sharded.parameters(), strict=True):
        if example and mine.requires_grad:
            optimizer.state[mine] = {
                key: _whole_state(run, theirs, key)
                if isinstance(value, torch.Tensor) and value.ndim
                else copy.deepcopy(value)
                for key, value in sorted(example.items())  # in one order on all workers, which meet at each
            }
    return optimizer


def gathered(tensor: Any, *, written: bool = False) -> contextlib.AbstractContextManager[Any]:
    """Return a context inside which ``tensor``, a weight or buffer of a run's model, is whole.

    Args:
        tensor: Stays as it is where nothing shards it.
        written: Whether what is written into its ``data``, the same on all workers, outlives the context.
    """
    if not hasattr(tensor, "ds_id"):  # DeepSpeed's mark of what stage 3 shards; asking itself would import it
        return contextlib.nullcontext()
    from deepspeed.runtime.zero.partition_parameters import GatheredParameters, ZeroParamStatus

    # What is whole must stay so: at its end GatheredParameters takes it apart.
    apart = tensor.ds_status is not ZeroParamStatus.AVAILABLE
    return GatheredParameters([tensor], modifier_rank=0 if written else None, enabled=apart)


def _whole(tensor: torch.Tensor) -> torch.Tensor:
    with gathered(tensor):
        return tensor.detach().clone()


def _whole_state(run: Any, parameter: Any, key: str) -> torch.Tensor:
    if hasattr(parameter, "ds_id"):
        from deepspeed.utils import safe_get_full_optimizer_state

        return safe_get_full_optimizer_state(parameter, key)
    # Of stages 1 and 2 that function knows the first group's state only, where state begins with the first step.
    whole = torch.zeros_like(parameter).flatten()
    part = parameter._hp_mapping
    if part is not None:  # this worker has some of it
        (flat,) = run.param_groups[part.param_group_index]["params"]
        here, there = part.lp_fragment_address, part.hp_fragment_address
        whole[here.start : here.start + here.numel] = run.state[flat][key][there.start : there.start + there.numel]
    torch.distributed.all_reduce(whole)
    return whole.view_as(parameter)
