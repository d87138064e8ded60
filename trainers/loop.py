"""The training loop: a generator of events. Reporting, pruning and storing stay outside."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator

import torch

from .checkpoints import Checkpoints
from .engine import DeepSpeedEngine, Engine, hardware_name
from .errors import SettingsError
from .evaluating import broken_value, evaluate
from .events import Event, Finished, Kept, Measured, Probed, Progress, Resumed
from .keeper import Keeper
from .memory import none_if_out_of_memory
from .probes.probe import Probe
from .run_state import Run
from .seeding import mix
from .settings import TrainSettings
from .workload import Batch, Target, Workload

__all__ = ["Event", "Finished", "Kept", "Measured", "Probed", "Progress", "Resumed", "train"]

# How often the loss is read back. Reading it at every step would stall a GPU's queue.
_CHECK_STEPS = 8
_PROGRESS_SECONDS = 1.0


def train(
    workload: Workload,
    settings: TrainSettings,
    *,
    build_engine: Callable[[Workload, TrainSettings], Engine] = DeepSpeedEngine,
    keeper: Keeper | None = None,
    micro_batch_at_most: int | None = None,
) -> Iterator[Event]:
    """Train ``workload`` and yield what happens.

    Divergence and a missed target are statuses. Exceptions are bugs, or settings that can't be obeyed.

    With a keeper the run goes on from its last checkpoint, if there is one, as if it had never stopped: same losses, to
    the last bit on the same kind of processor. Several workers make the same call, each with a keeper of its own.

    Args:
        workload: the problem.
        settings: how it is trained.
        build_engine: what takes the optimiser steps.
        keeper: where checkpoints are written and looked for.
        micro_batch_at_most: what is known to fit into memory; the batch stays.

    Raises:
        SettingsError: the target's metric is not one that the workload reports, probes can't be had for it, or
            something does not fit into memory.
        DoesNotFit: a SettingsError after which the same call with the error's ``micro_batch_at_most`` may do.
    """
    started = time.perf_counter()
    target = settings.target or workload.target
    if target.metric not in workload.metrics:
        raise SettingsError(
            f"target.metric must be one that {workload.name} reports ({', '.join(workload.metrics)}), "
            f"but got {target.metric!r}"
        )
    probe = Probe(workload, settings) if settings.probes else None
    engine = none_if_out_of_memory(lambda: build_engine(workload, settings))
    if engine is None:
        raise SettingsError(
            f"the model of {workload.name} and its optimiser do not fit into the memory of a worker; use a smaller "
            "model, bfloat16, or zero_stage 1 to 3 with more workers"
        )
    if micro_batch_at_most is not None:
        _limit(engine, workload, micro_batch_at_most)
    batches = workload.train_batches(batch_size=settings.batch_size, seed=settings.seed)
    # Dropout and the like draw from torch's global state, in workers that run one trial at a time.
    torch.manual_seed(mix(settings.seed, 1))
    run = Run(target, loss_limit=workload.loss_limit)
    checkpoints = Checkpoints(keeper, run, engine=engine, workload=workload, settings=settings) if keeper else None
    resumed = checkpoints.take_up(batches) if checkpoints else None
    run.clock.setup_seconds += time.perf_counter() - started
    if resumed:
        yield resumed
        yield from list(run.told)
    yield from _Training(workload, settings, target, engine, batches, run, probe, checkpoints).events()


@dataclasses.dataclass(frozen=True)
class _Training:
    """A run that has been set up."""

    workload: Workload
    settings: TrainSettings
    target: Target
    engine: Engine
    batches: Iterator[Batch]
    run: Run
    probe: Probe | None
    checkpoints: Checkpoints | None

    def events(self) -> Iterator[Event]:
        """Yield what happens, from where the run stands to its end."""
        run, status, message = self.run, "exhausted", ""
        last_step = self.settings.last_step
        for stop in self.settings.evaluation.ladder(last_step):
            if stop <= run.evaluated_step:
                continue
            yield from self._steps_until(stop)
            measured = self._evaluated()
            values = measured.values
            yield self._told(measured)
            broken = broken_value(values, self.target.metric)
            if run.losses.diverged or broken:
                status = "diverged"
                message = run.losses.message or f"{broken} is {values[broken]} after {run.step} steps"
                run.value = math.nan
                break
            if run.step == 0 and self.target.met_by(run.value):
                status = "failed"
                message = f"the target {self.target.value:g} is met before training ({run.value:.4g}); set a harder one"
                break
            run.crossing.see(run.step, run.value)
            if run.crossing.steps is not None and self.settings.budget.stop_at_target:
                break
            if self.checkpoints and 0 < run.step < last_step and self.checkpoints.due():
                yield self.checkpoints.save()
        if status == "exhausted" and run.crossing.steps is not None:
            status = "reached"
        if self.probe and run.step in self.settings.probe_steps() and status in ("exhausted", "reached"):
            yield self._told(self._probed(self.probe))
        yield self._finished(status, message)

    def _steps_until(self, stop: int) -> Iterator[Event]:
        """Take steps up to number ``stop``, with the probes on the way; or fewer, where the losses diverge."""
        run, losses, probe_steps = self.run, self.run.losses, self.settings.probe_steps()
        while run.step < stop and not losses.diverged:
            if self.probe and run.step in probe_steps:
                yield self._told(self._probed(self.probe))
            keep = False
            with run.clock.training():
                pause = time.perf_counter() + _PROGRESS_SECONDS
                while run.step < stop:
                    self._take_step()
                    if run.step % _CHECK_STEPS == 0 or run.step == stop:
                        losses.read()
                        if losses.diverged:
                            break
                        keep = self.checkpoints is not None and run.step < stop and self.checkpoints.due()
                        if keep or time.perf_counter() > pause:
                            break
                    if run.step in probe_steps:  # losses stay unread, so that they are summed as without probes
                        break
            if keep and self.checkpoints:
                yield self.checkpoints.save()
            if run.step < stop and not losses.diverged:
                yield Progress(step=run.step, examples=self._examples, train_seconds=run.clock.train_seconds)

    def _take_step(self) -> None:
        settings, run = self.settings, self.run
        factor = settings.schedule.factor(run.step, total_steps=settings.total_steps, batch_size=settings.batch_size)
        run.losses.add(self.engine.step(next(self.batches), rate_factor=factor))
        run.step += 1
        self.workload.after_step(self.engine.model, step=run.step)

    def _evaluated(self) -> Measured:
        run = self.run
        values = run.losses.take()
        if not run.losses.diverged:
            with run.clock.evaluating():
                metrics = none_if_out_of_memory(lambda: evaluate(self.workload, self.engine))
            if metrics is None:
                raise SettingsError(
                    f"the evaluation of {self.workload.name} does not fit into the memory of a worker; let it see "
                    "fewer examples at once, or use a smaller model"
                )
            run.value = metrics[self.target.metric]
            values |= metrics
        run.evaluated_step = run.step
        return Measured(step=run.step, examples=self._examples, train_seconds=run.clock.train_seconds, values=values)

    def _probed(self, probe: Probe) -> Probed:
        clock, step = self.run.clock, self.run.step
        before = clock.probe_seconds
        with clock.probing():
            measured = probe.measure(self.engine, step=step)
        return Probed(
            step=step,
            examples=self._examples,
            train_seconds=clock.train_seconds,
            rows=measured.rows,
            seconds=clock.probe_seconds - before,
            equivalent_steps=measured.cost.equivalent_steps(self.settings.batch_size),
            gradient_examples=measured.cost.gradient_examples,
            product_examples=measured.cost.product_examples,
            loss_examples=measured.cost.loss_examples,
        )

    def _told(self, event: Measured | Probed) -> Measured | Probed:
        if self.checkpoints:
            self.run.told.append(event)
        return event

    @property
    def _examples(self) -> int:
        return self.run.step * self.settings.batch_size

    def _finished(self, status: str, message: str) -> Finished:
        run, plan, clock = self.run, self.engine.plan, self.run.clock
        return Finished(
            status=status,
            message=message,
            steps=run.step,
            examples=self._examples,
            steps_to_target=run.crossing.steps if status == "reached" else None,
            value=run.value,
            train_seconds=clock.train_seconds,
            evaluate_seconds=clock.evaluate_seconds,
            setup_seconds=clock.setup_seconds,
            probe_seconds=clock.probe_seconds,
            world_size=plan.world_size,
            micro_batch_size=plan.micro_batch_size,
            accumulation_steps=plan.accumulation_steps,
            device_batch_size=plan.micro_batch_size,
            dtype=self.settings.engine.dtype,
            zero_stage=self.settings.engine.zero_stage,
            hardware=hardware_name(),
            halvings=plan.halvings,
            micro_batch_at_most=plan.micro_batch_at_most,
            resumes=run.resumes,
        )


def _limit(engine: Engine, workload: Workload, micro_batch_at_most: int) -> None:
    if micro_batch_at_most < engine.plan.micro_batch_size and not workload.examples_are_independent:
        raise SettingsError(
            f"{workload.name} couples the examples of a micro-batch, so that one of {engine.plan.micro_batch_size} "
            f"can't be made smaller, but only {micro_batch_at_most} are known to fit; set engine.micro_batch_size"
        )
    engine.plan = engine.plan.limited(micro_batch_at_most)
