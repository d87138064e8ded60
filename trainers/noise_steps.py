"""Squared norms of a few steps, kept on the device and read in groups: from weights and norms to unbiased estimates."""

from __future__ import annotations

import math
from typing import Any

import torch

from .noise_estimate import StepSums

# Steps between readings. Reading each would stall a GPU's queue.
_READ_STEPS = 8
_ROUNDING = 1.1


class StepShares:
    """What this worker's micro-batches add to one step's gradient."""

    def __init__(self) -> None:
        """Begin a step."""
        self.squares: torch.Tensor | None = None
        self.examples: list[int] = []
        self.terms: list[int | torch.Tensor] = []

    @property
    def count(self) -> int:
        """Micro-batches so far."""
        return len(self.examples)

    def add(self, square: torch.Tensor, *, examples: int, terms: int | torch.Tensor) -> None:
        """Add one micro-batch: the squared norm of what it added to the gradient."""
        self.squares = square if self.squares is None else self.squares + square
        self.examples.append(examples)
        self.terms.append(terms)


class PendingSteps:
    """Measured steps that have not been read from the device."""

    def __init__(self, *, group: Any, mode: str, workers: int) -> None:
        """Begin with none.

        Args:
            group: The process group of the workers, ``None`` for one.
            mode: What the loss is a mean over: ``micro_batch``, ``worker`` or ``step``.
            workers: Their number.
        """
        self._group, self._mode, self._workers = group, mode, workers
        self._steps: list[tuple[StepShares, torch.Tensor | None, float, float]] = []

    @property
    def full(self) -> bool:
        """Whether it is time to read; all workers count alike."""
        return len(self._steps) >= _READ_STEPS

    def add(self, shares: StepShares, *, total: torch.Tensor | None, local_scale: float, total_scale: float) -> None:
        """Add one step.

        Args:
            shares: This worker's micro-batches.
            total: The squared norm of the whole gradient; ``None`` where the step was not applied.
            local_scale: The loss scale in the shares.
            total_scale: The loss scale in the total.
        """
        self._steps.append((shares, total, local_scale, total_scale))

    def read_into(self, sums: StepSums) -> None:
        """Read all steps, over all workers together, and add their estimates to ``sums``.

        Raises:
            RuntimeError: Norms that contradict each other: the loop is not what it was said to be.
        """
        if not self._steps:
            return
        device = self._steps[0][0].squares.device  # type: ignore[union-attr]
        nothing = torch.full((), math.nan, device=device)
        norms = [
            torch.stack([step[0].squares.double() for step in self._steps]),  # type: ignore[union-attr]
            torch.stack([(nothing if step[1] is None else step[1].to(device)).double() for step in self._steps]),
        ]
        squares, totals = torch.stack(norms).tolist()
        rows = []
        for (shares, _, local_scale, total_scale), square, total in zip(self._steps, squares, totals, strict=True):
            total /= total_scale**2
            square /= (local_scale * self._workers) ** 2
            rows.append([square, total, total**2, *self._moments(shares)])
        self._steps = []
        if self._group is not None:
            table = torch.tensor(rows, dtype=torch.float64, device=device)
            torch.distributed.all_reduce(table, group=self._group)
            rows = table.tolist()
        for row in rows:
            self._estimate(row, sums)

    def _moments(self, shares: StepShares) -> list[float]:
        """Return this worker's Σw², Σw²/terms, Σ terms, Σ terms², examples and micro-batches."""
        terms = [float(number) for number in shares.terms]
        whole = sum(terms)
        if self._mode == "micro_batch":
            weights = [1.0 / (shares.count * self._workers)] * shares.count
        else:
            weights = [number / (whole * self._workers) if whole else math.nan for number in terms]
        return [
            sum(w**2 for w in weights),
            sum(
                w**2 / number if number else (0.0 if w == 0 else math.nan)
                for w, number in zip(weights, terms, strict=True)
            ),
            whole,
            sum(number**2 for number in terms),
            float(sum(shares.examples)),
            float(shares.count),
        ]

    def _estimate(self, row: list[float], sums: StepSums) -> None:
        square, total, total_squared, square_weights, weights_by_term, terms, square_terms, examples, count = row
        total /= self._workers
        spread = total_squared / self._workers - total**2
        if self._mode == "step":
            p, a = (square_terms / terms**2, 1.0 / examples) if terms else (math.nan, math.nan)
        else:
            p, a = (
                square_weights,
                weights_by_term * terms / examples,
            )  # terms an example: what an example's variance is over
        if not all(math.isfinite(number) for number in (square, total, p, a)) or count < 2 or p >= 1:
            sums.skipped_steps += 1
            return
        if spread > (0.01 * total) ** 2:
            raise RuntimeError(
                "the workers' gradients must be equal when monitor.step() begins, but their norms differ by "
                f"{math.sqrt(spread / total**2):.0%}; begin it after the workers are averaged"
            )
        if total > _ROUNDING * count * square:
            raise RuntimeError(
                f"a step's gradient can't be longer than its {count:.0f} micro-batches add up to, but its square is "
                f"{total:.3g} with squares of {square:.3g}: clear the gradients after each step, average over workers "
                "rather than sum, and call after_micro_batch() after every backward pass"
            )
        sums.add(
            grad_sq=(total - square) / (1.0 - p),
            grad_var=(square - p * total) / (a * (1.0 - p)),
            examples=examples,
        )
