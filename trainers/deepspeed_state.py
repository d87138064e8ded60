"""All that a DeepSpeed engine knows between two steps: read as named tensors, and written back in place.

| stage | weights | float32 masters and the optimiser's state |
|---|---|---|
| 0, float32 | alike on all workers | the weights are the masters; state alike |
| 0, bfloat16 | alike | alike |
| 1, 2 | alike | each worker's part of one flat tensor a group |
| 3 | a part on each worker | the same |

Buffers (BatchNorm's running means, say) are each worker's own at every stage.

DeepSpeed's own checkpoints are pickles of dictionaries that hold its objects; loading one pads, casts and takes apart
again. Here a run goes on with as many workers and the same settings, so every tensor fits where it was: a copy in place
keeps each bit, and the views that DeepSpeed has of its flat tensors.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from .tensor_file import CheckpointError

Tensors = Mapping[str, torch.Tensor]

_WEIGHT, _BUFFER, _MASTER, _STATE = "weight", "buffer", "master", "state"
_ALIKE = {0: (_WEIGHT, _MASTER, _STATE), 1: (_WEIGHT,), 2: (_WEIGHT,), 3: ()}
"""Kinds of tensors that all workers hold alike, by ZeRO stage."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EngineState:
    """Tensors by name, those that all workers hold alike apart, and plain JSON values; see ``DeepSpeedState``."""

    common: Tensors
    own: Tensors
    values: dict[str, Any]


class DeepSpeedState:
    """The state of one engine."""

    def __init__(self, module: nn.Module, optimizer: Any, *, zero_stage: int) -> None:
        """Look at an engine.

        Args:
            module: What it trains.
            optimizer: What it takes steps with: a torch optimiser, or DeepSpeed's wrapper of one.
            zero_stage: 0 to 3.
        """
        self._module, self._wrapper, self._stage = module, optimizer, zero_stage
        self._optimizer: Optimizer = optimizer if isinstance(optimizer, Optimizer) else optimizer.optimizer

    def read(self) -> EngineState:
        """Return the live tensors, not copies.

        Raises:
            CheckpointError: The optimiser's state holds something else than tensors and plain values.
        """
        tensors, values, on_processor = self._fixed(), {}, []
        for number, master in enumerate(self._masters()):
            for key, value in self._optimizer.state.get(master, {}).items():
                name = f"{_STATE} {number} {key}"
                if not isinstance(value, torch.Tensor):
                    values[name] = value
                    continue
                tensors[name] = value
                if master.device != value.device:  # where torch's optimisers count steps
                    on_processor.append(name)
        alike = {name: tensor for name, tensor in tensors.items() if name.split(" ")[0] in _ALIKE[self._stage]}
        return EngineState(
            common=alike,
            own={name: tensor for name, tensor in tensors.items() if name not in alike},
            values={
                "state": values,
                "on_processor": on_processor,
                "groups": [_numbers_of(group) for group in self._optimizer.param_groups],
            },
        )

    def check(self, state: EngineState) -> None:
        """Check that ``state`` is one of an engine like this one.

        Raises:
            CheckpointError: A tensor is missing, too many, or of another shape or type.
        """
        found = {**state.common, **state.own}
        fixed = self._fixed()
        given = {name for name in found if not name.startswith(f"{_STATE} ")}
        if odd := sorted(given ^ fixed.keys()):
            raise CheckpointError(f"it holds other tensors than this run has: {odd[0]}")
        for name, tensor in fixed.items():
            theirs = found[name]
            if (theirs.shape, theirs.dtype) != (tensor.shape, tensor.dtype):
                raise CheckpointError(
                    f"{name} must be {_described(tensor)} as in this run, but the checkpoint's is {_described(theirs)}"
                )
        masters = self._masters()
        for number, key, value in _state_of(state):
            if not 0 <= number < len(masters):
                raise CheckpointError(f"it holds {key} {number}, and this run's optimiser moves {len(masters)} tensors")
            if isinstance(value, torch.Tensor) and value.ndim and value.shape != masters[number].shape:
                raise CheckpointError(f"{key} must be like {_described(masters[number])}, but is {_described(value)}")
        if (count := len(state.values["groups"])) != len(self._optimizer.param_groups):
            raise CheckpointError(f"it holds {count} groups, and this run has {len(self._optimizer.param_groups)}")

    @torch.no_grad()
    def write(self, state: EngineState) -> None:
        """Put ``state`` into the engine, which has not taken a step. All workers call it at the same moment.

        Raises:
            CheckpointError: See ``check``; then nothing is changed.
        """
        self.check(state)
        found = {**state.common, **state.own}
        if self._stage == 3:
            self._wrapper.checkpoint_event_prologue()  # takes apart the small tensors, which are whole between steps
        for name, tensor in self._fixed().items():
            tensor.copy_(found[name])
        if self._stage == 3:
            self._wrapper.checkpoint_event_epilogue()
        masters = self._masters()
        self._optimizer.state.clear()
        on_processor = set(state.values["on_processor"])
        for number, key, value in _state_of(state):
            if isinstance(value, torch.Tensor):
                stays = f"{_STATE} {number} {key}" in on_processor
                value = value.to("cpu" if stays else masters[number].device, copy=True)
            self._optimizer.state[masters[number]][key] = value
        for group, numbers in zip(self._optimizer.param_groups, state.values["groups"], strict=True):
            group.update(numbers)

    def _fixed(self) -> dict[str, torch.Tensor]:
        """Return the tensors that exist from the start: all but the optimiser's state."""
        module: Any = self._module
        weights = {
            # Stage 3 leaves an empty shell of a weight, with this worker's part beside it.
            f"{_WEIGHT} {name}": weight.ds_tensor.data if self._stage == 3 else weight.data
            for name, weight in module.named_parameters()
        }
        buffers = {f"{_BUFFER} {name}": buffer for name, buffer in self._module.named_buffers()}
        trained = {id(weight) for weight in self._module.parameters()}
        masters = {
            f"{_MASTER} {number}": master.data
            for number, master in enumerate(self._masters())
            if id(master) not in trained
        }
        return weights | buffers | masters

    def _masters(self) -> list[torch.Tensor]:
        """Return what the optimiser itself moves, in its order."""
        if self._stage == 3:
            return list(self._wrapper.fp32_partitioned_groups_flat)
        return [master for group in self._optimizer.param_groups for master in group["params"]]


def _state_of(state: EngineState) -> Iterator[tuple[int, str, Any]]:
    """Yield the optimiser's state: the number of what it moves, the key, and the tensor or plain value.

    By number and key: a file is read in no order, and workers that walk through their state together must meet.
    """
    found = {}
    for name, value in itertools.chain(state.common.items(), state.own.items(), state.values["state"].items()):
        kind, _, rest = name.partition(" ")
        if kind == _STATE:
            number, _, key = rest.partition(" ")
            found[int(number), key] = value
    for number, key in sorted(found):
        yield number, key, found[number, key]


def _numbers_of(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an optimiser may count in a group, such as pytorch-optimizer's ``step``."""
    return {key: value for key, value in group.items() if type(value) in (bool, int, float)}


def _described(tensor: torch.Tensor) -> str:
    return f"{list(tensor.shape)} of {str(tensor.dtype).removeprefix('torch.')}"
