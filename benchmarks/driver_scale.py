"""What a trial costs the driver, and how its memory grows, from a hundred trials to a hundred thousand.

The trials do nothing: a worker answers at once with a fixed result. So only what hands out, hears and stores is
measured: the platform's own path, rows on disk included, and stock Ray Tune (a class trainable, actors reused, its own
callbacks) beside it. Run as ``python -m benchmarks.driver_scale 100 1000 10000 100000``.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

from .overhead import _private_ray

COUNTS = (100, 1000, 10_000)
STOCK_SECONDS = 900.0
CONCURRENT = 2
TABLE = Path(__file__).parents[1] / "results" / "reference" / "driver_scale.csv"
MIB = 2**20

STUDY = """
name: scale
resources: {{max_concurrent: 2}}
sweeps:
  - name: quadratic
    workload: quadratic
    optimizer: sgd
    outcome: value_at_budget
    batch_sizes: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
    learning_rates: [0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.1]
    seeds: {seeds}
    budget: {{steps: 20}}
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """One run. Memory is resident, in MiB, after the first tenth of the trials and at the end."""

    path: str
    asked: int
    trials: int
    seconds: float
    """From the first trial's begin to the last one's end: the cluster's start is left out."""
    first_tenth_ms: float
    """Milliseconds a trial; the processor's share of it below says more on a machine with other work."""
    last_tenth_ms: float
    driver_cpu_first_tenth_ms: float
    """Processor time of the driver, all threads, in milliseconds a trial."""
    driver_cpu_last_tenth_ms: float
    driver_first_mib: float
    driver_mib: float
    others_first_mib: float
    """Ray's own servers and, of the platform, the desk; no workers."""
    others_mib: float


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("counts", type=int, nargs="*", default=COUNTS)
    parser.add_argument("--stock-seconds", type=float, default=STOCK_SECONDS, help="Stock Tune is stopped after this.")
    parser.add_argument("--only", choices=("platform", "stock"))
    options = parser.parse_args() if __name__ == "__main__" else parser.parse_args([])
    rows = []
    for count in options.counts:
        for path, run in (("platform", _platform), ("stock", _stock)):
            if options.only in (None, path):
                rows.append(_apart(run, count, options.stock_seconds))
                print(rows[-1], flush=True)
    table = pd.DataFrame([dataclasses.asdict(row) for row in rows]).round(2)
    print(table.to_string(index=False))
    if __name__ == "__main__":
        if TABLE.exists():  # what was measured apart from these stays
            table = pd.concat([pd.read_csv(TABLE), table]).drop_duplicates(["path", "asked"], keep="last")
        table.sort_values(["path", "asked"]).to_csv(TABLE, index=False)


def _apart(run: Any, count: int, limit: float) -> Measured:
    # A process each: the platform sets Ray's environment up in its own way, which stock Tune must not inherit.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        return pool.submit(run, count, limit).result()


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Mark:
    trials: int
    seconds: float
    cpu_seconds: float
    own: float
    others: float
    """Memory of this process, and of those that it started, in MiB."""


