"""The training loop: a generator of events. Reporting, pruning and storing stay outside."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

import torch

from .engine import DeepSpeedEngine, Engine, hardware_name
from .errors import SettingsError
from .events import Finished, Measured, Probed, Progress
from .probes.probe import Probe
from .run_watch import Clock, Crossing, Losses
from .seeding import mix
from .settings import TrainSettings
from .workload import Workload

# How often the loss is read back. Reading it at every step would stall a GPU's queue.
_CHECK_STEPS = 8
_PROGRESS_SECONDS = 1.0


def train(
    workload: Workload,
    settings: TrainSettings,
    *,
    build_engine: Callable[[Workload, TrainSettings], Engine] = DeepSpeedEngine,
) -> Iterator[Progress | Measured | Probed | Finished]:
    """Train ``workload`` and yield what happens.

    Divergence and a missed target are statuses. Exceptions are bugs, or settings that can't be obeyed.

    Args:
        workload: the problem.
        settings: how it is trained.
        build_engine: what takes the optimiser steps.

    Raises:
        SettingsError: the target's metric is not one that the workload reports, or probes can't be had for it.
    """
    started = time.perf_counter()
    target = settings.target or workload.target
    if target.metric not in workload.metrics:
        raise SettingsError(
            f"target.metric must be one that {workload.name} reports ({', '.join(workload.metrics)}), "
            f"but got {target.metric!r}"
        )
    probe = Probe(workload, settings) if settings.probes else None
    probe_steps = settings.probe_steps()
    engine = build_engine(workload, settings)
    batches = workload.train_batches(batch_size=settings.batch_size, seed=settings.seed)
    # Dropout and the like draw from torch's global state, in workers that run one trial at a time.
    torch.manual_seed(mix(settings.seed, 1))
    clock = Clock(setup=time.perf_counter() - started)
    crossing = Crossing(target)
    losses = Losses(limit=workload.loss_limit)
    status, step, value, message = "exhausted", 0, math.nan, ""

    for stop in settings.evaluation.ladder(settings.last_step):
        while step < stop and not losses.diverged:
            if probe and step in probe_steps:
                yield _measure(probe, engine, settings, clock, step=step)
            with clock.training():
                pause = time.perf_counter() + _PROGRESS_SECONDS
                while step < stop:
                    factor = settings.schedule.factor(
                        step, total_steps=settings.total_steps, batch_size=settings.batch_size
                    )
                    losses.add(engine.step(next(batches), rate_factor=factor))
                    step += 1
                    workload.after_step(engine.model, step=step)
                    if step % _CHECK_STEPS == 0 or step == stop:
                        losses.read()
                        if losses.diverged or time.perf_counter() > pause:
                            break
                    if step in probe_steps:  # losses stay unread, so that they are summed as without probes
                        break
            if step < stop and not losses.diverged:
                yield Progress(step=step, examples=step * settings.batch_size, train_seconds=clock.train_seconds)
        values = losses.take()
        if not losses.diverged:
            with clock.evaluating():
                metrics = _evaluate(workload, engine)
            value = metrics[target.metric]
            values |= metrics
        yield Measured(step=step, examples=step * settings.batch_size, train_seconds=clock.train_seconds, values=values)
        broken = _broken(values, target.metric)
        if losses.diverged or broken:
            status = "diverged"
            message = losses.message or f"{broken} is {values[broken]} after {step} steps"
            value = math.nan
            break
        if step == 0 and target.met_by(value):
            status = "failed"
            message = f"the target {target.value:g} is met before training ({value:.4g}); set a harder one"
            break
        crossing.see(step, value)
        if crossing.steps is not None:
            status = "reached"
            if settings.budget.stop_at_target:
                break

    if probe and step in probe_steps and status in ("exhausted", "reached"):
        yield _measure(probe, engine, settings, clock, step=step)
    yield Finished(
        status=status,
        message=message,
        steps=step,
        examples=step * settings.batch_size,
        steps_to_target=crossing.steps if status == "reached" else None,
        value=value,
        train_seconds=clock.train_seconds,
        evaluate_seconds=clock.evaluate_seconds,
        setup_seconds=clock.setup_seconds,
        probe_seconds=clock.probe_seconds,
        world_size=engine.plan.world_size,
        micro_batch_size=engine.plan.micro_batch_size,
        accumulation_steps=engine.plan.accumulation_steps,
        device_batch_size=engine.plan.micro_batch_size,
        dtype=settings.engine.dtype,
        zero_stage=settings.engine.zero_stage,
        hardware=hardware_name(),
    )


def _broken(values: dict[str, float], metric: str) -> str:
    """Return the name of a value that says that the weights are lost, or nothing.

    The target's must be finite, and none may be NaN: a vote or a count can be made of NaN and look well.
    """
    if not math.isfinite(values.get(metric, 0.0)):
        return metric
    return next((name for name, value in values.items() if math.isnan(value)), "")


def _measure(probe: Probe, engine: Engine, settings: TrainSettings, clock: Clock, *, step: int) -> Probed:
    before = clock.probe_seconds
    with clock.probing():
        measured = probe.measure(engine, step=step)
    return Probed(
        step=step,
        examples=step * settings.batch_size,
        train_seconds=clock.train_seconds,
        rows=measured.rows,
        seconds=clock.probe_seconds - before,
        equivalent_steps=measured.cost.equivalent_steps(settings.batch_size),
        gradient_examples=measured.cost.gradient_examples,
        product_examples=measured.cost.product_examples,
        loss_examples=measured.cost.loss_examples,
    )


def _evaluate(workload: Workload, engine: Engine) -> dict[str, float]:
    model = engine.model
    model.eval()
    try:
        with torch.no_grad():
            metrics = workload.evaluate(model)
    finally:
        model.train()
    if set(metrics) != set(workload.metrics):
        raise RuntimeError(
            f"{workload.name}.evaluate must report exactly its metrics {workload.metrics}, but got {tuple(metrics)}"
        )
    return metrics
