"""The squared norm of a step's gradient under DeepSpeed, whatever the ZeRO stage.

| stage | where the averaged gradient is | what is read |
|---|---|---|
| 0, float32 | ``.grad`` | ``.grad`` before the step, or at the optimiser's door if averaged within ``step()`` |
| 0, bfloat16 | a copy of the optimiser's | the engine's norm after the step |
| 1, 2, 3 | a shard on each worker | the engine's norm after the step: shards' squares summed over workers |

The engine's norm (``get_global_grad_norm()``) is taken before clipping and divided by the loss scale, except
at stage 0 with float16, where it depends on the optimiser what is scaled: that is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from .errors import SettingsError
from .noise_gradients import gradients_of, square_norm


class DeepSpeedTotal:
    """The total of a DeepSpeed engine."""

    def __init__(self, engine: Any, parameters: Iterable[nn.Parameter]) -> None:
        """Choose where to read.

        Raises:
            SettingsError: The engine does something whose gradient norm is not that of the averaged gradient.
        """
        self._engine = engine
        self._parameters = list(parameters)
        workers = torch.distributed.get_world_size(engine.data_parallel_group)
        self.process_group = engine.data_parallel_group if workers > 1 else None
        _refuse_what_is_not_measured(engine, self._parameters)
        self._norm_by_engine = hasattr(engine.optimizer, "_global_grad_norm")
        self._at_the_door = not self._norm_by_engine and workers > 1 and not engine.managed_gradient_accumulation()
        if self._at_the_door and engine.gradient_clipping() > 0:
            raise SettingsError(
                "with ZeRO stage 0 on several workers and managed_gradient_accumulation off, gradient_clipping must be "
                f"0 to be measured, because the engine averages and clips within step(), but got "
                f"{engine.gradient_clipping()}; use ZeRO stage 1, or managed_gradient_accumulation"
            )
        self._seen: torch.Tensor | None = None
        self._handle: Any = None
        self._scale = 1.0

    def at_boundary(self) -> bool:
        """Return whether the engine's next ``step()`` is the last of an accumulation."""
        return not self._engine.managed_gradient_accumulation() or self._engine.is_gradient_accumulation_boundary()

    def mark(self) -> None:
        """Do nothing: the engine owns its gradients."""

    def before_step(self) -> None:
        """Read the squared norm of ``.grad`` where it is final; note the loss scale, which a step may change."""
        self._scale = float(self._engine.optimizer.loss_scale) if self._engine.fp16_enabled() else 1.0
        self._seen = None
        if self._at_the_door:
            self._handle = self._engine.optimizer.register_step_pre_hook(self._see)
        elif not self._norm_by_engine:
            self._see()

    def after_step(self) -> torch.Tensor | None:
        """Return the squared norm; ``None`` where the engine skipped the step."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None
        if not self._engine.was_step_applied():
            return None
        if not self._norm_by_engine:
            return self._seen
        norm = torch.as_tensor(self._engine.get_global_grad_norm(), dtype=torch.float64)
        return norm.square()

    def loss_scale(self) -> tuple[float, float]:
        """Return the loss scale for local norms, and for the total unless the engine took it out."""
        return self._scale, 1.0 if self._norm_by_engine else self._scale

    def _see(self, *_: Any) -> None:
        self._seen = square_norm(gradients_of(self._parameters))


def _refuse_what_is_not_measured(engine: Any, parameters: list[nn.Parameter]) -> None:
    found = {
        "pipeline parallelism": engine.pipeline_parallelism,
        "model or sequence parallelism": engine.mpu is not None,
        "mixture-of-experts layers": engine.has_moe_layers,
        "torch_autocast with a gradient scaler": engine.torch_autocast_z0_gradscaler is not None,
        "DeepSpeed's own Muon under ZeRO, whose norm is that of its update": engine.zero_optimization_stage() > 0
        and any(getattr(parameter, "use_muon", False) for parameter in parameters),
        "zero_optimization.compute_grad_norm = false": not engine.zero_compute_grad_norm(),
        "float16 with ZeRO stage 0 (use bfloat16 or a higher stage)": engine.fp16_enabled()
        and engine.zero_optimization_stage() == 0,
        "no optimizer": engine.optimizer is None,
    }
    wrong = [name for name, present in found.items() if present]
    if wrong:
        raise SettingsError(
            f"a DeepSpeed engine can be measured where its gradient is averaged over data-parallel workers, but got "
            f"{'; '.join(wrong)}; turn that off to measure"
        )
