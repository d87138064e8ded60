"""What a script reports: read line by line, and held to the budget."""

from __future__ import annotations

import json
import math

from .events import Measured


class ScriptFailure(Exception):
    """Why a script's trial failed, in one line."""


class ScriptReports:
    """The reports of a trial, in rising steps up to the budget's last."""

    def __init__(self, *, batch_size: int, total_steps: int) -> None:
        """Begin before any report."""
        self._batch_size, self._total_steps = batch_size, total_steps
        self.step = -1
        """Of the last report; -1 before the first."""
        self._seconds = 0.0
        self._last: dict[str, tuple[int, float]] = {}  # by metric: step and value

    @property
    def last_step_reported(self) -> bool:
        """Whether the budget's last step or one beyond was reported."""
        return self.step >= self._total_steps

    def last_step_of(self, metric: str) -> int | None:
        """Return the step of the last report of ``metric``, at most the budget's last; None where there is none."""
        return self._last[metric][0] if metric in self._last else None

    def read(self, line: bytes, *, seconds: float) -> Measured:
        """Return the report that a line holds.

        One beyond the budget's last step is brought back to it: each metric by what it was before, linear in log steps
        as the crossing of a target is, and the time linear in steps. A metric without an earlier report is left
        out.

        Args:
            line: As ``batchlaw_report`` writes it.
            seconds: Since the script's start.

        Raises:
            ScriptFailure: The line is no report, or one of no later step than the last.
        """
        try:
            report = json.loads(line)
            step = int(report["step"])
            values = {str(name): float(value) for name, value in report["metrics"].items()}
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
            raise ScriptFailure(f"a report must be one of batchlaw_report, but is {line[:80]!r}") from None
        if step <= self.step:
            raise ScriptFailure(f"each report must be of a later step, but {step} comes after {self.step}")
        before, self.step = max(self.step, 0), step
        if step > self._total_steps:
            share = (self._total_steps - before) / (step - before)
            seconds = self._seconds + share * (seconds - self._seconds)
            values = {name: self._at_budget(name, value) for name, value in values.items() if self._earlier(name)}
            step = self._total_steps
        self._seconds = seconds
        self._last |= {name: (step, value) for name, value in values.items()}
        return Measured(step=step, examples=step * self._batch_size, train_seconds=seconds, values=values)

    def _earlier(self, name: str) -> bool:
        return name in self._last and self._last[name][0] < self._total_steps

    def _at_budget(self, name: str, value: float) -> float:
        step0, value0 = self._last[name]
        log0, log1 = math.log(max(step0, 0.5)), math.log(self.step)
        return value0 + (math.log(self._total_steps) - log0) / (log1 - log0) * (value - value0)