class _Watch:
    """Notes times and memory as trials end."""

    def __init__(self, path: str, asked: int) -> None:
        self._path, self._asked = path, asked
        self._marks: list[_Mark] = []
        self.trials = 0

    def begun(self) -> None:
        if not self._marks:
            self._mark()

    def ended(self) -> None:
        self.trials += 1
        if self.trials % max(1, min(self._asked // 10, 1000)) == 0:
            self._mark()

    def _mark(self) -> None:
        others = 0
        for child in psutil.Process().children(recursive=True):
            try:
                name = " ".join(child.cmdline())
                if not any(word in name for word in ("_Idle", "_Nothing", "ray::IDLE", "ResourceTrainable")):
                    others += child.memory_info().rss
            except psutil.Error:
                continue
        self._marks.append(
            _Mark(
                trials=self.trials,
                seconds=time.perf_counter(),
                cpu_seconds=time.process_time(),
                own=psutil.Process().memory_info().rss / MIB,
                others=others / MIB,
            )
        )

    def measured(self) -> Measured:
        if self._marks[-1].trials != self.trials:
            self._mark()
        begin, end = self._marks[0], self._marks[-1]
        first = next(mark for mark in self._marks if mark.trials >= end.trials / 10)
        last = next(mark for mark in reversed(self._marks) if mark.trials <= 0.9 * end.trials)
        return Measured(
            path=self._path,
            asked=self._asked,
            trials=end.trials,
            seconds=end.seconds - begin.seconds,
            first_tenth_ms=1e3 * (first.seconds - begin.seconds) / first.trials,
            last_tenth_ms=1e3 * (end.seconds - last.seconds) / (end.trials - last.trials),
            driver_cpu_first_tenth_ms=1e3 * (first.cpu_seconds - begin.cpu_seconds) / first.trials,
            driver_cpu_last_tenth_ms=1e3 * (end.cpu_seconds - last.cpu_seconds) / (end.trials - last.trials),
            driver_first_mib=first.own,
            driver_mib=end.own,
            others_first_mib=first.others,
            others_mib=end.others,
        )


def _platform(count: int, limit: float) -> Measured:  # noqa: ARG001
    from results import ResultStore
    from study.design import Design
    from study.launch import run_missing
    from study.loading import load_study
    from study.resolve import resolve

    watch = _Watch("platform", count)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.yaml"
        path.write_text(STUDY.format(seeds=list(range(count // 100))), encoding="utf-8")
        study = resolve(load_study(path))
        store = ResultStore(Path(folder) / "out")
        summary = run_missing(study, Design(study.config), store, observer=_Observer(watch), worker=_idle_worker())
        assert summary.trials == watch.trials == len(store.trials(("trial_id",))) == count
    return watch.measured()


class _Observer:
    def __init__(self, watch: _Watch) -> None:
        self._watch = watch

    def started(self, trial: object) -> None:  # noqa: ARG002
        self._watch.begun()

    def stored(self, row: object) -> None:  # noqa: ARG002
        self._watch.ended()

    def advanced(self, trial: object, step: int) -> None:
        pass

    def lost(self, trial: object) -> None:
        pass

    def tick(self) -> None:
        pass


def _idle_worker() -> Any:
    from ray import tune

    from study.crew import facts, work
    from study.desk_actor import RemoteDesk
    from trainers.events import Finished, Measured

    class _Idle(tune.Trainable):
        def setup(self, config: Mapping[str, Any]) -> None:
            self._config = config
            gc.freeze()  # as the platform's worker does after its imports

        def step(self) -> dict[str, Any]:
            work(RemoteDesk(self._config["desk"]), crew=self._config["crew"], train=_answer, facts=facts())
            return {"done": True}

    def _answer(job: Mapping[str, Any]) -> Iterator[Any]:  # noqa: ARG001
        for step in (0, 20):
            yield Measured(step=step, examples=8 * step, train_seconds=0.0, values={"loss": 1.0})
        yield Finished(
            status="exhausted",
            message="",
            steps=20,
            examples=160,
            steps_to_target=None,
            value=1.0,
            train_seconds=0.001,
            evaluate_seconds=0.0,
            setup_seconds=0.0,
            probe_seconds=0.0,
            world_size=1,
            micro_batch_size=8,
            accumulation_steps=1,
            device_batch_size=8,
            dtype="float32",
            zero_stage=0,
            hardware="none",
        )

    return _Idle


def _stock(count: int, limit: float) -> Measured:
    watch = _Watch("stock", count)
    with _private_ray() as folder:
        os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # the new output prints tables even when silent
        import ray
        from ray import tune

        class _Nothing(tune.Trainable):
            def setup(self, config: Mapping[str, Any]) -> None:
                pass

            def reset_config(self, new_config: Mapping[str, Any]) -> bool:  # noqa: ARG002
                return True

            def step(self) -> dict[str, Any]:
                return {"done": True, "loss": 1.0}

        class _Listener(tune.Callback):
            def __getstate__(self) -> dict[str, Any]:
                return {}

            def on_trial_start(self, **info: Any) -> None:  # noqa: ARG002
                watch.begun()

            def on_trial_complete(self, **info: Any) -> None:  # noqa: ARG002
                watch.ended()

        ray.init(num_cpus=CONCURRENT, include_dashboard=False, log_to_driver=False)
        found = tune.Tuner(
            tune.with_resources(_Nothing, {"cpu": 1}),
            param_space={"learning_rate": tune.uniform(0, 1)},
            tune_config=tune.TuneConfig(num_samples=count, reuse_actors=True, time_budget_s=limit),
            run_config=tune.RunConfig(
                storage_path=os.path.join(folder, "tune"),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=0,
                callbacks=[_Listener()],
            ),
        ).fit()
        measured = watch.measured()
        assert not found.num_errors
        ray.shutdown()
        return measured


if __name__ == "__main__":
    main()
