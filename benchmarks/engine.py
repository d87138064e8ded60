"""The engine's step against a bare PyTorch loop: same model, same batches, same optimiser."""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch

from study.loading import find_study, load_study
from tests.trainers.helpers import BareEngine
from trainers.engine import DeepSpeedEngine
from trainers.settings import TrainSettings
from trainers.workloads import load_workload

ROUNDS = 15
STEPS = 10


def main() -> None:
    """Print milliseconds a step and bare / engine for each batch size of the quick study's bert-mlm sweep.

    The two take turns, a few steps each, so that a noisy neighbour slows both; the ratio is the median over turns.
    """
    torch.set_num_threads(1)
    sweep = next(sweep for sweep in load_study(find_study("quick")).config.sweeps if sweep.workload == "bert-mlm")
    workload = load_workload(sweep.workload, sweep.workload_settings)
    print("engine step against a bare loop (bert-mlm of the quick study, 1 thread)")
    print(f"{'batch size':>10}  {'bare ms':>8}  {'engine ms':>9}  {'bare / engine':>13}")
    for batch_size in sweep.batch_sizes:
        settings = TrainSettings.from_dict(
            {
                "batch_size": batch_size,
                "learning_rate": 1e-3,
                "seed": 0,
                "optimizer": sweep.optimizer,
                "optimizer_settings": sweep.optimizer_settings,
                "schedule": {"name": "constant"},
                "budget": {"steps": 1},
                "target": None,
                "evaluation": {},
                "engine": {},
            }
        )
        engines: list[Any] = [BareEngine(workload, settings), DeepSpeedEngine(workload, settings)]
        batches = workload.train_batches(batch_size=batch_size, seed=0)
        fixed = [next(batches) for _ in range(STEPS)]
        times: list[list[float]] = [[], []]
        for turn in range(ROUNDS + 1):
            for engine, seconds in zip(engines, times, strict=True):
                start = time.perf_counter()
                for batch in fixed:
                    engine.step(batch, rate_factor=1.0)
                if turn:  # the first turn warms up
                    seconds.append(time.perf_counter() - start)
        ratio = statistics.median(b / e for b, e in zip(*times, strict=True))
        bare, engine_ms = (1e3 * statistics.median(seconds) / STEPS for seconds in times)
        print(f"{batch_size:>10}  {bare:>8.1f}  {engine_ms:>9.1f}  {ratio:>13.3f}", flush=True)


if __name__ == "__main__":
    main()
