"""Where squared gradient norms are read: what a backward pass adds, and what the optimiser will receive."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import torch
from torch import nn
from torch.autograd import Variable

from .errors import SettingsError


class LocalNorms:
    """The squared norm of what each backward pass of this worker adds to the gradients.

    Hooks on the parameters see a gradient before it is accumulated, averaged over workers or sharded, so one way serves
    plain loops, DDP and every ZeRO stage. No gradient is kept or copied.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], *, at_end: Callable[[], None] | None = None) -> None:
        """Prepare; ``at_end`` is called at the end of each backward pass that is listened to."""
        self._parameters = parameters
        self._names = list(parameters)
        self._at_end = at_end
        wide = any(parameter.dtype is torch.float64 for parameter in parameters.values())
        self._dtype = torch.float64 if wide else torch.float32
        self._buffers: list[torch.Tensor] = []
        self._slots: list[torch.Tensor] = []
        self._handles: list[Any] = []
        self._seen: list[int] = []

    def listen(self) -> None:
        """Hook the parameters."""
        if not self._slots:
            self._allocate()
        self._handles = [
            parameter.register_hook(functools.partial(self._see, index))
            for index, parameter in enumerate(self._parameters.values())
        ]

    def rest(self) -> None:
        """Take the hooks off, so that steps that are not measured cost nothing."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self.forget()

    def forget(self) -> None:
        """Drop what was seen since the last ``take``."""
        for buffer in self._buffers:
            buffer.zero_()
        self._seen.clear()

    @property
    def waiting(self) -> bool:
        """Whether a gradient came since the last ``take``."""
        return bool(self._seen)

    def take(self) -> torch.Tensor:
        """Return the squared norm since the last ``take``, a scalar on the first parameter's device.

        Raises:
            RuntimeError: There was no backward pass, or there were two, whose squared norms can't be added.
        """
        if not self._seen:
            raise RuntimeError(
                "after_micro_batch() must follow a backward pass of the monitored model, but no gradient came since "
                "the last call; call it once after each backward()"
            )
        if len(set(self._seen)) < len(self._seen):
            repeated = self._names[next(index for index in self._seen if self._seen.count(index) > 1)]
            self.forget()
            raise RuntimeError(
                f"after_micro_batch() must be called after every backward pass, but {repeated} received two gradients "
                "since the last call; call it after each, or add the losses and call backward() once"
            )
        squares = [buffer.dot(buffer) for buffer in self._buffers]
        self.forget()
        return squares[0] if len(squares) == 1 else torch.stack([s.to(squares[0].device) for s in squares]).sum()

    def _allocate(self) -> None:
        by_device: dict[torch.device, list[int]] = {}
        for index, parameter in enumerate(self._parameters.values()):
            by_device.setdefault(parameter.device, []).append(index)
        slots: dict[int, torch.Tensor] = {}
        for device, indices in by_device.items():
            self._buffers.append(torch.zeros(len(indices), dtype=self._dtype, device=device))
            slots.update(zip(indices, self._buffers[-1].unbind(), strict=True))
        self._slots = [slots[index] for index in range(len(slots))]

    def _see(self, index: int, gradient: torch.Tensor) -> None:
        if not self._seen and self._at_end is not None:
            # As DistributedDataParallel does it, whose own callback comes after this one.
            Variable._execution_engine.queue_callback(self._at_end)
        self._seen.append(index)
        if gradient.requires_grad:  # backward(create_graph=True)
            gradient = gradient.detach()
        torch.linalg.vector_norm(gradient, dtype=self._dtype, out=self._slots[index])


class Total(Protocol):
    """The squared norm of the whole step's gradient, averaged over workers, before clipping."""

    process_group: Any
    """The workers whose gradients are averaged; ``None`` for one."""

    def at_boundary(self) -> bool:
        """Return whether the step that is about to be taken changes the weights."""

    def mark(self) -> None:
        """Remember the gradients as they are after a backward pass."""

    def before_step(self) -> None:
        """Read, or prepare to read within the step."""

    def after_step(self) -> torch.Tensor | None:
        """Return the squared norm, or ``None`` where the step was not applied."""

    def loss_scale(self) -> tuple[float, float]:
        """Return by what the local norms and the total's norm are still to be divided."""


