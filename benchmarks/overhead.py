"""Seconds a trial costs beyond its training: the platform, and a stock Ray Tune function trainable doing the same.

Both run the same short quadratic trials, two at a time. A run's fixed costs (starting Ray, importing torch) are taken
off by running few and many trials and dividing the difference.
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

FEW = 4
MANY = {"platform": 44, "stock": 14}
"""A stock trial takes twenty times as long: its process imports torch and DeepSpeed anew."""
CONCURRENT = 2

STUDY = """
name: overhead
resources: {{max_concurrent: 2}}
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
    """Print seconds per trial for both, and their ratio."""
    ours, stock = _per_trial(_platform, MANY["platform"]), _per_trial(_stock, MANY["stock"])
    print("overhead per trial beyond training (difference between runs of few and many trials)")
    print(f"  platform (actor reuse):         {ours:.2f} s")
    print(f"  stock Ray Tune function:        {stock:.2f} s")
    print(f"  stock / platform:               {stock / ours:.1f}")


def _per_trial(run: Any, many: int) -> float:
    # A process each: the platform sets Ray's environment up in its own way, which stock Tune must not inherit.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        (few_wall, few_train), (many_wall, many_train) = pool.map(run, (FEW, many))
    return (CONCURRENT * (many_wall - few_wall) - (many_train - few_train)) / (many - FEW)


def _platform(trials: int) -> tuple[float, float]:
    from results import ResultStore
    from study.design import Design
    from study.launch import run_missing
    from study.loading import load_study
    from study.resolve import resolve

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.yaml"
        path.write_text(STUDY.format(seeds=list(range(trials))), encoding="utf-8")
        study = resolve(load_study(path))
        store = ResultStore(Path(folder) / "out")
        start = time.perf_counter()
        run_missing(study, Design(study.config), store, observer=_Silent())
        wall = time.perf_counter() - start
        rows = store.trials()
        assert len(rows) == trials
        return wall, float((rows["train_seconds"] + rows["evaluate_seconds"]).sum())


class _Silent:
    def __getattr__(self, name: str) -> Any:
        return lambda *_args, **_kwargs: None


def _train(config: dict[str, Any]) -> None:
    import torch
    from ray import tune

    from trainers.loop import Finished, train
    from trainers.settings import TrainSettings
    from trainers.workloads import load_workload

    torch.set_num_threads(1)
    settings = TrainSettings.from_dict(
        {
            "batch_size": 8,
            "learning_rate": 0.1,
            "seed": config["seed"],
            "optimizer": "sgd",
            "optimizer_settings": {},
            "schedule": {"name": "constant"},
            "budget": {"steps": 20},
            "target": None,
            "evaluation": {"points": 2},
            "engine": {},
        }
    )
    for event in train(load_workload("quadratic", {}), settings):
        if isinstance(event, Finished):
            tune.report({k: v for k, v in dataclasses.asdict(event).items() if isinstance(v, float)})


def _stock(trials: int) -> tuple[float, float]:
    import ray
    from ray import tune

    with _private_ray() as folder:
        start = time.perf_counter()
        ray.init(num_cpus=CONCURRENT, include_dashboard=False, log_to_driver=False)
        tuner = tune.Tuner(
            tune.with_resources(_train, {"cpu": 1}),
            param_space={"seed": tune.grid_search(list(range(trials)))},
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        found = tuner.fit()
        wall = time.perf_counter() - start
        ray.shutdown()
        return wall, float(sum(r.metrics["train_seconds"] + r.metrics["evaluate_seconds"] for r in found))


@contextlib.contextmanager
def _private_ray() -> Iterator[str]:
    """Keep what Ray writes, its token included, out of the home folder."""
    with tempfile.TemporaryDirectory() as folder:
        before = os.environ.get("HOME")
        os.environ["HOME"] = folder
        try:
            yield folder
        finally:
            if before is not None:
                os.environ["HOME"] = before


if __name__ == "__main__":
    main()
