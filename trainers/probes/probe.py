"""One probe: everything that the settings ask for, at the weights and optimiser state of a moment."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import torch

from ..engine import Engine
from ..seeding import mix
from ..settings import TrainSettings
from ..workload import Batch, Workload
from .cost import ProbeCost, check_cost, planned_cost
from .curvature import CurvatureRows, add_l1, add_noise_to_signal
from .gradients import HeldLoss, Vector
from .hessian import CurvatureBatch
from .isolation import copy_model, isolated
from .line_search import LineSearch
from .one_step import Ladder, add_update
from .per_example import per_example
from .rows import ProbeRow, Rows
from .sizes import ProbeSizes, resolve_sizes
from .two_batch import two_batch
from .workers import Workers

# Numbers of a probe's own random streams; those of a run are below 20.
_ALL, _REFERENCE, _CURVATURE, _DRAWS, _DRAW_NOISE, _WARM, _SIGNS, _LINE = range(20, 28)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measurement:
    """The rows of one probe and what they cost."""

    rows: tuple[ProbeRow, ...]
    cost: ProbeCost


class Probe:
    """Measures one run, as often as it is asked; each time with examples of its own, which (seed, step) decide."""

    def __init__(self, workload: Workload, settings: TrainSettings) -> None:
        """Check that the settings' probes can be had for ``workload``.

        Raises:
            SettingsError: Sizes that don't fit together or to the workload's loss, or a cost beyond the bound.
        """
        assert settings.probes is not None
        self._workload, self._settings, self._probes = workload, settings, settings.probes
        settings.check_for(workload)
        sizes, workers = self._sizes(settings.plan().micro_batch_size), settings.engine.workers
        check_cost(self._probes, sizes, batch_size=settings.batch_size, workers=workers)
        planned = planned_cost(self._probes, sizes, workers=workers)
        self.planned_steps = planned.equivalent_steps(settings.batch_size)
        """What one measurement costs, in training steps of the run's batch size."""

    def _sizes(self, free_pass: int) -> ProbeSizes:
        engine = self._settings.engine
        return resolve_sizes(
            self._probes,
            batch_size=self._settings.batch_size,
            # Several workers couple no more examples than each one's share.
            micro_batch_size=engine.micro_batch_size if engine.workers == 1 else self._settings.plan().micro_batch_size,
            free_pass=free_pass,
            independent=self._workload.examples_are_independent,
            coupled_examples=self._workload.coupled_examples,
        )

    def measure(self, engine: Engine, *, step: int) -> Measurement:
        """Measure at the weights and the optimiser's state of ``engine``, which is not changed.

        All workers of the run call it at the same step and get the same rows.

        Args:
            engine: That of the run, with its model in training mode.
            step: Optimiser steps taken.

        Raises:
            SettingsError: The model can't be copied, or a pass does not fit into memory.
        """
        workers = Workers.of(engine.plan.world_size)
        device = next(engine.model.parameters()).device
        with isolated(device, seed=mix(self._settings.seed, step, _ALL) + workers.rank):
            sizes = self._sizes(engine.plan.micro_batch_size)
            return _Measuring(self._workload, self._settings, sizes, engine=engine, workers=workers, step=step).run()


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Reference:
    """What all draws of a probe are set against: examples apart from theirs, the gradient and H on them."""

    batch: Batch
    gradient: Vector
    curvature: CurvatureBatch
    rows: CurvatureRows


