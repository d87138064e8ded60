"""What it costs to start the workers of a group anew for each trial: seconds between two trials of two workers.

Both ways go through Ray Train inside Ray Tune. The platform keeps a group, its imports, data and process group, for
trial after trial; beside it, one that leaves after each trial, as a call of ``TorchTrainer.fit`` for each would.
"""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

TRIALS = {"reused": 12, "fresh": 4}

STUDY = """
name: groups
resources: {{workers: 2, max_concurrent: 1}}
sweeps:
  - name: quadratic
    workload: quadratic
    optimizer: sgd
    outcome: value_at_budget
    batch_sizes: [8]
    learning_rates: [0.1]
    seeds: {seeds}
    budget: {{steps: 20}}
    evaluation: {{points: 2}}
"""


def main() -> None:
    """Print the seconds between trials for both, and the time to the first trial."""
    print("seconds from a trial's end to the next one's begin, two workers (median), and until the first begins")
    for way, trials in TRIALS.items():
        # A process each: a cluster leaves its mark on the environment.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
            first, between = pool.submit(_seconds, way, trials).result()
        print(f"  {way:7} {between:8.2f} s   first after {first:.1f} s")


def _seconds(way: str, trials: int) -> tuple[float, float]:
    from results import ResultStore
    from study.design import Design
    from study.group_crew import GroupCrew
    from study.launch import run_missing
    from study.loading import load_study
    from study.resolve import resolve

    class OneTrial(GroupCrew):
        most_trials = 1

    watch, started = _Watch(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.yaml"
        path.write_text(STUDY.format(seeds=list(range(trials))), encoding="utf-8")
        study, store = resolve(load_study(path)), ResultStore(Path(folder) / "out")
        crew = OneTrial if way == "fresh" else None
        run_missing(study, Design(study.config), store, observer=watch, worker=crew)
        statuses = set(store.trials()["status"])
    assert statuses == {"exhausted"}, statuses
    assert len(watch.begun) == len(watch.ended) == trials
    pauses = [begun - ended for begun, ended in zip(watch.begun[1:], watch.ended, strict=False)]
    return watch.begun[0] - started, statistics.median(pauses)


class _Watch:
    def __init__(self) -> None:
        self.begun: list[float] = []
        self.ended: list[float] = []

    def started(self, trial: object) -> None:  # noqa: ARG002
        self.begun.append(time.monotonic())

    def stored(self, row: object) -> None:  # noqa: ARG002
        self.ended.append(time.monotonic())

    def __getattr__(self, name: str) -> Any:
        return lambda *_args, **_kwargs: None


if __name__ == "__main__":
    main()