class GradientTotal:
    """The gradients in ``.grad``: plain loops, DDP, and loops that average over workers themselves."""

    def __init__(self, parameters: Iterable[nn.Parameter], *, process_group: Any, averaged_in_backward: bool) -> None:
        """Keep the parameters; gradients may change after the last backward pass unless averaged there."""
        # What changes a gradient after the backward pass changes them all: a few parameters tell.
        self.process_group = process_group
        self._parameters = list(parameters)
        self._watch = averaged_in_backward
        self._witnesses = self._parameters[:: -(-len(self._parameters) // 4)]
        self._versions: list[int | None] | None = None
        self._measured: torch.Tensor | None = None

    def at_boundary(self) -> bool:
        """Return true."""
        return True

    def mark(self) -> None:
        """Remember how often the gradients were written."""
        if self._watch:
            self._versions = self._written()

    def measure(self) -> None:
        """Take the gradients as they are now for the step's: they may change before the step is announced."""
        self._measured = self._square_norm()

    def before_step(self) -> None:
        """Read all ``.grad``, unless they have been measured."""
        if self._measured is not None:
            return
        if self._versions is not None and self._written() != self._versions:
            raise RuntimeError(
                "monitor.step() must begin right after the last after_micro_batch(), but the gradients were changed "
                "between the two; move clipping, unscaling and the like into its block"
            )
        self._measured = self._square_norm()

    def after_step(self) -> torch.Tensor | None:
        """Return the squared norm."""
        measured, self._measured, self._versions = self._measured, None, None
        return measured

    def loss_scale(self) -> tuple[float, float]:
        """Return ones: the loop says its loss scale itself."""
        return 1.0, 1.0

    def _square_norm(self) -> torch.Tensor:
        return square_norm(gradients_of(self._parameters))

    def _written(self) -> list[int | None]:
        return [None if p.grad is None else p.grad._version for p in self._witnesses]


def gradients_of(parameters: Iterable[nn.Parameter]) -> list[torch.Tensor]:
    """Return the gradients that there are."""
    return [gradient for parameter in parameters if (gradient := parameter.grad) is not None]


def square_norm(gradients: list[torch.Tensor]) -> torch.Tensor:
    """Return the sum of squares over all of ``gradients``, a scalar of float32 at least."""
    if not gradients:
        raise RuntimeError("monitor.step() must come before the gradients are cleared, but no parameter has one")
    wide = any(gradient.dtype is torch.float64 for gradient in gradients)
    by_device: dict[torch.device, list[torch.Tensor]] = {}
    for gradient in gradients:
        by_device.setdefault(gradient.device, []).append(gradient)
    dtype = torch.float64 if wide else torch.float32
    norms = [torch.stack(torch._foreach_norm(group, 2, dtype=dtype)) for group in by_device.values()]
    device = norms[0].device
    return torch.stack([part.dot(part).to(device) for part in norms]).sum()


def trained_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that receive gradients, by name.

    Raises:
        SettingsError: There is none, or their gradients can't be measured.
    """
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not parameters:
        raise SettingsError("a monitored model needs a parameter with requires_grad, but got none")
    sharded = any(type(module).__name__ == "FullyShardedDataParallel" for module in model.modules())
    if sharded or any(type(p.data).__name__ == "DTensor" for p in parameters.values()):
        raise SettingsError(
            "gradients can be measured under DDP and DeepSpeed ZeRO, but got a model that FSDP or DTensor shards; "
            "measure with one of those, or on one worker with two micro-batches a step"
        )
    for module in model.modules():
        if isinstance(module, (nn.Embedding, nn.EmbeddingBag)) and module.sparse:
            raise SettingsError("gradients must be dense, but got an embedding with sparse=True; set it to False")
    return parameters


def deepspeed_engine(model: object) -> bool:
    """Return whether ``model`` is a DeepSpeed engine, without importing DeepSpeed."""
    deepspeed = sys.modules.get("deepspeed")
    return deepspeed is not None and isinstance(model, deepspeed.DeepSpeedEngine)
