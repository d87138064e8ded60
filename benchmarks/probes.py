"""The cost of one full probe in training steps of the same total batch, counted and measured.

A full probe: two batch sizes and the curvature, eight draws each, at the defaults of the settings. Engine and probe
take turns, so that a noisy neighbour slows both; seconds are the processor's, in which it counts less.
"""

from __future__ import annotations

import statistics
import time

from trainers.engine import DeepSpeedEngine, prepare_process
from trainers.probes.probe import Probe
from trainers.settings import TrainSettings
from trainers.workloads import load_workload

CASES = (("bert-mlm", "adamw", 128), ("simsiam", "momentum", 128))
ROUNDS = 5
STEPS = 10


def main(rounds: int = ROUNDS) -> None:
    """Print, for each case, milliseconds a step and a probe, and the probe in steps: measured, and as it is counted."""
    prepare_process(threads=1)
    print("one full probe (two batch sizes, curvature, 8 draws) in training steps of the same total batch, 1 thread")
    print(f"{'workload':>10}  {'batch':>5}  {'step ms':>8}  {'probe ms':>8}  {'measured steps':>14}  {'counted':>7}")
    for name, optimizer, batch_size in CASES:
        workload = load_workload(name, {})
        settings = TrainSettings.from_dict(
            {
                "batch_size": batch_size,
                "learning_rate": 1e-3,
                "seed": 0,
                "optimizer": optimizer,
                "optimizer_settings": {},
                "schedule": {"name": "constant"},
                "budget": {"steps": 1},
                "target": None,
                "evaluation": {},
                "engine": {},
                "probes": {"quantities": ["two_batch", "curvature"], "draws": 8},
            }
        )
        engine, probe = DeepSpeedEngine(workload, settings), Probe(workload, settings)
        batches = workload.train_batches(batch_size=batch_size, seed=0)
        step_seconds, probe_seconds, counted = [], [], 0.0
        for turn in range(rounds + 1):
            start = time.process_time()
            for _ in range(STEPS):
                engine.step(next(batches), rate_factor=1.0)
            middle = time.process_time()
            measured = probe.measure(engine, step=turn)
            counted = measured.cost.equivalent_steps(batch_size)
            if turn:  # the first turn warms up
                step_seconds.append((middle - start) / STEPS)
                probe_seconds.append(time.process_time() - middle)
        ratio = statistics.median(p / s for p, s in zip(probe_seconds, step_seconds, strict=True))
        step_ms, probe_ms = (1e3 * statistics.median(seconds) for seconds in (step_seconds, probe_seconds))
        print(
            f"{name:>10}  {batch_size:>5}  {step_ms:>8.1f}  {probe_ms:>8.0f}  {ratio:>14.1f}  {counted:>7.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
