"""What every workload learns, against its baselines: ``python -m benchmarks.learned`` writes the table.

One run each, at the middle cell of the workload's preset: the middle batch size, the middle rate of its grid, the first
seed, the whole budget. Nothing is selected.
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

TABLE = Path(__file__).parents[1] / "results" / "reference" / "workloads.md"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Learned:
    """One line of the table.

    Attributes:
        cell: Preset, sweep, batch size and rate.
        metric: The outcome, and whether more of it is better.
        trained: Its value after the run; NaN where the run diverged.
        others: The workload's other metrics after it.
        baselines: What methods without this training reach, by name.
        ended: The run's status and message.
        seconds: Inside optimiser steps.
    """

    workload: str
    cell: str
    metric: str
    more_is_better: bool
    trained: float
    others: dict[str, float]
    baselines: dict[str, float]
    ended: str
    seconds: float

    @property
    def best_baseline(self) -> tuple[str, float] | None:
        """Name and value of the baseline that is hardest to beat."""
        best = max if self.more_is_better else min
        return best(self.baselines.items(), key=lambda item: item[1]) if self.baselines else None

    @property
    def margin(self) -> float:
        """By how much the run is better than the best baseline: negative where it is worse."""
        if self.best_baseline is None:
            return math.nan
        gain = self.trained - self.best_baseline[1]
        return gain if self.more_is_better else -gain

    def row(self) -> str:
        """Return the line in Markdown."""
        others = ", ".join(f"{name} {value:.3g}" for name, value in self.others.items())
        baselines = ", ".join(f"{name} {value:.3g}" for name, value in self.baselines.items()) or "–"
        margin = "–" if math.isnan(self.margin) else f"{self.margin:+.3g}"
        arrow = "↑" if self.more_is_better else "↓"
        parts = [
            f"`{self.workload}`",
            self.cell,
            f"{self.metric} {arrow}",
            f"**{self.trained:.3g}**",
            baselines,
            margin,
        ]
        return f"| {' | '.join([*parts, others or '–', self.ended, f'{self.seconds:.0f}'])} |"


HEAD = """# Learned against baseline

One run of each workload at the middle cell of its preset (middle batch size, middle rate, first seed, whole budget),
made by `python -m benchmarks.learned`. The margin is over the baseline that is hardest to beat; where it is negative,
the workload teaches nothing at this scale but its laws. Seconds are those inside optimiser steps, on one thread.

| workload | cell | outcome | trained | baselines | margin | other metrics | run | s |
|---|---|---|---|---|---|---|---|---|
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


def learn(name: str) -> Learned:
    """Train one workload and compare."""
    preset, sweep = find_sweep(name)
    spec = middle_cell(sweep)
    workload: Workload = load_workload(name, spec["workload_settings"])
    workload.prepare()
    settings = TrainSettings.from_dict(spec)
    metrics: dict[str, float] = {}
    for event in train(workload, settings):
        if isinstance(event, Measured):
            metrics = {key: event.values[key] for key in workload.metrics if key in event.values}
        elif isinstance(event, Finished):
            ended = event
    target = settings.target or workload.target
    # Baselines are told for the workload's own outcome, whatever the study's is.
    comparable = target.metric == workload.target.metric
    return Learned(
        workload=name,
        cell=f"{preset}/{sweep.name}, B = {settings.batch_size}, η = {settings.learning_rate:g}",
        metric=target.metric,
        more_is_better=target.mode == "max",
        trained=ended.value,
        others={key: value for key, value in metrics.items() if key != target.metric},
        baselines=workload.baselines() if comparable else {},
        ended=f"{ended.status} {ended.message}".strip(),
        seconds=ended.train_seconds,
    )


def main() -> None:
    """Train the workloads named, or all; print each line, and write the table where all were trained."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"of {', '.join(WORKLOADS)} [all]")
    named = parser.parse_args().workloads
    if unknown := [name for name in named if name not in WORKLOADS]:
        parser.error(f"{unknown[0]} is unknown; there are: {', '.join(WORKLOADS)}")
    prepare_process(threads=1)
    print(HEAD, end="", flush=True)
    rows = []
    for name in named or WORKLOADS:
        rows.append(learn(name).row())
        print(rows[-1], flush=True)
    if not named:
        foot = f"\nbatchlaw {code_version()} on {hardware_name()}.\n"
        TABLE.write_text(HEAD + "\n".join(rows) + "\n" + foot, encoding="utf-8")
        print(f"\nwritten: {TABLE}")


if __name__ == "__main__":
    main()