class _Measuring:
    """One measurement, with its streams of examples."""

    def __init__(
        self,
        workload: Workload,
        settings: TrainSettings,
        sizes: ProbeSizes,
        *,
        engine: Engine,
        workers: Workers,
        step: int,
    ) -> None:
        assert settings.probes is not None
        self._workload, self._settings, self._probes, self._sizes = workload, settings, settings.probes, sizes
        self._engine, self._workers, self._step = engine, workers, step
        self._model = engine.whole_model()
        self._cost = ProbeCost()
        self._loss = self._held_loss()
        self._rows = Rows(
            step=step,
            examples=step * settings.batch_size,
            scopes=self._loss.names,
            per_layer=self._probes.per_layer,
        )

    def run(self) -> Measurement:
        asks = self._probes.asks_for
        reference = self._reference() if asks("curvature", "one_step", "line_search") else None
        ladder = self._ladder() if self._sizes.ladder else None
        lines = self._lines(reference) if reference and asks("line_search") else None
        if reference and asks("curvature"):
            add_l1(reference.gradient, self._sizes, self._rows)
        batches = self._stream(self._sizes.draw, _DRAWS)
        for draw in range(self._probes.draws):
            torch.manual_seed(self._seed(_DRAW_NOISE, draw) + self._workers.rank)
            self._measure_draw(draw, next(batches), reference, ladder, lines)
        return Measurement(rows=tuple(self._rows.rows), cost=self._cost)

    def _measure_draw(
        self, draw: int, batch: Batch, reference: _Reference | None, ladder: Ladder | None, lines: LineSearch | None
    ) -> None:
        asks, sizes, rows = self._probes.asks_for, self._sizes, self._rows
        vectors: list[Vector] = []
        if asks("two_batch", "per_example", "curvature"):
            drawn = two_batch(self._loss, batch, sizes, rows, draw=draw)
            if asks("per_example") and draw < self._probes.per_example_draws:
                per_example(self._loss, batch, sizes, rows, draw=draw)
            if reference and asks("curvature"):
                vectors = reference.rows.vectors(drawn, draw=draw, seed=self._seed(_SIGNS, draw))
                add_noise_to_signal(drawn, reference.gradient, sizes, rows, draw=draw)
        directions = ladder.directions(self._loss, batch) if ladder else {}
        if lines:
            for batch_size, direction in directions.items():
                lines.add(direction, rows, batch_size=batch_size, draw=draw)
        steps = list(directions.values()) if asks("one_step") else []
        if reference is None or not vectors + steps:
            return
        products = reference.curvature.products(vectors + steps)
        if vectors:
            reference.rows.add(drawn, vectors, products[: len(vectors)], draw=draw)
        if steps:
            add_update(directions, products[len(vectors) :], reference.gradient, rows, draw=draw)

    def _reference(self) -> _Reference:
        sizes = self._sizes
        batch = next(self._stream(sizes.reference, _REFERENCE))
        gradient: Vector = []
        if self._probes.asks_for("curvature", "one_step"):
            gradient = self._loss.gradient(batch, size=sizes.reference, pass_size=sizes.reference_pass)
        curvature = CurvatureBatch(
            self._loss, batch, size=sizes.curvature, pass_size=sizes.curvature_pass, seed=self._seed(_CURVATURE)
        )
        rows = CurvatureRows(gradient, sizes, self._rows)
        return _Reference(batch=batch, gradient=gradient, curvature=curvature, rows=rows)

    def _ladder(self) -> Ladder:
        return Ladder(
            self._workload,
            self._settings,
            self._sizes,
            model=self._model,
            optimizer=None if self._probes.warm_steps else self._engine.whole_optimizer(self._model),
            warm={size: self._stream(size, _WARM, size) for size in self._sizes.ladder},
        )

    def _lines(self, reference: _Reference) -> LineSearch:
        return LineSearch(
            self._held_loss(),
            reference.batch,
            self._sizes,
            rates=[self._settings.learning_rate * factor for factor in self._probes.line_rate_factors],
            seed=self._seed(_LINE) + self._workers.rank,
        )

    def _held_loss(self) -> HeldLoss:
        return HeldLoss(self._workload, copy_model(self._model), self._cost, self._workers)

    def _stream(self, batch_size: int, *kind: int) -> Iterator[Batch]:
        return self._workload.train_batches(batch_size=batch_size, seed=self._seed(*kind))

    def _seed(self, *kind: int) -> int:
        return mix(self._settings.seed, self._step, *kind)
