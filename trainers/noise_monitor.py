"""The noise scale of any training loop, from what the loop has anyway.

A step's gradient G is a weighted mean Σ wᵢ mᵢ of the mean gradients mᵢ of micro-batches, those of all workers.
With Σ wᵢ = 1, nᵢ examples in each and independent examples,

    E|G|²         =      |g|² + a tr Σ        p = Σ wᵢ²,  a = Σ wᵢ²/nᵢ
    E Σ|wᵢ mᵢ|²   =   p |g|² + a tr Σ

so (|G|² − Σ|wᵢ mᵢ|²)/(1 − p) and (Σ|wᵢ mᵢ|² − p|G|²)/(a (1 − p)) are unbiased for |g|² and tr Σ: for equal
micro-batches the two-batch estimator of McCandlish et al. 2018, appendix A.1. Both are averaged over steps; the ratio
comes last.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from .errors import SettingsError
from .noise_estimate import NoiseEstimate, StepSums
from .noise_gradients import GradientTotal, LocalNorms, Total, deepspeed_engine, trained_parameters
from .noise_steps import PendingSteps, StepShares

LossMeanOver = Literal["micro_batch", "worker", "step"]


class NoiseMonitor:
    """Estimates |g|², tr Σ and B_simple while somebody else's loop trains.

    A plain loop with gradient accumulation; all that changes a gradient, clipping included, belongs into the block::

        monitor = NoiseMonitor(model)
        for micro_batches in batches:
            for inputs, answers in micro_batches:
                (loss_function(model(inputs), answers) / len(micro_batches)).backward()
                monitor.after_micro_batch(examples=len(inputs))
            with monitor.step():
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
            optimizer.zero_grad()
        print(monitor.estimate().b_simple)

    Data parallel workers: give the ``DistributedDataParallel`` model, or the plain one and the ``process_group`` whose
    gradients the loop averages; one micro-batch a worker is enough. DeepSpeed: give the engine::

        loss = engine(batch)
        engine.backward(loss)
        monitor.after_micro_batch(examples=len(batch))
        with monitor.step():
            engine.step()

    A loss scaler: ``with monitor.step(loss_scale=scaler.get_scale()):`` around unscaling, clipping and stepping. A loop
    that gives up a step after a backward pass (out of memory) calls ``discard_step()``.

    On several workers, every worker makes the same calls; ``estimate()`` is local and knows all steps but the last
    few, which ``close()`` adds.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        loss_mean_over: LossMeanOver = "micro_batch",
        process_group: Any = None,
        every: int = 16,
        total_after_backward: Callable[[], bool] | None = None,
    ) -> None:
        """Listen to the gradients of ``model``.

        Args:
            model: What is trained: a module, a ``DistributedDataParallel`` or a DeepSpeed engine.
            loss_mean_over: What the trained loss is a mean over, so that it is known how micro-batches weigh.
                ``micro_batch``: each micro-batch's loss is its own mean, divided by their number. ``worker``: each is a
                sum over terms, divided by the terms of all micro-batches of the worker. ``step``: the same with the
                terms of all workers. Workers are averaged. It matters only where micro-batches differ in size.
            process_group: The data-parallel workers, where ``model`` does not know them.
            every: Measure one step in so many; the others cost nothing. A measured step costs a call a parameter tensor
                and micro-batch and a pass over the gradients: 2 to 8 % of a step of 20 to 190 ms, so that
                the default stays below one. Intervals begin with the eighth measured step, at the default after 113
                steps, and halve with four times as many. 1 is best where a step takes long or a run is short.
            total_after_backward: Tells within a backward pass whether it is the last of the step. For loops that clip
                before they can say so: the step's gradient is then measured at the end of that pass.

        Raises:
            SettingsError: The gradients of ``model`` can't be measured; says which can.
        """
        if every < 1:
            raise SettingsError(f"every must be at least 1, but got {every}")
        if loss_mean_over not in ("micro_batch", "worker", "step"):
            raise SettingsError(f"loss_mean_over must be micro_batch, worker or step, but got {loss_mean_over!r}")
        parameters = trained_parameters(model)
        self._total = _total_of(model, list(parameters.values()), process_group)
        self._is_last = total_after_backward
        self._local = LocalNorms(parameters, at_end=None if total_after_backward is None else self._backward_ended)
        group = self._total.process_group
        self._workers = 1 if group is None else torch.distributed.get_world_size(group)
        self._sums = StepSums()
        self._pending = PendingSteps(group=group, mode=loss_mean_over, workers=self._workers)
        self._shares = StepShares()
        self._every = every
        self._steps = 0
        self._closed = False
        self._local.listen()

    @property
    def measuring(self) -> bool:
        """Whether the current step is measured."""
        return not self._closed and self._steps % self._every == 0

    def after_micro_batch(self, examples: int, *, terms: int | torch.Tensor | None = None) -> None:
        """Note the micro-batch whose backward pass has just ended.

        Args:
            examples: Examples of this worker's micro-batch.
            terms: What the loss is a mean over, such as unmasked tokens; the examples by default. A tensor is read
                later, so that it need not be waited for.

        Raises:
            RuntimeError: There was not exactly one backward pass since the last call.
        """
        if not self.measuring:
            return
        if isinstance(examples, bool) or not isinstance(examples, int) or examples < 1:
            raise ValueError(f"examples must be a positive number of the micro-batch's examples, but got {examples!r}")
        self._shares.add(self._local.take(), examples=examples, terms=examples if terms is None else terms)
        self._total.mark()

    @contextlib.contextmanager
    def step(self, *, loss_scale: float = 1.0) -> Iterator[None]:
        """Measure the step's gradient; the block clips and takes the optimiser step.

        Args:
            loss_scale: What the losses were multiplied with, against underflow; DeepSpeed's own is known.

        Raises:
            RuntimeError: The calls since the last step don't make a step; says which is missing.
        """
        if not self._total.at_boundary():
            yield
            return
        if not self.measuring:
            yield
            self._advance()
            return
        self._check_calls()
        try:
            self._total.before_step()
            yield
            total = self._total.after_step()
        except BaseException:
            self.discard_step()
            raise
        local_scale, total_scale = self._total.loss_scale()
        self._pending.add(
            self._shares, total=total, local_scale=loss_scale * local_scale, total_scale=loss_scale * total_scale
        )
        self._shares = StepShares()
        if self._pending.full:
            self._pending.read_into(self._sums)
        self._advance()

    def discard_step(self) -> None:
        """Forget the micro-batches since the last step: the loop gave them up."""
        self._local.forget()
        self._shares = StepShares()

    def estimate(self, *, half_life_steps: float | None = None, level: float = 0.95) -> NoiseEstimate:
        """Return the estimate over the steps measured so far.

        Args:
            half_life_steps: Measured steps after which a step weighs half, to follow a drift; ``None``: all alike.
            level: Confidence of the intervals.
        """
        if not 0 < level < 1 or (half_life_steps is not None and not half_life_steps > 0):
            raise ValueError(
                f"level must be between 0 and 1 and half_life_steps positive, but got {level} and {half_life_steps}"
            )
        if self._workers == 1:
            self._pending.read_into(self._sums)
        return self._sums.estimate(half_life_steps=half_life_steps, level=level)

    def close(self) -> None:
        """Stop listening and read the last steps; on several workers, all must call it."""
        if self._closed:
            return
        self._closed = True
        self._local.rest()
        self._pending.read_into(self._sums)

    def _check_calls(self) -> None:
        if self._local.waiting:
            raise RuntimeError(
                "after_micro_batch() must be called after every backward pass, but a gradient came after the last call"
            )
        if self._shares.count == 0:
            raise RuntimeError(
                "monitor.step() must follow at least one after_micro_batch(), but there was none since the last step"
            )
        if self._shares.count == 1 and self._workers == 1 and self._steps == 0:
            raise SettingsError(
                "a step must have at least two micro-batches or workers to be compared, but the first step has one; "
                "split the batch into two backward passes"
            )

    def _advance(self) -> None:
        was = self.measuring
        self._steps += 1
        if self.measuring and not was:
            self._local.listen()
        elif was and not self.measuring:
            self._local.rest()

    def _backward_ended(self) -> None:
        assert self._is_last is not None
        if self._is_last():
            # Workers are averaged by a callback that was queued after this one; a new one comes after both.
            torch.autograd.Variable._execution_engine.queue_callback(self._measure_total)

    def _measure_total(self) -> None:
        if isinstance(self._total, GradientTotal):
            self._total.measure()


def _total_of(model: nn.Module, parameters: list[nn.Parameter], process_group: Any) -> Total:
    if deepspeed_engine(model):
        from .noise_deepspeed import DeepSpeedTotal

        return DeepSpeedTotal(model, parameters)
    averaged_in_backward = True
    if isinstance(model, DistributedDataParallel):
        process_group = model.process_group
    elif process_group is not None:
        averaged_in_backward = False
    elif torch.distributed.is_available() and torch.distributed.is_initialized():
        workers = torch.distributed.get_world_size()
        if workers > 1:
            raise SettingsError(
                f"process_group must name the workers that average their gradients where {workers} run together, but "
                "got none; give the DistributedDataParallel model, or process_group=torch.distributed.group.WORLD"
            )
    if process_group is not None and torch.distributed.get_world_size(process_group) == 1:
        process_group = None
    return GradientTotal(parameters, process_group=process_group, averaged_in_backward=averaged_in_backward)
