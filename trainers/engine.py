"""One optimiser step of exactly B examples, whatever the hardware: DeepSpeed behind a small door.

The engine receives the final learning rate at every step and never rescales it. It owns the split of a
batch into micro-batches: DeepSpeed runs with ``managed_gradient_accumulation`` off, so the split may change
between steps (out of memory) while B stays.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import nn
from torch.optim import Optimizer

from .batching import BatchPlan, map_tensors, micro_batches
from .deepspeed_state import DeepSpeedState, EngineState
from .errors import SettingsError
from .memory import DoesNotFit, none_if_out_of_memory
from .optimizers import build_optimizer
from .pristine import pristine
from .process import deepspeed_library as _deepspeed
from .process import forget_past_runs
from .process import hardware_name as hardware_name
from .process import join_workers as _join_workers
from .process import prepare_process as prepare_process
from .settings import TrainSettings
from .whole import fill_model, fill_state
from .workload import Batch, LossModule, Workload

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Engine(Protocol):
    """What the training loop needs: a DeepSpeed engine, or the bare loop it is compared with."""

    plan: BatchPlan

    @property
    def model(self) -> nn.Module:
        """The workload's model."""

    def whole_model(self) -> nn.Module:
        """Return a model with the weights of this moment, whole on each worker, for probes to copy.

        It may be the run's own. This and ``whole_optimizer`` are asked for only where the settings have probes, and by
        all workers together.
        """

    def whole_optimizer(self, model: nn.Module) -> Optimizer:
        """Return an optimiser with the state of this moment, whole on each worker, for probes to copy.

        Its parameters are those of ``model``, which came from ``whole_model``. It may be the run's own.
        """

    def read_state(self) -> EngineState:
        """Return all that the next steps depend on, live. This and the two below are for runs with checkpoints only."""

    def check_state(self, state: EngineState) -> None:
        """Check that ``state`` is one of an engine like this one.

        Raises:
            CheckpointError: It is not.
        """

    def write_state(self, state: EngineState) -> None:
        """Put a state that was checked into this engine, which has not taken a step; all workers together."""

    def step(self, batch: Batch, *, rate_factor: float) -> torch.Tensor:
        """Take one optimiser step on the global ``batch`` at ``rate_factor`` times the peak rate.

        Returns:
            The batch's mean loss before the step, a detached float32 scalar on the engine's device,
            equal on all workers.

        Raises:
            DoesNotFit: Memory is short, and the run has to be started again with a smaller micro-batch.
            SettingsError: Memory is short, and no smaller micro-batch can help.
        """


