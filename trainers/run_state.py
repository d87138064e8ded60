"""Where a run stands: what the loop itself carries from step to step, besides the engine and the random state."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from .events import Measured, Probed
from .probes.rows import ProbeRow
from .run_watch import Clock, Crossing, Losses
from .workload import Target


class Run:
    """A run between two steps."""

    def __init__(self, target: Target, *, loss_limit: float) -> None:
        """Begin before the first step."""
        self.step = 0
        """Optimiser steps taken."""
        self.evaluated_step = -1
        """Steps taken at the last evaluation; −1 before the first."""
        self.value = math.nan
        """The target's metric at the last evaluation."""
        self.resumes = 0
        self.clock = Clock(setup=0.0)
        self.crossing = Crossing(target)
        self.losses = Losses(limit=loss_limit)
        self.told: list[Measured | Probed] = []
        """What has been measured, where checkpoints are kept."""

    def known(self) -> dict[str, Any]:
        """Return it as plain JSON values; all losses must have been read."""
        return {
            "step": self.step,
            "evaluated_step": self.evaluated_step,
            "value": self.value,
            "resumes": self.resumes,
            "clock": self.clock.known(),
            "crossing": self.crossing.known(),
            "losses": self.losses.known(),
            "told": [_event_known(event) for event in self.told],
        }

    def take_up(self, known: dict[str, Any]) -> None:
        """Go on from what was known, as one resumed run more."""
        self.step, self.evaluated_step, self.value = known["step"], known["evaluated_step"], known["value"]
        self.resumes = known["resumes"] + 1
        self.clock.take_up(known["clock"])
        self.crossing.take_up(known["crossing"])
        self.losses.take_up(known["losses"])
        self.told = [_event(values) for values in known["told"]]


def _event_known(event: Measured | Probed) -> dict[str, Any]:
    values = {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}
    if isinstance(event, Probed):  # without the names of a row's columns: there may be many thousands
        values["rows"] = [list(dataclasses.astuple(row)) for row in event.rows]
    return values


def _event(known: dict[str, Any]) -> Measured | Probed:
    if "rows" not in known:
        return Measured(**known)
    names = [field.name for field in dataclasses.fields(ProbeRow)]
    rows = tuple(ProbeRow(**dict(zip(names, row, strict=True))) for row in known["rows"])
    return Probed(**{**known, "rows": rows})
