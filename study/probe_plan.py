"""A probe without a sweep: one short run at a rate that is known to be good, for a small share of the sweep's price."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from trainers.errors import SettingsError

from .config import Sweep
from .design import AnyLane, Design, SweepDesign
from .errors import ConfigError
from .lane import Place, PlannedTrial, Rows
from .probe_runs import with_probes
from .resolve import ResolvedStudy, locate_workload

TRAINING_SHARE = 0.25
"""Of what may be spent, for the steps before the probes."""
FEWEST_DRAWS, ENOUGH_DRAWS, MOST_DRAWS = 4, 12, 64
"""Fewer draws than the first give no interval worth reading; more than the last hardly a narrower one."""
LARGE_BATCH, SMALL_BATCH = 64, 8
"""Examples of the two batches, and of the curvature batch, where the study says nothing of probes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProbePlan:
    """One probe run and its price.

    Attributes:
        run: what is run.
        points: steps before which it is probed.
        examples: examples of its training and, in gradients, of its probes.
        sweep_examples: the most that the sweep's own grid would train on.
    """

    run: PlannedTrial
    points: tuple[int, ...]
    examples: float
    sweep_examples: int

    @property
    def share(self) -> float:
        """The price as a share of the sweep's."""
        return self.examples / self.sweep_examples


class ProbeDesign(Design):
    """A study of probe runs alone."""

    def __init__(self, name: str, runs: Sequence[PlannedTrial]) -> None:
        """Take the runs, whatever is stored."""
        self.name = name
        self.sweeps = ()
        self._runs = list(runs)

    @property
    def lanes(self) -> Sequence[AnyLane]:
        """Each run by itself, in their order."""
        return [_Run(run) for run in self._runs]

    def trials(self, rows: Rows) -> list[PlannedTrial]:  # noqa: ARG002
        """Return the runs."""
        return list(self._runs)


class _Run:
    """A lane of one given run."""

    def __init__(self, run: PlannedTrial) -> None:
        self._run = run

    def missing(self, rows: Rows) -> tuple[int, list[Place]]:
        """Return that there is one trial, and its place unless it is stored."""
        return 1, [] if self._run.trial_id in rows else [Place(True, False, 0, 0)]

    def at(self, place: Place) -> PlannedTrial:  # noqa: ARG002
        """Return the run."""
        return self._run