class DeepSpeedEngine:
    """DeepSpeed with any of our optimisers, ZeRO stage and arithmetic; CPU (gloo) or CUDA (NCCL)."""

    def __init__(self, workload: Workload, settings: TrainSettings) -> None:
        """Build model, optimiser and DeepSpeed engine for one run.

        Raises:
            SettingsError: the batch can't be split over the workers that are present.
        """
        deepspeed = _deepspeed()
        forget_past_runs()
        self.rank, self.world_size = _join_workers(deepspeed)
        if self.world_size != settings.engine.workers:
            raise SettingsError(
                f"engine.workers must be the number of processes that train together, but got "
                f"{settings.engine.workers} with {self.world_size} running"
            )
        self.plan = settings.plan(world_size=self.world_size)
        settings.check_for(workload)
        self._divisible = workload.examples_are_independent
        self.device = torch.device(deepspeed.accelerator.get_accelerator().current_device_name())
        self.dtype = _DTYPES[settings.engine.dtype]
        self._workload, self._settings = workload, settings
        module = self._build_module()
        optimizer = self._build_optimizer(module)
        with pristine(optimizer):
            self._engine, self._optimizer, _, _ = deepspeed.initialize(
                model=module, optimizer=optimizer, config=_configuration(settings, self.plan), dist_init_required=False
            )
        self._peak_rates = [group["lr"] for group in self._optimizer.param_groups]
        if settings.engine.zero_stage == 0 and self.dtype is torch.float32:
            # DeepSpeed walks the whole module tree for this at every step, a twentieth of a small model's step.
            self._engine.zero_grad = optimizer.zero_grad
            # With one worker there is nothing to reduce; DeepSpeed would still copy every gradient twice.
            self._engine.enable_backward_allreduce = self.world_size > 1

    @property
    def model(self) -> nn.Module:
        """The workload's model, to evaluate and probe."""
        return self._engine.module.model

    @property
    def optimizer(self) -> Optimizer:
        """The optimiser itself in float32 without ZeRO; elsewhere DeepSpeed's wrapper of it."""
        return self._optimizer

    def whole_model(self) -> nn.Module:
        """Return the workload's model; with ZeRO stage 3, which shards it, a new one with its weights.

        Raises:
            SettingsError: The model has got tensors since it was built.
        """
        if self._settings.engine.zero_stage < 3:
            return self.model
        return fill_model(self._build_module().model, self.model)

    def whole_optimizer(self, model: nn.Module) -> Optimizer:
        """Return the optimiser itself without ZeRO; with it, which shards its state, a new one with that state."""
        if self._settings.engine.zero_stage == 0:
            return self._optimizer
        fresh = self._build_optimizer(LossModule(self._workload, model))
        return fill_state(fresh, model, run=self._optimizer, sharded=self.model)

    def _build_module(self) -> LossModule:
        return LossModule(self._workload, self._workload.build_model(seed=self._settings.seed)).to(self.device)

    def _build_optimizer(self, module: LossModule) -> Optimizer:
        settings = self._settings
        return build_optimizer(
            settings.optimizer,
            settings.optimizer_settings,
            module,
            learning_rate=settings.learning_rate,
            batch_size=settings.batch_size,
            rate_factors=module.rate_factors(settings.learning_rate),
        )

    @property
    def _state(self) -> DeepSpeedState:
        return DeepSpeedState(self._engine.module, self._optimizer, zero_stage=self._settings.engine.zero_stage)

    def read_state(self) -> EngineState:
        """Return weights, buffers, masters and the optimiser's state, live."""
        return self._state.read()

    def check_state(self, state: EngineState) -> None:
        """Check that ``state`` has the tensors of this engine."""
        self._state.check(state)

    def write_state(self, state: EngineState) -> None:
        """Put ``state`` in the place of this engine's."""
        self._state.write(state)

    def step(self, batch: Batch, *, rate_factor: float) -> torch.Tensor:
        """Take one optimiser step; out of memory, halve the micro-batch and repeat it where that is safe."""
        for group, peak in zip(self._optimizer.param_groups, self._peak_rates, strict=True):
            group["lr"] = peak * rate_factor
        # What filled the memory is freed with the error that said so, so the error is not held on to.
        while (loss := none_if_out_of_memory(lambda: self._accumulate(batch))) is None:
            self._shrink()
        if none_if_out_of_memory(self._take_step) is None:
            raise self._misfit()
        return loss

    def _take_step(self) -> bool:
        self._engine.step()
        return True

    def _accumulate(self, batch: Batch) -> torch.Tensor:
        pieces = self.plan.accumulation_steps
        losses = []
        for piece in micro_batches(batch, self.plan, rank=self.rank):
            loss = self._engine(self._placed(piece))
            self._engine.backward(loss if pieces == 1 else loss / pieces, scale_wrt_gas=False)
            losses.append(loss.detach().float())
        total = losses[0] if pieces == 1 else torch.stack(losses).mean()
        if self.world_size > 1:
            torch.distributed.all_reduce(total)
            total /= self.world_size
        return total

    def _placed(self, batch: Batch) -> Batch:
        if self.device.type == "cpu" and self.dtype is torch.float32:
            return batch
        return map_tensors(
            lambda t: t.to(self.device, self.dtype if t.is_floating_point() else None, non_blocking=True), batch
        )

    def _shrink(self) -> None:
        """Halve the micro-batch where no other worker waits for this one, and DeepSpeed holds nothing half reduced."""
        if not self._divisible or self.world_size > 1 or self._settings.engine.zero_stage > 0:
            raise self._misfit()
        # The failed attempt's gradients and activations must be gone before the next one.
        self._engine.zero_grad()
        torch.cuda.empty_cache()
        self.plan = self.plan.halved()

    def _misfit(self) -> SettingsError:
        """Return the error that says what does not fit, and what can be done."""
        lacking = f"a micro-batch of {self.plan.micro_batch_size} examples does not fit into the memory of "
        if not self._divisible:
            return SettingsError(
                f"{lacking}the device, and this workload's loss couples the examples of a micro-batch; set "
                "engine.micro_batch_size (it becomes part of the problem), use bfloat16 or more workers"
            )
        try:
            smaller = self.plan.halved()
        except SettingsError as error:
            return error
        return DoesNotFit(
            f"{lacking}worker {self.rank}; set engine.micro_batch_size to {smaller.micro_batch_size}",
            micro_batch_at_most=self.plan.micro_batch_size // 2,
        )


def _configuration(settings: TrainSettings, plan: BatchPlan) -> dict[str, Any]:
    return {
        "train_batch_size": plan.batch_size,
        "train_micro_batch_size_per_gpu": plan.device_share,
        "gradient_accumulation_steps": 1,
        "managed_gradient_accumulation": False,
        "zero_allow_untested_optimizer": True,
        # Said even when off: DeepSpeed's own default is to clip at 1.
        "gradient_clipping": settings.engine.gradient_clipping,
        "zero_optimization": {"stage": settings.engine.zero_stage},
        "bf16": {"enabled": settings.engine.dtype == "bfloat16"},
        "steps_per_print": None,
    }
