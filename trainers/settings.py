"""How one workload is trained: every choice but the workload itself, read from plain JSON values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from .batching import BatchPlan, plan_batch
from .errors import SettingsError
from .optimizers import ELEMENTWISE, validate_optimizer
from .probes.settings import ProbeSettings
from .reading import Settings, read_settings
from .schedules import Schedule
from .workload import Target, Workload


class Budget(Settings):
    """How long a run may last: examples, steps, or whichever of the two ends first; or less, at the target."""

    examples: int | None = Field(default=None, gt=0)
    steps: int | None = Field(default=None, gt=0)
    stop_at_target: bool = False

    @model_validator(mode="after")
    def _some_limit(self) -> Budget:
        if self.examples is None and self.steps is None:
            raise ValueError("a budget needs examples, steps or both")
        return self

    def in_steps(self, batch_size: int) -> int:
        """Return the optimiser steps that the budget allows at ``batch_size`` (at least one)."""
        limits = [] if self.steps is None else [self.steps]
        if self.examples is not None:
            limits.append(max(1, round(self.examples / batch_size)))
        return min(limits)


class Evaluation(Settings):
    """When a run is evaluated: on a geometric ladder of steps, or at evenly spaced points.

    Step 0 and the end of the budget are always evaluated.
    """

    growth: float | None = Field(default=None, gt=1)
    first_step: int = Field(default=1, gt=0)
    points: int | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _one_ladder(self) -> Evaluation:
        if self.growth is not None and self.points is not None:
            raise ValueError("growth and points exclude each other")
        return self

    def ladder(self, total_steps: int) -> list[int]:
        """Return the increasing steps, from 0 to ``total_steps``, at which to evaluate."""
        if self.points is not None:
            return sorted({round(total_steps * k / self.points) for k in range(self.points + 1)})
        growth = self.growth or 1.25
        steps, step = {0, total_steps}, float(self.first_step)
        while step < total_steps:
            steps.add(math.ceil(step))
            step *= growth
        return sorted(steps)


class EngineSettings(Settings):
    """What the run is executed with. ``gradient_clipping`` bounds the norm of the whole gradient; 0 leaves it alone."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    zero_stage: Literal[0, 1, 2, 3] = 0
    micro_batch_size: int | None = Field(default=None, gt=0)
    workers: int = Field(default=1, gt=0)
    gradient_clipping: float = Field(default=0.0, ge=0, allow_inf_nan=False)


class TrainSettings(Settings):
    """One training run. ``learning_rate`` is the peak rate and reaches the optimiser unchanged."""

    batch_size: int = Field(gt=0)
    learning_rate: float = Field(gt=0, allow_inf_nan=False)
    seed: int = Field(ge=0)
    optimizer: str
    optimizer_settings: dict[str, Any]
    schedule: Schedule
    budget: Budget
    target: Target | None
    evaluation: Evaluation
    engine: EngineSettings
    probes: ProbeSettings | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainSettings:
        """Read a trial's specification; the keys ``workload`` and ``workload_settings`` are passed over.

        Raises:
            SettingsError: anything that can be known to be wrong before training starts.
        """
        own = {key: value for key, value in values.items() if key not in ("workload", "workload_settings")}
        settings = read_settings(cls, own, where="trial")
        complete = validate_optimizer(settings.optimizer, settings.optimizer_settings).model_dump(mode="json")
        settings = settings.model_copy(update={"optimizer_settings": complete})
        settings.schedule.validate_for(total_steps=settings.total_steps, batch_size=settings.batch_size)
        if settings.engine.zero_stage > 0 and settings.optimizer not in ELEMENTWISE:
            raise SettingsError(
                f"engine.zero_stage must be 0 for {settings.optimizer}, whose update needs whole tensors that ZeRO "
                f"flattens, but got {settings.engine.zero_stage}; with ZeRO use {', '.join(sorted(ELEMENTWISE))}"
            )
        settings.plan()
        settings._check_probes()
        return settings

    @property
    def total_steps(self) -> int:
        """Optimiser steps that the budget allows."""
        return self.budget.in_steps(self.batch_size)

    @property
    def last_step(self) -> int:
        """Optimiser steps after which the run ends, unless it stops at its target."""
        return max(self.probe_steps()) if self.probes and self.probes.end_run else self.total_steps

    def probe_steps(self) -> frozenset[int]:
        """Return the numbers of steps before which to probe; none where no probes are set."""
        return frozenset(self.probes.points(self.total_steps) if self.probes else ())

    def _check_probes(self) -> None:
        self.probe_steps()
        if self.probes and self.engine.dtype != "float32":
            raise SettingsError(
                "probes need engine.dtype float32, because bfloat16 rounds gradients and second derivatives too "
                f"coarsely, but got {self.engine.dtype}; probe one run in float32"
            )

    def check_for(self, workload: Workload) -> None:
        """Check that the batch and the engine leave the loss of ``workload`` what it is.

        Raises:
            SettingsError: a forward pass sees too few of the examples that the loss couples, or the engine takes apart
                weights that it needs whole.
        """
        self.plan().check_coupling(
            examples_are_independent=workload.examples_are_independent, coupled_examples=workload.coupled_examples
        )
        if self.engine.zero_stage > workload.largest_zero_stage:
            raise SettingsError(
                f"engine.zero_stage must be at most {workload.largest_zero_stage} for {workload.name}, whose loss "
                f"needs whole weights, but got {self.engine.zero_stage}; stage 2 shards gradients and optimiser state"
            )

    def plan(self, *, world_size: int | None = None) -> BatchPlan:
        """Return the split of the batch over workers and micro-batches."""
        return plan_batch(
            self.batch_size,
            world_size=self.engine.workers if world_size is None else world_size,
            micro_batch_size=self.engine.micro_batch_size,
        )
