"""The learning rate's course over a run, as a multiple of the peak rate."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from .errors import SettingsError
from .reading import Settings


class Length(Settings):
    """A stretch of training, counted in optimiser steps or in examples."""

    steps: int | None = Field(default=None, ge=0)
    examples: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _one_unit(self) -> Length:
        if (self.steps is None) == (self.examples is None):
            raise ValueError("exactly one of steps and examples must be given")
        return self

    def in_steps(self, batch_size: int) -> int:
        """Return the optimiser steps that cover this length at ``batch_size`` examples a step."""
        if self.steps is not None:
            return self.steps
        assert self.examples is not None
        return -(-self.examples // batch_size)


class Schedule(Settings):
    """Linear warm-up to the peak, then a plateau or a cosine, then (``wsd``) a linear decay at the end of the budget.

    Attributes:
        name: ``constant`` stays at the peak; ``cosine`` falls along half a cosine from the end of the warm-up to the
            end of the budget (Loshchilov and Hutter 2017, eq. 5, without restarts); ``wsd`` stays at the peak and
            falls linearly over the last ``decay`` (warm-up, stable, decay: Hu et al. 2024).
        warmup: How long the rate rises; none by default.
        decay: How long the rate falls; for ``wsd`` only, which needs it.
        floor: The factor that ``cosine`` and ``wsd`` fall to.
    """

    name: Literal["constant", "cosine", "wsd"]
    warmup: Length = Length(steps=0)
    decay: Length | None = None
    floor: float = Field(default=0.0, ge=0.0, le=1.0)

    @model_validator(mode="after")
    def _only_what_counts(self) -> Schedule:
        if self.name == "wsd" and self.decay is None:
            raise ValueError("wsd needs decay, such as {steps: 100}")
        if self.name != "wsd" and self.decay is not None:
            raise ValueError(f"decay belongs to wsd; remove it or replace {self.name}")
        if self.name == "constant" and self.floor != 0.0:
            raise ValueError("constant has no floor; remove it or use cosine or wsd")
        return self

    def factor(self, step: int, *, batch_size: int, total_steps: int) -> float:
        """Return the rate of the optimiser step number ``step`` as a multiple of the peak rate.

        Steps count from 0. The warm-up of w steps gives 1/w, 2/w, …, 1, so its first step moves the weights. A decay
        of d steps is its mirror image: its last step is the last of the budget and ends one d-th above the floor,
        because a step at factor 0 would be a step wasted.

        Args:
            step: Optimiser steps taken before.
            batch_size: Examples of each step; turns lengths in examples into steps.
            total_steps: Steps of the whole budget; 0 ≤ ``step`` < ``total_steps``.
        """
        warmup = self.warmup.in_steps(batch_size)
        if step < warmup:
            return (step + 1) / warmup
        if self.name == "cosine":
            done = (step - warmup) / (total_steps - warmup)
            return self._above_floor(0.5 * (1.0 + math.cos(math.pi * done)))
        if self.decay is not None and (decay := self.decay.in_steps(batch_size)) > 0:
            return self._above_floor(min(1.0, (total_steps - step) / decay))
        return 1.0

    def validate_for(self, *, total_steps: int, batch_size: int) -> None:
        """Check that warm-up and decay fit into the budget.

        Raises:
            SettingsError: They don't.
        """
        warmup = self.warmup.in_steps(batch_size)
        decay = self.decay.in_steps(batch_size) if self.decay else 0
        if warmup + decay > total_steps:
            parts = f"warm-up of {warmup}" + (f" and decay of {decay}" if decay else "")
            raise SettingsError(
                f"schedule: warm-up and decay must fit into the budget, but got a {parts} steps with "
                f"{total_steps} steps of {batch_size} examples; shorten them to {total_steps} steps "
                f"({total_steps * batch_size} examples) in all, or give a larger budget"
            )

    def _above_floor(self, factor: float) -> float:
        return self.floor + (1.0 - self.floor) * factor
