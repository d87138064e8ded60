"""One batch size of one sweep: its trials, their ids, and which of them the stored rows ask for."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

from results import SWEEP, TrialSpec
from results.schema import canonical_json

from .config import Sweep
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


class Place(NamedTuple):
    """Where a trial lies in its lane. Places of equally long lanes compare as their trials are to be run."""

    probe: bool
    later: bool
    """Whether the seed is another than the sweep's first."""
    rate: int
    """Number of the rate on the lattice."""
    seed: int
    """Number of the seed in the sweep's list."""


class Lane:
    """The trials of one batch size. Nothing of a trial is kept: it is made when it is asked for."""

    def __init__(self, sweep: Sweep, batch_size: int) -> None:
        """Lay out the grid of the resolved ``sweep``; nothing is read or run."""
        self.sweep = sweep
        self.batch_size = batch_size
        self.lattice: Lattice = lattice_for(sweep.learning_rates, batch_size)
        self._spec = trial_spec(sweep, batch_size=batch_size, learning_rate=1.0, seed=0)
        self._text = _around(self._spec)
        self._probe_run: PlannedTrial | None = None
        example = PlannedTrial(sweep=sweep.name, spec=self._spec, extension=False)
        self.length = (example.examples, example.steps)
        """Examples and steps of a trial's whole budget."""

    def trial_id(self, index: int, seed: int) -> str:
        """Return the id of ``trial(index, seed)``, a hundred times as fast as by making it."""
        before, between, after = self._text
        rate = canonical_json(self.lattice.rate(index))
        return hashlib.sha256(f"{before}{rate}{between}{seed}{after}".encode()).hexdigest()[:16]

    def trial(self, index: int, seed: int) -> PlannedTrial:
        """Return the trial at rate number ``index`` of the lattice."""
        trial = PlannedTrial(
            sweep=self.sweep.name,
            spec=dataclasses.replace(self._spec, learning_rate=self.lattice.rate(index), seed=seed),
            extension=not 0 <= index < self.lattice.count,
        )
        trial.__dict__["trial_id"] = self.trial_id(index, seed)  # what the property would work out slowly
        return trial

    def at(self, place: Place) -> PlannedTrial:
        """Return the trial at a place that ``missing`` gave."""
        if place.probe:
            assert self._probe_run is not None
            return self._probe_run
        return self.trial(place.rate, self.sweep.seeds[place.seed])

    def span(self, rows: Rows) -> range:
        """Return the rate numbers that are needed, given what is stored.

        The grid grows by one rate at a time, once all seeds of all its rates are stored, so the span
        depends on the results alone and not on the order in which they came.
        """
        bound = self.sweep.extend.max_steps_per_side
        mode = str(self.sweep.target.mode)
        low, high = 0, self.lattice.count
        while self._complete(range(low, high), rows):
            cells = ([rows[self.trial_id(i, s)] for s in self.sweep.seeds] for i in range(low, high))
            below, above = open_sides([score_cell(cell, outcome=self.sweep.outcome, mode=mode) for cell in cells])
            grown = (low - (below and low > -bound), high + (above and high < self.lattice.count + bound))
            if grown == (low, high):
                break
            low, high = grown
        return range(low, high)

    def _complete(self, span: range, rows: Rows) -> bool:
        return all(self.trial_id(index, seed) in rows for index in span for seed in self.sweep.seeds)

    def trials(self, rows: Rows) -> Iterator[PlannedTrial]:
        """Yield the base grid, the extensions that the stored rows ask for, and the probe run they allow."""
        span = self.span(rows)
        for index in span:
            for seed in self.sweep.seeds:
                yield self.trial(index, seed)
        run = self._probe(span, rows)
        if run is not None:
            yield run

    def missing(self, rows: Rows) -> tuple[int, list[Place]]:
        """Return how many trials there are, given what is stored, and the places of those that are not stored.

        Nothing is added to them until all of them are stored.
        """
        span = self.span(rows)
        places = [
            Place(False, number > 0, index, number)
            for index in span
            for number, seed in enumerate(self.sweep.seeds)
            if self.trial_id(index, seed) not in rows
        ]
        total = len(span) * len(self.sweep.seeds)
        run = None if places else self._probe(span, rows)
        if run is None:
            return total, places
        if run.trial_id not in rows:
            self._probe_run = run
            places = [Place(True, run.spec.seed != self.sweep.seeds[0], 0, 0)]
        return total + 1, places

    def _probe(self, span: range, rows: Rows) -> PlannedTrial | None:
        probes = self.sweep.probes
        if probes is None or self.batch_size not in probes.of(self.sweep.batch_sizes):
            return None
        if not self._complete(span, rows):
            return None
        cells = [[self.trial(index, seed) for seed in self.sweep.seeds] for index in span]
        return probe_run(cells, rows, sweep=self.sweep, probes=probes)

    def reachable(self) -> Iterator[tuple[int, int]]:
        """Yield rate number and seed of every trial that could come to be needed."""
        bound = self.sweep.extend.max_steps_per_side
        for index in range(-bound, self.lattice.count + bound):
            for seed in self.sweep.seeds:
                yield index, seed


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


def _around(spec: TrialSpec) -> tuple[str, str, str]:
    """Return the canonical text of ``spec`` before, between and after its rate and its seed."""
    gap = "\0"  # never in JSON, which escapes it
    values = spec.to_dict()
    items = (
        f"{canonical_json(key)}:{gap if key in ('learning_rate', 'seed') else canonical_json(values[key])}"
        for key in sorted(values)
    )
    before, between, after = f"{{{','.join(items)}}}".split(gap)
    return before, between, after
