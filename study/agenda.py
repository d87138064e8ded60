"""What is to be run next: the order of ``Design.missing``, a trial at a time and without looking at all of them."""

from __future__ import annotations

import heapq

from .design import Design
from .lane import Place, PlannedTrial, Rows


class Agenda:
    """The trials that are not stored. A lane is asked for more only when all that it asked for is stored.

    So a trial costs the logarithm of what waits, and an extension or a probe run appears with the row that asks for it.
    """

    def __init__(self, design: Design, rows: Rows) -> None:
        """Begin with what ``rows`` lacks. ``rows`` is live: what is stored is in it before ``stored`` is told."""
        self._lanes = design.lanes
        self._rows = rows
        self._waiting: list[tuple[bool, bool, int, int, int]] = []  # probe, later, lane, rate, seed: as they are run
        self._unstored = [0] * len(self._lanes)
        self._handed_out: dict[str, int] = {}
        for number in range(len(self._lanes)):
            self._look(number)

    def next(self) -> PlannedTrial | None:
        """Return the next trial, or ``None`` while none is wanted: those that run may yet ask for more."""
        if not self._waiting:
            return None
        probe, later, lane, rate, seed = heapq.heappop(self._waiting)
        trial = self._lanes[lane].at(Place(probe, later, rate, seed))
        self._handed_out[trial.trial_id] = lane
        return trial

    def stored(self, trial_id: str) -> None:
        """Take note that a trial that was handed out is in the rows."""
        lane = self._handed_out.pop(trial_id)
        self._unstored[lane] -= 1
        if not self._unstored[lane]:
            self._look(lane)

    @property
    def finished(self) -> bool:
        """Whether everything that is wanted is stored."""
        return not self._waiting and not self._handed_out

    def _look(self, lane: int) -> None:
        _, places = self._lanes[lane].missing(self._rows)
        self._unstored[lane] = len(places)
        for probe, later, rate, seed in places:
            heapq.heappush(self._waiting, (probe, later, lane, rate, seed))
