"""The training loop: a generator of events. Reporting, pruning and storing stay outside."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator

import torch

from .engine import DeepSpeedEngine, Engine, hardware_name
from .errors import SettingsError
from .seeding import mix
from .settings import TrainSettings
from .workload import Target, Workload

# How often the loss is read back. Reading it at every step would stall a GPU's queue.
_CHECK_STEPS = 8
_PROGRESS_SECONDS = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Progress:
    """The run is alive: sent about once a second between evaluations."""

    step: int
    examples: int
    train_seconds: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """An evaluation: the workload's metrics, and ``train_loss`` (mean since the last one; absent at step 0)."""

    step: int
    examples: int
    train_seconds: float
    values: dict[str, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finished:
    """The end of a run, always the last event.

    ``status`` is ``reached``, ``exhausted``, ``diverged``, or ``failed`` where the target was met before the first
    step, so that there is nothing to count; ``value`` is the target's metric at the last
    evaluation; ``steps_to_target`` is interpolated between evaluations and ``None`` when not reached.
    """

    status: str
    message: str
    steps: int
    examples: int
    steps_to_target: float | None
    value: float
    train_seconds: float
    evaluate_seconds: float
    setup_seconds: float
    world_size: int
    micro_batch_size: int
    accumulation_steps: int
    device_batch_size: int
    dtype: str
    zero_stage: int
    hardware: str


def train(
    workload: Workload,
    settings: TrainSettings,
    *,
    build_engine: Callable[[Workload, TrainSettings], Engine] = DeepSpeedEngine,
) -> Iterator[Progress | Measured | Finished]:
    """Train ``workload`` and yield what happens.

    Divergence and a missed target are statuses. Exceptions are bugs, or settings that can't be obeyed.

    Args:
        workload: the problem.
        settings: how it is trained.
        build_engine: what takes the optimiser steps.

    Raises:
        SettingsError: the target's metric is not one that the workload reports.
    """
    started = time.perf_counter()
    target = settings.target or workload.target
    if target.metric not in workload.metrics:
        raise SettingsError(
            f"target.metric must be one that {workload.name} reports ({', '.join(workload.metrics)}), "
            f"but got {target.metric!r}"
        )
    engine = build_engine(workload, settings)
    batches = workload.train_batches(batch_size=settings.batch_size, seed=settings.seed)
    # Dropout and the like draw from torch's global state, in workers that run one trial at a time.
    torch.manual_seed(mix(settings.seed, 1))
    clock = _Clock(setup=time.perf_counter() - started)
    crossing = _Crossing(target)
    losses = _Losses(limit=workload.loss_limit)
    status, step, value, message = "exhausted", 0, math.nan, ""

    for stop in settings.evaluation.ladder(settings.total_steps):
        while step < stop and not losses.diverged:
            with clock.training():
                pause = time.perf_counter() + _PROGRESS_SECONDS
                while step < stop:
                    factor = settings.schedule.factor(
                        step, total_steps=settings.total_steps, batch_size=settings.batch_size
                    )
                    losses.add(engine.step(next(batches), rate_factor=factor))
                    step += 1
                    if step % _CHECK_STEPS == 0 or step == stop:
                        losses.read()
                        if losses.diverged or time.perf_counter() > pause:
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
        if losses.diverged or not math.isfinite(value):
            status = "diverged"
            message = losses.message or f"{target.metric} is {value} after {step} steps"
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
        world_size=engine.plan.world_size,
        micro_batch_size=engine.plan.micro_batch_size,
        accumulation_steps=engine.plan.accumulation_steps,
        device_batch_size=engine.plan.micro_batch_size,
        dtype=settings.engine.dtype,
        zero_stage=settings.engine.zero_stage,
        hardware=hardware_name(),
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


class _Losses:
    """Training losses since the last evaluation, kept on the device and read in groups."""

    def __init__(self, *, limit: float) -> None:
        self._limit = limit
        self._unread: list[torch.Tensor] = []
        self._sum, self._count, self._steps = 0.0, 0, 0
        self.diverged = False
        self.message = ""

    def add(self, loss: torch.Tensor) -> None:
        self._unread.append(loss)

    def read(self) -> None:
        group = torch.stack(self._unread).double()
        self._unread.clear()
        self._steps += len(group)
        mean = float(group.mean())
        self._sum += float(group.sum())
        self._count += len(group)
        if not math.isfinite(mean):
            self.diverged, self.message = True, f"the training loss is {mean} within {self._steps} steps"
        elif mean > self._limit:
            self.diverged = True
            self.message = f"the training loss {mean:.4g} passed the limit {self._limit:.4g} at {self._steps} steps"

    def take(self) -> dict[str, float]:
        values = {"train_loss": self._sum / self._count} if self._count else {}
        self._sum, self._count = 0.0, 0
        return values


class _Crossing:
    """The first step at which the metric crosses the target, linear in log steps between evaluations."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._before: tuple[int, float] | None = None
        self.steps: float | None = None

    def see(self, step: int, value: float) -> None:
        if self.steps is None and self._target.met_by(value):
            self.steps = float(step)
            if self._before is not None and self._target.value is not None:
                step0, value0 = self._before
                share = (self._target.value - value0) / (value - value0)
                log0, log1 = math.log(max(step0, 0.5)), math.log(step)
                self.steps = math.exp(log0 + share * (log1 - log0))
        self._before = (step, value)


class _Clock:
    """Seconds inside training and evaluation, with the device's queue drained at each border."""

    def __init__(self, *, setup: float) -> None:
        self.setup_seconds, self.train_seconds, self.evaluate_seconds = setup, 0.0, 0.0

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.train_seconds += _since(start)

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.evaluate_seconds += _since(start)


def _since(start: float) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start
