"""The noise monitor's cost: monitored steps against bare ones, same model, same micro-batches, same optimiser."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from study.loading import find_study, load_study
from trainers.batching import cut
from trainers.noise_monitor import NoiseMonitor
from trainers.workloads import load_workload

ROUNDS = 12
STEPS = 8
MICRO_BATCHES = 2
EVERY = 16  # the monitor's default
REPEATS = 2_000


def main() -> None:
    """Print milliseconds a bare step, what a measured step costs beyond it, and the share of all steps by default.

    One model takes turns, a few steps each, bare and measured in changing order, so that a noisy neighbour slows both;
    what a measured step costs is the median over rounds. A step between measured ones runs the bare step's code but for
    calls that return at once, far below what a difference of steps can show: these are timed by themselves, with the
    hooks' coming and going. Seconds are the processor's, in which other work on the machine counts less.
    """
    torch.set_num_threads(1)
    sweep = next(sweep for sweep in load_study(find_study("quick")).config.sweeps if sweep.workload == "bert-mlm")
    workload = load_workload(sweep.workload, sweep.workload_settings)
    print(f"noise monitor against a bare loop (bert-mlm of the quick study, {MICRO_BATCHES} micro-batches, 1 thread)")
    print(f"{'batch size':>10}  {'bare ms':>8}  {'measured step':>14}  {'step between, ms':>17}  {f'every={EVERY}':>9}")
    for batch_size in sweep.batch_sizes:
        batch = next(iter(workload.train_batches(batch_size=batch_size, seed=0)))
        size = batch_size // MICRO_BATCHES
        pieces = [cut(batch, first, first + size) for first in range(0, batch_size, size)]
        model = workload.build_model(seed=0)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
        turns: dict[bool, list[float]] = {False: [], True: []}
        for number in range(ROUNDS + 1):
            for measured in (False, True) if number % 2 else (True, False):
                seconds = _turn(workload.loss, model, optimizer, pieces, measured=measured)
                if number:  # the first turn warms up
                    turns[measured].append(seconds / STEPS)
        bare = statistics.median(turns[False])
        extra = statistics.median(m - b for m, b in zip(turns[True], turns[False], strict=True))
        between = _resting_seconds(model, pieces) + _switching_seconds(model) / EVERY
        share = (extra / EVERY + between) / bare
        print(
            f"{batch_size:>10}  {1e3 * bare:>8.1f}  {extra / bare:>+14.2%}  {1e3 * between:>17.4f}  {share:>+9.2%}",
            flush=True,
        )


def _turn(
    loss: Callable[..., torch.Tensor],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    pieces: list[Any],
    *,
    measured: bool,
) -> float:
    """Take ``STEPS`` steps, all or none of them measured; return the processor's seconds.

    Building a monitor is not in them: it comes once a training. Reading the norms is, once a turn.
    """
    monitor = NoiseMonitor(model, every=1) if measured else None
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


def _resting_seconds(model: nn.Module, pieces: list[Any]) -> float:
    """Return the seconds of the monitor's calls in a step that it does not measure."""
    monitor = NoiseMonitor(model, every=10**9)
    monitor._advance()  # past the first step, which is measured
    start = time.process_time()
    for _ in range(REPEATS):
        for piece in pieces:
            monitor.after_micro_batch(examples=len(piece["tokens"]))
        with monitor.step():
            pass
    seconds = (time.process_time() - start) / REPEATS
    monitor.close()
    return seconds


def _switching_seconds(model: nn.Module) -> float:
    """Return the seconds in which hooks are taken off and put back on, once for each measured step."""
    monitor = NoiseMonitor(model, every=2)
    rounds = REPEATS // 20
    start = time.process_time()
    for _ in range(rounds):
        monitor._advance()
        monitor._advance()
    seconds = (time.process_time() - start) / rounds
    monitor.close()
    return seconds


if __name__ == "__main__":
    main()
