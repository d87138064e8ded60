"""What is measured inside a run, where, and at what cost."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ..errors import SettingsError
from ..reading import Settings

Quantity = Literal["two_batch", "per_example", "curvature", "one_step", "line_search"]

_Size = Annotated[int, Field(gt=0)]
_Step = Annotated[int, Field(ge=0)]
_Fraction = Annotated[float, Field(ge=0, le=1)]
_Factor = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_LOG_POINTS = 4


class ProbeSettings(Settings):
    """The probes of a run. Sizes count examples; what is left out follows from the run (see ``resolve_sizes``).

    Attributes:
        steps: Optimiser steps before which to probe. At most one of this and the two below; four ``log_points`` unless
            given.
        fractions: The same, as fractions of the budget's steps.
        log_points: The same, as so many steps on a geometric ladder that ends with the budget.
        quantities: What to measure. ``two_batch``: gradient_square of small and large batches. ``per_example``:
            example_square, only where the examples of a batch are independent; where the loss couples them there is no
            such thing as an example's gradient, and the rows are absent. ``curvature``: curvature_gradient,
            hessian_trace, curvature_sign, gradient_l1 and noise_to_signal, with gradient_square. ``one_step``:
            update_gradient, update_curvature and update_square of the optimiser in use, for each batch size of the
            ladder. ``line_search``: line_loss along the same directions.
        draws: How often each random quantity is drawn.
        small_batch_size: The small batch of the two-batch estimator; it divides the large one.
        large_batch_size: The large one.
        curvature_batch_size: Examples behind the Hessian: one fixed batch a probe, drawn apart from all others. Losses
            along a line are taken on it too.
        reference_batch_size: Examples behind the reference gradient; the curvature batch is its beginning.
        per_example_draws: How many draws have their large batch taken example by example.
        ladder: Batch sizes of ``one_step`` and ``line_search``, rising.
        warm_steps: 0 takes the optimiser's direction from its state in the run, whose averages hold gradients of the
            run's batch size and of its way here. More starts the optimiser afresh for each batch size and draw and
            lets it see so many batches of that size with the weights held, so that its averages are those of a run at
            that size: about 5/(1 − β₁) steps make a momentum stationary. Of second moments Adam's own correction of
            the start makes unbiased averages over as many steps.
        line_rate_factors: The rates along a line, as multiples of the run's peak rate; 0 is always included.
        per_layer: Whether to give each parameter tensor's part besides the whole.
        micro_batch_size: Examples in one pass where the loss does not couple them; the run's unless given. Second
            derivatives take about three times a training step's memory.
        end_run: Whether the run ends with its last probe, however much of its budget is left.
        max_equivalent_steps: The most that one probe may cost, in training steps of the run's batch size; a probe that
            would cost more is refused before training.
    """

    steps: Annotated[tuple[_Step, ...], Field(strict=False, min_length=1)] | None = None
    fractions: Annotated[tuple[_Fraction, ...], Field(strict=False, min_length=1)] | None = None
    log_points: int | None = Field(default=None, gt=0)
    quantities: Annotated[tuple[Quantity, ...], Field(strict=False, min_length=1)] = ("two_batch", "curvature")
    draws: int = Field(default=8, gt=0)
    small_batch_size: _Size | None = None
    large_batch_size: _Size | None = None
    curvature_batch_size: _Size | None = None
    reference_batch_size: _Size | None = None
    per_example_draws: int = Field(default=1, gt=0)
    ladder: Annotated[tuple[_Size, ...], Field(strict=False, min_length=1)] | None = None
    warm_steps: int = Field(default=0, ge=0)
    line_rate_factors: Annotated[tuple[_Factor, ...], Field(strict=False, min_length=1)] = (
        0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0,
    )  # fmt: skip
    per_layer: bool = False
    micro_batch_size: _Size | None = None
    end_run: bool = False
    max_equivalent_steps: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _one_way(self) -> ProbeSettings:
        if sum(given is not None for given in (self.steps, self.fractions, self.log_points)) > 1:
            raise ValueError("steps, fractions and log_points exclude each other")
        if self.ladder is not None and list(self.ladder) != sorted(set(self.ladder)):
            raise ValueError(f"ladder must rise, but is {list(self.ladder)}; try {sorted(set(self.ladder))}")
        return self

    def points(self, total_steps: int) -> list[int]:
        """Return the increasing numbers of steps, of a budget of ``total_steps``, before which to probe.

        Raises:
            SettingsError: ``steps`` has one beyond the budget.
        """
        if self.steps is not None:
            if max(self.steps) > total_steps:
                raise SettingsError(
                    f"probes.steps must lie within the budget, but got {max(self.steps)} with {total_steps} steps; "
                    "leave it out, give a larger budget, or use fractions"
                )
            return sorted(set(self.steps))
        if self.fractions is not None:
            return sorted({round(total_steps * fraction) for fraction in self.fractions})
        count = self.log_points or _LOG_POINTS
        return sorted({round(total_steps ** (k / count)) for k in range(1, count + 1)})

    def asks_for(self, *quantities: Quantity) -> bool:
        """Return whether any of ``quantities`` is to be measured."""
        return any(quantity in self.quantities for quantity in quantities)
