"""What every workload learns, against its baselines: ``python -m benchmarks.learned`` writes the table.

One run each, at the middle cell of the workload's preset: the middle batch size, the middle rate of its grid, the first
seed, the whole budget. Nothing is selected. A second run of each shows how it fails.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from pathlib import Path
from typing import Any

from study.config import Sweep
from study.design import SweepDesign
from study.errors import ConfigError
from study.loading import load_study, presets
from study.resolve import resolve
from study.version import code_version
from trainers.engine import hardware_name, prepare_process
from trainers.loop import Finished, Measured, train
from trainers.settings import TrainSettings
from trainers.workload import Workload
from trainers.workloads import WORKLOADS, load_workload

from .learned_cases import BEFORE, CASES, Case, Failure

TABLE = Path(__file__).parents[1] / "results" / "reference" / "workloads.md"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """What came of a run.

    Attributes:
        first: The outcome before training.
        value: That after it; NaN where the run diverged.
        metrics: All metrics of the last evaluation.
        status: How it ended.
        seconds: Inside optimiser steps.
    """

    first: float
    value: float
    metrics: dict[str, float]
    status: str
    seconds: float

    def shown(self, metric: str) -> str:
        """Return ``metric`` as text; ``status`` is a metric too, and all that is left of a run that diverged."""
        if metric == "status" or self.status == "diverged":
            return self.status
        return f"{metric} {self.metrics[metric]:.3g}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Learned:
    """One line of each table.

    Attributes:
        cell: Preset, sweep, batch size and rate.
        metric: The outcome, and whether more of it is better.
        run: The learning run.
        failed: The failing one.
        baselines: What methods without this training reach, by name; among them the run's own start.
        case: What was asked for beforehand.
    """

    workload: str
    cell: str
    metric: str
    more_is_better: bool
    run: Run
    failed: Run
    baselines: dict[str, float]
    case: Case

    def margin_over(self, baseline: str) -> float:
        """By how much the run is better than a baseline: negative where it is worse, NaN where it diverged."""
        gain = self.run.value - self.baselines[baseline]
        return gain if self.more_is_better else -gain

    @property
    def hardest(self) -> str:
        """The name of the baseline that is hardest to beat."""
        return (max if self.more_is_better else min)(self.baselines, key=lambda name: self.baselines[name])

    @property
    def learns(self) -> bool:
        """Whether the margin that was asked for is there."""
        return self.margin_over(self.case.baseline) >= self.case.margin

    @property
    def fails(self) -> bool:
        """Whether the failing run fails as was expected of it."""
        failure, run = self.case.failure, self.failed
        if run.status == "diverged":
            return True
        value = math.nan if failure.metric == "status" else run.metrics[failure.metric]
        return value <= failure.at_most or value >= failure.at_least

    def row(self) -> str:
        """Return the line of what is learned, in Markdown."""
        arrow = "↑" if self.more_is_better else "↓"
        trivial, hardest = self.case.baseline, self.hardest
        parts = [
            f"`{self.workload}`",
            self.cell,
            f"{self.metric} {arrow}",
            f"**{self.run.value:.3g}**",
            f"{trivial} {self.baselines[trivial]:.3g}",
            f"{self.case.margin:+.3g}",
            f"{self.margin_over(trivial):+.3g}",
            "yes" if self.learns else "**no**",
            f"{hardest} {self.baselines[hardest]:.3g}: {self.margin_over(hardest):+.3g}",
            ", ".join(f"{name} {value:.3g}" for name, value in self.run.metrics.items() if name != self.metric) or "–",
            f"{self.run.seconds:.0f}",
        ]
        return f"| {' | '.join(parts)} |"

    def failure_row(self) -> str:
        """Return the line of how it fails, in Markdown."""
        failure = self.case.failure
        value = "–" if self.failed.status == "diverged" else f"{self.failed.value:.3g}"
        parts = [
            f"`{self.workload}`",
            failure.name,
            failure.sign,
            self.run.shown(failure.metric),
            self.failed.shown(failure.metric),
            "yes" if self.fails else "**no**",
            f"{self.run.value:.3g}",
            value,
        ]
        return f"| {' | '.join(parts)} |"


HEAD = """# Learned against baseline

One run of each workload at the middle cell of its preset (middle batch size, middle rate, first seed, whole budget),
made by `make learned`. Nothing is selected. The trivial baseline and the margin asked for stand in
`benchmarks/learned_cases.py`, written before these runs; what earlier ones missed is told there. The
hardest baseline is the best of all that the workload knows: where the margin over it is negative, a simpler method does
better at this scale. Seconds are those inside optimiser steps, on one thread.

