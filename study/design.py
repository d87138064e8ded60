"""Which trials a study consists of, and in which order they run; depends on the study and the stored rows alone."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Literal

from results import PROBE, SWEEP, TrialSpec

from .config import StudyConfig, Sweep
from .errors import ConfigError
from .extension import open_sides, score_cell
from .lattice import Lattice, lattice_for
from .probe_runs import probe_run

Rows = Mapping[str, Mapping[str, Any]]
"""Stored trials by id, columns as in ``results.TRIAL_COLUMNS``."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlannedTrial:
    """One cell of a sweep with one seed."""

    sweep: str
    spec: TrialSpec
    extension: bool
    """Whether the rate lies outside the grid that the user wrote."""
    purpose: str = SWEEP
    """``sweep``, or ``probe`` for a probe run, which enters no fit."""

    @cached_property
    def trial_id(self) -> str:
        """The id of the specification."""
        return self.spec.trial_id

    @property
    def steps(self) -> float:
        """Steps of the whole budget, before rounding to whole steps."""
        budget, batch_size = self.spec.budget, self.spec.batch_size
        by_examples = math.inf if budget["examples"] is None else budget["examples"] / batch_size
        return min(by_examples, math.inf if budget["steps"] is None else budget["steps"])

    @property
    def examples(self) -> float:
        """Examples of the whole budget, before rounding to whole steps."""
        return self.steps * self.spec.batch_size


class SweepDesign:
    """The trials of one sweep. The sweep must be resolved: every section complete (see ``resolve``)."""

    def __init__(self, sweep: Sweep) -> None:
        """Lay out the grid; nothing is read or run."""
        self.sweep = sweep
        self.name = sweep.name
        self.lattices: Mapping[int, Lattice] = {b: lattice_for(sweep.learning_rates, b) for b in sweep.batch_sizes}
        self._made: dict[tuple[int, int, int], PlannedTrial] = {}

    def trial(self, batch_size: int, index: int, seed: int) -> PlannedTrial:
        """Return the trial at rate number ``index`` of the batch size's lattice."""
        key = (batch_size, index, seed)
        if key not in self._made:
            lattice = self.lattices[batch_size]
            self._made[key] = PlannedTrial(
                sweep=self.name,
                spec=trial_spec(self.sweep, batch_size=batch_size, learning_rate=lattice.rate(index), seed=seed),
                extension=not 0 <= index < lattice.count,
            )
        return self._made[key]

    def span(self, batch_size: int, rows: Rows) -> range:
        """Return the rate numbers that ``batch_size`` needs, given what is stored.

        The grid grows by one rate at a time, once all seeds of all its rates are stored, so the span
        depends on the results alone and not on the order in which they came.
        """
        bound = self.sweep.extend.max_steps_per_side
        low, high = 0, self.lattices[batch_size].count
        while True:
            cells = [
                [rows.get(self.trial(batch_size, i, s).trial_id) for s in self.sweep.seeds] for i in range(low, high)
            ]
            if any(row is None for cell in cells for row in cell):
                return range(low, high)
            mode = str(self.sweep.target.mode)
            scores = [
                score_cell([row for row in cell if row is not None], outcome=self.sweep.outcome, mode=mode)
                for cell in cells
            ]
            below, above = open_sides(scores)
            grown = (
                low - (below and low > -bound),
                high + (above and high < self.lattices[batch_size].count + bound),
            )
            if grown == (low, high):
                return range(low, high)
            low, high = grown

    def cells(self, batch_size: int, rows: Rows) -> list[list[PlannedTrial]]:
        """Return the trials of each rate that ``batch_size`` needs, given what is stored; rates increase."""
        return [[self.trial(batch_size, i, s) for s in self.sweep.seeds] for i in self.span(batch_size, rows)]

    def trials(self, rows: Rows) -> Iterator[PlannedTrial]:
        """Yield the base grid, the extensions that the stored rows ask for, and the probe runs they allow."""
        for batch_size in self.sweep.batch_sizes:
            cells = self.cells(batch_size, rows)
            for cell in cells:
                yield from cell
            probes = self.sweep.probes
            if probes is not None and batch_size in probes.of(self.sweep.batch_sizes):
                run = probe_run(cells, rows, sweep=self.sweep, probes=probes)
                if run is not None:
                    yield run

    def reachable(self) -> Iterator[PlannedTrial]:
        """Yield every trial that the sweep could come to need."""
        bound = self.sweep.extend.max_steps_per_side
        for batch_size, lattice in self.lattices.items():
            for index in range(-bound, lattice.count + bound):
                for seed in self.sweep.seeds:
                    yield self.trial(batch_size, index, seed)


class Design:
    """All sweeps of a study."""

    def __init__(self, config: StudyConfig) -> None:
        """Lay out every sweep of the resolved ``config``.

        Raises:
            ConfigError: two sweeps would run the same trial; a row can belong to one of them only.
        """
        self.name = config.name
        self.sweeps = tuple(SweepDesign(sweep) for sweep in config.sweeps)
        owner: dict[str, PlannedTrial] = {}
        for sweep in self.sweeps:
            for trial in sweep.reachable():
                other = owner.setdefault(trial.trial_id, trial)
                if other is not trial:
                    raise ConfigError(_collision(other, trial))

    @property
    def outcomes(self) -> dict[str, Literal["steps_to_target", "value_at_budget"]]:
        """What each sweep measures, by the sweep's name."""
        return {sweep.name: sweep.sweep.outcome for sweep in self.sweeps}

    def trials(self, rows: Rows) -> list[PlannedTrial]:
        """Return the trials of the study, given what is stored, in the order in which to run them.

        The first seed of everything comes first, so that the whole grid is seen early. Then batch size after
        batch size, so that extensions are known before the end. Long trials go first, so that no core waits
        for one of them at the end. Probe runs come last, after what the fits need.
        """
        first = {sweep.name: sweep.sweep.seeds[0] for sweep in self.sweeps}
        trials = [trial for sweep in self.sweeps for trial in sweep.trials(rows)]
        return sorted(trials, key=lambda t: (t.purpose == PROBE, t.spec.seed != first[t.sweep], -t.examples, -t.steps))

    def missing(self, rows: Rows) -> list[PlannedTrial]:
        """Return the trials that are not stored, in the order in which to run them."""
        return [trial for trial in self.trials(rows) if trial.trial_id not in rows]


def trial_spec(sweep: Sweep, *, batch_size: int, learning_rate: float, seed: int) -> TrialSpec:
    """Return the specification of one trial of ``sweep``."""
    return TrialSpec(
        workload=sweep.workload,
        workload_settings=sweep.workload_settings,
        optimizer=sweep.optimizer,
        optimizer_settings=sweep.optimizer_settings,
        schedule=sweep.schedule,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        budget={**sweep.budget.at(batch_size), "stop_at_target": sweep.stop_at_target},
        target=sweep.target.model_dump(),
        evaluation=sweep.evaluation,
        engine=sweep.engine,
    )


def _collision(first: PlannedTrial, second: PlannedTrial) -> str:
    cell = f"batch_size {first.spec.batch_size}, learning_rate {first.spec.learning_rate:g}, seed {first.spec.seed}"
    if first.sweep == second.sweep:
        return f"sweep {first.sweep} names one trial twice: {cell}; rates are compared to six digits"
    return (
        f"sweeps {first.sweep} and {second.sweep} share a trial ({cell}), but a trial belongs to one sweep; "
        "join them or change one of them (extensions count)"
    )
