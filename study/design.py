"""Which trials a study consists of, and in which order they run; depends on the study and the stored rows alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from results import PROBE

from .config import StudyConfig, Sweep
from .errors import ConfigError
from .lane import Lane, Place, PlannedTrial, Rows, trial_spec
from .lattice import Lattice

__all__ = ["Design", "PlannedTrial", "Rows", "SweepDesign", "trial_spec"]


class SweepDesign:
    """The trials of one sweep. The sweep must be resolved: every section complete (see ``resolve``)."""

    def __init__(self, sweep: Sweep) -> None:
        """Lay out the grid; nothing is read or run."""
        self.sweep = sweep
        self.name = sweep.name
        self.lanes: Mapping[int, Lane] = {b: Lane(sweep, b) for b in sweep.batch_sizes}

    @property
    def lattices(self) -> Mapping[int, Lattice]:
        """The rates of each batch size."""
        return {batch_size: lane.lattice for batch_size, lane in self.lanes.items()}

    def trial(self, batch_size: int, index: int, seed: int) -> PlannedTrial:
        """Return the trial at rate number ``index`` of the batch size's lattice."""
        return self.lanes[batch_size].trial(index, seed)

    def span(self, batch_size: int, rows: Rows) -> range:
        """Return the rate numbers that ``batch_size`` needs, given what is stored."""
        return self.lanes[batch_size].span(rows)


class AnyLane(Protocol):
    """What an agenda reads of one lane; see ``study.lane.Lane``."""

    def missing(self, rows: Rows) -> tuple[int, list[Place]]:
        """Return how many trials there are and the places of those that are not stored."""

    def at(self, place: Place) -> PlannedTrial:
        """Return the trial at a place."""


class Design:
    """All sweeps of a study."""

    def __init__(self, config: StudyConfig) -> None:
        """Lay out every sweep of the resolved ``config``.

        Raises:
            ConfigError: two sweeps would run the same trial; a row can belong to one of them only.
        """
        self.name = config.name
        self.sweeps = tuple(SweepDesign(sweep) for sweep in config.sweeps)
        seen: set[str] = set()
        for sweep in self.sweeps:
            for lane in sweep.lanes.values():
                for index, seed in lane.reachable():
                    trial_id = lane.trial_id(index, seed)
                    if trial_id in seen:
                        raise ConfigError(_collision(self._first(trial_id), lane.trial(index, seed)))
                    seen.add(trial_id)

    def _first(self, trial_id: str) -> PlannedTrial:
        return next(
            lane.trial(index, seed)
            for sweep in self.sweeps
            for lane in sweep.lanes.values()
            for index, seed in lane.reachable()
            if lane.trial_id(index, seed) == trial_id
        )

    @property
    def outcomes(self) -> dict[str, Literal["steps_to_target", "value_at_budget"]]:
        """What each sweep measures, by the sweep's name."""
        return {sweep.name: sweep.sweep.outcome for sweep in self.sweeps}

    @property
    def lanes(self) -> Sequence[AnyLane]:
        """The batch sizes of all sweeps, those with the longest trials first."""
        lanes = [lane for sweep in self.sweeps for lane in sweep.lanes.values()]
        return sorted(lanes, key=lambda lane: lane.length, reverse=True)

    def trials(self, rows: Rows) -> list[PlannedTrial]:
        """Return the trials of the study, given what is stored, in the order in which to run them.

        The first seed of everything comes first, so that the whole grid is seen early. Then batch size after
        batch size, so that extensions are known before the end. Long trials go first, so that no core waits
        for one of them at the end. Probe runs come last, after what the fits need. ``Agenda`` keeps the same order.
        """
        first = {sweep.name: sweep.sweep.seeds[0] for sweep in self.sweeps}
        trials = [trial for sweep in self.sweeps for lane in sweep.lanes.values() for trial in lane.trials(rows)]
        return sorted(trials, key=lambda t: (t.purpose == PROBE, t.spec.seed != first[t.sweep], -t.examples, -t.steps))

    def missing(self, rows: Rows) -> list[PlannedTrial]:
        """Return the trials that are not stored, in the order in which to run them."""
        return [trial for trial in self.trials(rows) if trial.trial_id not in rows]

    def count(self, rows: Rows) -> tuple[int, int]:
        """Return how many trials are not stored, and how many there are."""
        found = [lane.missing(rows) for lane in self.lanes]
        return sum(len(places) for _, places in found), sum(total for total, _ in found)


def _collision(first: PlannedTrial, second: PlannedTrial) -> str:
    cell = f"batch_size {first.spec.batch_size}, learning_rate {first.spec.learning_rate:g}, seed {first.spec.seed}"
    if first.sweep == second.sweep:
        return f"sweep {first.sweep} names one trial twice: {cell}; rates are compared to six digits"
    return (
        f"sweeps {first.sweep} and {second.sweep} share a trial ({cell}), but a trial belongs to one sweep; "
        "join them or change one of them (extensions count)"
    )