| workload | cell | outcome | trained | trivial baseline | asked | margin | learns | hardest: margin | also | s |
|---|---|---|---|---|---|---|---|---|---|---|
"""

FAILURES = """
## Failures that are data

The same cell with one thing changed. None of these runs ends in an error: what went wrong is a status or a metric in
its row. The sign of the failure was written down before the runs.

| workload | changed | sign | learning run | failing run | seen | outcome, learning | outcome, failing |
|---|---|---|---|---|---|---|---|
"""


def find_sweep(workload: str) -> tuple[str, Sweep]:
    """Return the preset of a workload and the resolved first sweep there that trains it.

    The preset of the workload's own name comes first, then the quick one, then the others.

    Raises:
        ConfigError: no preset trains it.
    """
    for name, path in sorted(presets().items(), key=lambda item: (item[0] != workload, item[0] != "quick")):
        study = load_study(path)
        if any(sweep.workload == workload for sweep in study.config.sweeps):
            sweeps = resolve(study).config.sweeps
            return name, next(sweep for sweep in sweeps if sweep.workload == workload)
    raise ConfigError(f"no preset trains the workload {workload}; add study/presets/{workload}.yaml")


def middle_cell(sweep: Sweep) -> dict[str, Any]:
    """Return the specification of the sweep's middle cell, which runs its whole budget."""
    batch_size = sorted(sweep.batch_sizes)[len(sweep.batch_sizes) // 2]
    design = SweepDesign(sweep)
    trial = design.trial(batch_size, design.lattices[batch_size].count // 2, sweep.seeds[0])
    values = trial.spec.to_dict()
    return {**values, "budget": {**values["budget"], "stop_at_target": False}}


def spoiled(spec: dict[str, Any], failure: Failure) -> dict[str, Any]:
    """Return the specification with what ``failure`` changes."""
    return {
        **spec,
        "learning_rate": spec["learning_rate"] * failure.rate_factor,
        "workload_settings": {**spec["workload_settings"], **failure.settings},
    }


def carry_out(spec: dict[str, Any]) -> tuple[Run, Workload]:
    """Train as ``spec`` says."""
    workload = load_workload(spec["workload"], spec["workload_settings"])
    workload.prepare()
    measured: list[dict[str, float]] = []
    for event in train(workload, TrainSettings.from_dict(spec)):
        if isinstance(event, Measured):
            measured.append({name: event.values[name] for name in workload.metrics if name in event.values})
        elif isinstance(event, Finished):
            ended = event
    run = Run(
        first=measured[0][workload.target.metric],
        value=ended.value,
        metrics=measured[-1],
        status=ended.status,
        seconds=ended.train_seconds,
    )
    return run, workload


def learn(name: str) -> Learned:
    """Train one workload twice and compare."""
    preset, sweep = find_sweep(name)
    spec = middle_cell(sweep)
    case = CASES[name]
    run, workload = carry_out(spec)
    failed, _ = carry_out(spoiled(spec, case.failure))
    return Learned(
        workload=name,
        cell=f"{preset}/{sweep.name}, B = {spec['batch_size']}, η = {spec['learning_rate']:g}",
        metric=workload.target.metric,
        more_is_better=workload.target.mode == "max",
        run=run,
        failed=failed,
        baselines={BEFORE: run.first, **workload.baselines()},
        case=case,
    )


def page(found: list[Learned]) -> str:
    """Return both tables, in Markdown."""
    rows, failures = ([line(x) for x in found] for line in (Learned.row, Learned.failure_row))
    return HEAD + "\n".join(rows) + "\n" + FAILURES + "\n".join(failures) + "\n"


def main() -> None:
    """Train the workloads named, or all; print each line, and write the tables where all were trained."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"of {', '.join(WORKLOADS)} [all]")
    named = parser.parse_args().workloads
    if unknown := [name for name in named if name not in WORKLOADS]:
        parser.error(f"{unknown[0]} is unknown; there are: {', '.join(WORKLOADS)}")
    prepare_process(threads=1)
    for name in named or WORKLOADS:  # data that can't be had end it now, not after the others' runs
        load_workload(name, find_sweep(name)[1].workload_settings).prepare()
    found = []
    for number, name in enumerate(named or WORKLOADS, start=1):
        print(f"{number} of {len(named or WORKLOADS)}: {name}", flush=True)
        found.append(learn(name))
        print(f"{found[-1].row()}\n{found[-1].failure_row()}", flush=True)
    if not named:
        TABLE.write_text(f"{page(found)}\nbatchlaw {code_version()} on {hardware_name()}.\n", encoding="utf-8")
        print(f"\nwritten: {TABLE}")


if __name__ == "__main__":
    main()
