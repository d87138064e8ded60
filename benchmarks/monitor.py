"""The noise monitor's cost: monitored steps against bare ones, same model, same micro-batches, same optimiser."""

from __future__ import annotations

import contextlib
import statistics
import time

import torch

from study.loading import find_study, load_study
from trainers.batching import cut
from trainers.noise_monitor import NoiseMonitor
from trainers.workloads import load_workload

ROUNDS = 30
STEPS = 16
MICRO_BATCHES = 2
EVERY = (1, 16)  # 16 is the monitor's default


def main() -> None:
    """Print milliseconds a bare step and the monitored step's share beyond it, for the quick study's bert-mlm.

    One model takes turns, a few steps each, bare and monitored in changing order, so that a noisy neighbour slows all;
    the share is the median over rounds. Seconds are the processor's, in which other work on the machine counts less.
    """
    torch.set_num_threads(1)
    sweep = next(sweep for sweep in load_study(find_study("quick")).config.sweeps if sweep.workload == "bert-mlm")
    workload = load_workload(sweep.workload, sweep.workload_settings)
    print(f"noise monitor against a bare loop (bert-mlm of the quick study, {MICRO_BATCHES} micro-batches, 1 thread)")
    print(f"{'batch size':>10}  {'bare ms':>8}" + "".join(f"  {f'every={every}':>9}" for every in EVERY))
    for batch_size in sweep.batch_sizes:
        batch = next(iter(workload.train_batches(batch_size=batch_size, seed=0)))
        size = batch_size // MICRO_BATCHES
        pieces = [cut(batch, first, first + size) for first in range(0, batch_size, size)]
        model = workload.build_model(seed=0)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
        times: dict[int | None, list[float]] = {None: [], **{every: [] for every in EVERY}}
        ways = list(times)
        for turn in range(ROUNDS + 1):
            for way in ways:
                seconds = _turn(workload.loss, model, optimizer, pieces, every=way)
                if turn:  # the first turn warms up
                    times[way].append(seconds)
            ways = ways[1:] + ways[:1]
        bare = times[None]
        line = f"{batch_size:>10}  {1e3 * statistics.median(bare) / STEPS:>8.1f}"
        for every in EVERY:
            share = statistics.median(m / b for m, b in zip(times[every], bare, strict=True)) - 1
            line += f"  {share:>+9.2%}"
        print(line, flush=True)


def _turn(loss, model, optimizer, pieces, *, every) -> float:
    """Take ``STEPS`` steps, one in ``every`` measured (none where it is ``None``); return the processor's seconds.

    Building a monitor is not in them: it comes once a training. Reading the norms is, once a turn.
    """
    monitor = None if every is None else NoiseMonitor(model, every=every)
    start = time.process_time()
    for _ in range(STEPS):
        for piece in pieces:
            (loss(model, piece) / len(pieces)).backward()
            if monitor:
                monitor.after_micro_batch(examples=len(piece["tokens"]))
        with monitor.step() if monitor else contextlib.nullcontext():
            optimizer.step()
        optimizer.zero_grad()
    if monitor:
        monitor.close()
    return time.process_time() - start


if __name__ == "__main__":
    main()
