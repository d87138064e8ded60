"""The noise monitor for ``transformers.Trainer``: B_simple beside the loss in the trainer's logs."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback

from .errors import SettingsError
from .noise_estimate import NoiseEstimate
from .noise_monitor import LossMeanOver, NoiseMonitor


class NoiseCallback(TrainerCallback):
    """Logs ``b_simple`` (examples), its interval, ``grad_sq`` and ``grad_var`` while a Trainer trains.

    ::

        noise = NoiseCallback()
        settings = TrainingArguments(gradient_accumulation_steps=4)
        trainer = Trainer(model, settings, train_dataset=data, callbacks=[noise])
        trainer.train()
        print(noise.estimate())

    The values are added where the Trainer logs, and to ``trainer.state.log_history``. Reporters that stand before the
    callback don't see them: ``trainer.callback_handler.callbacks.insert(0, noise)`` puts it first. A step needs two
    micro-batches or workers. What the loss is a mean over is known from what the Trainer gives the model: where it
    passes ``num_items_in_batch``, the mean over all items of the step. A ``compute_loss_func`` that takes the number
    past the model is not seen: it needs micro-batches with as many items each. Some models (BERT's) take
    ``num_items_in_batch`` and ignore it: the Trainer then adds up the micro-batches' means, |g|² and tr Σ are those of
    the sum, and B_simple is off by the square of the items' relative variation, unless ``loss_mean_over`` is
    ``micro_batch``.
    """

    def __init__(
        self,
        *,
        every: int = 16,
        half_life_steps: float | None = 100.0,
        loss_mean_over: LossMeanOver | None = None,
    ) -> None:
        """Prepare.

        Args:
            every: Measure one optimiser step in so many, as ``NoiseMonitor`` takes it.
            half_life_steps: Measured steps after which a step weighs half in what is logged; ``None``: all alike.
            loss_mean_over: As ``NoiseMonitor`` takes it; ``None`` finds out.
        """
        self._every, self._half_life, self._mode = every, half_life_steps, loss_mean_over
        self._monitor: NoiseMonitor | None = None
        self._handle: Any = None
        self._group: Any = None
        self._shared_items = True
        self._examples = 0
        self._terms: torch.Tensor | None = None

    def estimate(self, *, half_life_steps: float | None = None, level: float = 0.95) -> NoiseEstimate:
        """Return the estimate over the steps measured so far, in the last or current training."""
        if self._monitor is None:
            raise RuntimeError("estimate() must come after training has begun, but no step has been taken")
        return self._monitor.estimate(half_life_steps=half_life_steps, level=level)

    def on_train_begin(self, args: Any, *_: Any, **kwargs: Any) -> None:
        """Check that the training can be measured, and listen.

        Raises:
            SettingsError: It can't; says what is in the way.
        """
        _refuse_what_is_not_measured(args)
        self._stop()
        self._monitor = None
        self._group = torch.distributed.group.WORLD if args.world_size > 1 else None
        self._shared_items = args.world_size == 1 or args.average_tokens_across_devices
        self._handle = kwargs["model"].register_forward_pre_hook(self._count, with_kwargs=True)

    def on_substep_end(self, *_: Any, **__: Any) -> None:
        """Note a micro-batch."""
        self._after_micro_batch()

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        """Note the step's last micro-batch, and the step; its gradient was measured before the Trainer clipped it."""
        self._after_micro_batch()
        assert self._monitor is not None
        with self._monitor.step():
            pass

    def on_log(self, args: Any, state: Any, *_: Any, **known: Any) -> None:  # noqa: ARG002
        """Add the estimate to training logs; what is not resolved is left out, and the intervals say so."""
        logs = known.get("logs")
        if logs is None or "loss" not in logs or self._monitor is None:
            return
        got = self._monitor.estimate(half_life_steps=self._half_life)
        low, high = got.b_simple_interval
        values = {
            "b_simple": got.b_simple,
            "b_simple_low": low,
            "b_simple_high": high,
            "grad_sq": got.grad_sq,
            "grad_var": got.grad_var,
        }
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        logs.update(finite)
        if state.log_history:
            state.log_history[-1].update(finite)

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Read the last steps and leave the model alone."""
        self._stop()

    def _stop(self) -> None:
        if self._handle is not None:
            self._handle.remove()
            self._handle = None
        if self._monitor is not None:
            self._monitor.close()

    def _count(self, model: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        if not model.training or not torch.is_grad_enabled():
            return
        items = named.get("num_items_in_batch")
        labels = named.get("labels")
        if self._monitor is None:
            self._begin(model, counted=items is not None)
        tensors = [value for value in (*named.values(), *inputs) if isinstance(value, torch.Tensor) and value.dim() > 0]
        if not tensors:
            raise RuntimeError("the model must get a tensor whose first dimension counts examples, but got none")
        self._examples = len(tensors[0])
        self._terms = None
        if items is not None:
            if labels is None:
                raise RuntimeError(
                    "the loss is a mean over labelled items, so the model must get labels to be measured, but the "
                    "Trainer keeps them (label smoothing, compute_loss_func); turn that off"
                )
            shifted = labels[..., 1:] if _predicts_the_next(model) else labels
            self._terms = shifted.ne(-100).sum()

    def _begin(self, model: nn.Module, *, counted: bool) -> None:
        from accelerate.state import GradientState

        mode = self._mode
        if mode is None:
            mode = ("step" if self._shared_items else "worker") if counted else "micro_batch"
        state = GradientState()
        self._monitor = NoiseMonitor(
            model,
            loss_mean_over=mode,
            process_group=self._group,
            every=self._every,
            total_after_backward=lambda: bool(state.sync_gradients),
        )

    def _after_micro_batch(self) -> None:
        if self._monitor is None:
            raise RuntimeError(
                "the Trainer must call the model that it was given, but training went on without; "
                "a compiled or replaced model can't be measured"
            )
        self._monitor.after_micro_batch(self._examples, terms=self._terms)


def _predicts_the_next(model: nn.Module) -> bool:
    """Return whether the loss of ``model`` leaves out the first label, as the Trainer counts them."""
    from transformers.loss.loss_utils import LOSS_MAPPING, ForCausalLMLoss
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    shifts = LOSS_MAPPING.get(str(getattr(model, "loss_type", None))) is ForCausalLMLoss
    shifts = shifts or type(model).__name__ in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()
    return shifts and not getattr(getattr(model, "config", None), "is_encoder_decoder", False)


def _refuse_what_is_not_measured(args: Any) -> None:
    found = {
        "DeepSpeed (give the engine to NoiseMonitor in a loop of your own)": args.deepspeed,
        "FSDP": args.fsdp,
        "fp16 (use bf16)": args.fp16,
        "a parallelism_config": getattr(args, "parallelism_config", None),
        "several devices in one process (start one process a device)": args.n_gpu > 1,
    }
    wrong = [name for name, present in found.items() if present]
    if wrong:
        raise SettingsError(f"a Trainer can be measured on one device or under DDP, but got {'; '.join(wrong)}")
    if args.gradient_accumulation_steps * args.world_size < 2:
        raise SettingsError(
            "a step must have at least two micro-batches or workers to be compared, but got "
            "gradient_accumulation_steps 1 with one worker; use gradient_accumulation_steps=2 and half the "
            "per_device_train_batch_size"
        )