def plan_probe(
    study: ResolvedStudy,
    sweep: Sweep,
    *,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    share: float = 0.02,
) -> ProbePlan:
    """Return the probe run that ``share`` of the sweep's examples pays for.

    A quarter of it goes into training. The rest buys probes at the end and, if there is enough for it, half-way, with
    as many draws as can be had. A sweep's own section ``probes`` says what is measured; else it is all that the
    derivations ask for, with the directions of the optimiser at every batch size of the sweep if it has no memory, or
    at that of the run, which its state belongs to.

    Args:
        study: resolved.
        sweep: of the study.
        batch_size: of the run [the middle one of the sweep's, the smaller of two].
        learning_rate: of the run [the middle one of the grid].
        share: of the examples of the sweep's grid.

    Raises:
        ConfigError: a batch size that the sweep has not, a share that buys no probe, or a script.
    """
    sizes = sorted(sweep.batch_sizes)
    batch_size = sizes[(len(sizes) - 1) // 2] if batch_size is None else batch_size
    if batch_size not in sizes:
        raise ConfigError(
            f"--batch-size must be one of the sweep's ({', '.join(map(str, sizes))}), but got {batch_size}"
        )
    design = SweepDesign(sweep)
    lattice = design.lattices[batch_size]
    trial = design.trial(batch_size, (lattice.count - 1) // 2, sweep.seeds[0])
    if learning_rate is not None:
        trial = dataclasses.replace(trial, spec=dataclasses.replace(trial.spec, learning_rate=learning_rate))
    whole = sum(
        design.lattices[size].count * len(sweep.seeds) * study.arithmetic[sweep.name, size].examples for size in sizes
    )
    allowed = share * whole
    steps = min(math.floor(TRAINING_SHARE * allowed / batch_size), study.arithmetic[sweep.name, batch_size].steps)
    left = allowed - steps * batch_size
    price = _Price(study, sweep, trial)
    for points, enough in (((steps // 2, steps), ENOUGH_DRAWS), ((steps,), FEWEST_DRAWS)):
        draws = price.most_draws(left / len(points))
        if draws >= enough and points[0] > 0:
            run = with_probes(trial, {**price.measurement, "draws": draws, "steps": list(points), "end_run": True})
            spent = steps * batch_size + len(points) * price.of(draws)
            return ProbePlan(run=run, points=points, examples=spent, sweep_examples=whole)
    need = (price.of(FEWEST_DRAWS) + batch_size) / (1.0 - TRAINING_SHARE) / whole
    raise ConfigError(
        f"{sweep.name}: {share:.3g} of the sweep's {whole:,} examples buys no probe of {FEWEST_DRAWS} draws at batch "
        f"size {batch_size}; give --share {need:.2g} or more, or a smaller --batch-size"
    )


class _Price:
    """What a probe of a run costs, by its number of draws."""

    def __init__(self, study: ResolvedStudy, sweep: Sweep, trial: PlannedTrial) -> None:
        from trainers.script import Script
        from trainers.workloads import load_workload

        self._trial = trial
        self._workload = load_workload(locate_workload(sweep.workload, study.folder), sweep.workload_settings)
        if isinstance(self._workload, Script):
            raise ConfigError(
                f"{sweep.name}: the script {self._workload.name} trains by itself, so nothing can be measured in it; "
                "write a class, or choose other sweeps with --sweep"
            )
        self.measurement = (
            _usual_measurement(sweep, trial, coupled=not self._workload.examples_are_independent)
            if sweep.probes is None
            else sweep.probes.measurement_at(trial.spec.batch_size)
        )

    def of(self, draws: int) -> float:
        """Return the price of one probe in examples, each counted as one that is trained on."""
        from trainers.probes.probe import Probe
        from trainers.settings import TrainSettings

        spec = self._trial.spec
        probed = dataclasses.replace(spec, probes={**self.measurement, "draws": draws, "steps": [0]})
        try:
            return spec.batch_size * Probe(self._workload, TrainSettings.from_dict(probed.to_dict())).planned_steps
        except SettingsError as error:
            raise ConfigError(f"{self._trial.sweep}: {str(error).removeprefix('trial.')}") from None

    def most_draws(self, examples: float) -> int:
        """Return the most draws that ``examples`` pay for, up to ``MOST_DRAWS``; 0 for none."""
        few, many = self.of(1), self.of(2)
        return max(0, min(MOST_DRAWS, 1 + math.floor((examples - few) / (many - few))))


def _usual_measurement(sweep: Sweep, trial: PlannedTrial, *, coupled: bool) -> dict[str, Any]:
    from analysis.derived import Optimizer

    optimizer = Optimizer(name=sweep.optimizer, settings=sweep.optimizer_settings)
    batch_size = trial.spec.batch_size
    has_memory = optimizer.noise_factor < 1.0 or optimizer.name not in ("sgd", "sign-sgd")
    measurement: dict[str, Any] = {
        "quantities": ["two_batch", "curvature", "one_step"],
        "ladder": [batch_size] if has_memory else sorted(sweep.batch_sizes),
    }
    if coupled:  # the sizes that the loss couples are the trainers' to choose
        return measurement
    large = max(LARGE_BATCH, batch_size)
    return measurement | {
        "large_batch_size": large,
        "small_batch_size": SMALL_BATCH,
        "curvature_batch_size": LARGE_BATCH,
        "reference_batch_size": 4 * LARGE_BATCH,
    }
