"""What the loop keeps of a run: losses since the last evaluation, the target's crossing, and the time.

Each can tell what it knows as plain JSON values, and take them up again.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from typing import Any

import torch

from .workload import Target


class Losses:
    """Training losses since the last evaluation, kept on the device and read in groups."""

    def __init__(self, *, limit: float) -> None:
        """Begin; a mean of a group above ``limit`` is divergence."""
        self._limit = limit
        self._unread: list[torch.Tensor] = []
        self._sum, self._count, self._steps = 0.0, 0, 0
        self.diverged = False
        self.message = ""

    def add(self, loss: torch.Tensor) -> None:
        """Take the loss of one step, without reading it."""
        self._unread.append(loss)

    def read(self) -> None:
        """Read the losses since the last reading, and judge their mean."""
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
        """Return the mean of the losses read since the last call as ``train_loss``; nothing where there are none."""
        values = {"train_loss": self._sum / self._count} if self._count else {}
        self._sum, self._count = 0.0, 0
        return values

    def known(self) -> dict[str, Any]:
        """Return what is known; all losses must have been read."""
        assert not self._unread
        return {"sum": self._sum, "count": self._count, "steps": self._steps}

    def take_up(self, known: dict[str, Any]) -> None:
        """Go on from what was known."""
        self._sum, self._count, self._steps = known["sum"], known["count"], known["steps"]


class Crossing:
    """The first step at which the metric crosses the target, linear in log steps between evaluations."""

    def __init__(self, target: Target) -> None:
        """Begin before any evaluation."""
        self._target = target
        self._before: tuple[int, float] | None = None
        self.steps: float | None = None

    def see(self, step: int, value: float) -> None:
        """Take an evaluation's value; once crossed, ``steps`` stays."""
        if self.steps is None and self._target.met_by(value):
            self.steps = float(step)
            if self._before is not None and self._target.value is not None:
                step0, value0 = self._before
                share = (self._target.value - value0) / (value - value0)
                log0, log1 = math.log(max(step0, 0.5)), math.log(step)
                self.steps = math.exp(log0 + share * (log1 - log0))
        self._before = (step, value)

    def known(self) -> dict[str, Any]:
        """Return what is known."""
        return {"before": None if self._before is None else list(self._before), "steps": self.steps}

    def take_up(self, known: dict[str, Any]) -> None:
        """Go on from what was known."""
        self._before = None if known["before"] is None else tuple(known["before"])
        self.steps = known["steps"]


class Clock:
    """Seconds inside training, evaluation and probes, with the device's queue drained at each border."""

    def __init__(self, *, setup: float) -> None:
        """Begin with ``setup`` seconds that have passed."""
        self.setup_seconds = setup
        self.train_seconds = self.evaluate_seconds = self.probe_seconds = 0.0

    def known(self) -> dict[str, float]:
        """Return the seconds so far."""
        return {
            "setup": self.setup_seconds,
            "train": self.train_seconds,
            "evaluate": self.evaluate_seconds,
            "probe": self.probe_seconds,
        }

    def take_up(self, known: dict[str, float]) -> None:
        """Add the seconds that had passed before."""
        self.setup_seconds += known["setup"]
        self.train_seconds += known["train"]
        self.evaluate_seconds += known["evaluate"]
        self.probe_seconds += known["probe"]

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        """Count the block's seconds as training."""
        start = time.perf_counter()
        yield
        self.train_seconds += _since(start)

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Count the block's seconds as evaluation."""
        start = time.perf_counter()
        yield
        self.evaluate_seconds += _since(start)

    @contextlib.contextmanager
    def probing(self) -> Iterator[None]:
        """Count the block's seconds as measurement."""
        start = time.perf_counter()
        yield
        self.probe_seconds += _since(start)


def _since(start: float) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start
