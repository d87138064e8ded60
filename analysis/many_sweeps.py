"""The analysis of many sweeps, one after the other or in several processes."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed

import pandas as pd

from .cells import Outcome
from .study_analysis import TABLES, Analysis, analyse

WORTH_A_PROCESS = 4
"""Sweeps for which it pays to start one more process: it takes about a second to import what it needs."""
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Environment of the processes: each has a core to itself, so that threads would only wait for each other."""


def analyse_each(
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    *,
    outcomes: Mapping[str, Outcome],
    seed: int = 0,
    resamples: int = 200,
    processes: int = 1,
    done: Callable[[], object] = lambda: None,
) -> Analysis:
    """Return what ``study_analysis.analyse`` returns for all sweeps together, and call ``done`` after each sweep.

    Sweeps share no draws, so that each can be analysed with its own rows in hand alone, anywhere: the answer does not
    depend on ``processes``.

    Args:
        trials: as for ``analyse``.
        curves: kept for the report.
        outcomes: sweep -> what decides which rate is best.
        seed: decides the resampling.
        resamples: draws of every bootstrap, at least 40.
        processes: how many to use at most; fewer where sweeps are few. With more than one, the caller's main module
            must be safe to import, as for all of ``multiprocessing``.
        done: called after each sweep.

    Raises:
        ValueError: as ``analyse``.
    """
    by_sweep = dict(iter(trials.groupby("sweep", sort=False)))
    tasks = [(by_sweep[sweep], curves.iloc[:0], outcome, sweep, seed, resamples) for sweep, outcome in outcomes.items()]
    parts: list[Analysis] = []
    with _runner(min(processes, len(tasks) // WORTH_A_PROCESS)) as run:
        for part in run(tasks):
            parts.append(part)
            done()
    order = {sweep: i for i, sweep in enumerate(outcomes)}
    parts.sort(key=lambda part: order[next(iter(part.outcomes))])
    tables = {name: _stack([getattr(part, name) for part in parts]) for name in TABLES}
    return dataclasses.replace(parts[0], outcomes=dict(outcomes), curves=curves, **tables)


Task = tuple[pd.DataFrame, pd.DataFrame, Outcome, str, int, int]
Runner = Callable[[list[Task]], Iterator[Analysis]]


@contextlib.contextmanager
def _runner(processes: int) -> Iterator[Runner]:
    """Give a function that analyses tasks and yields the answers as they come."""
    if processes < 2:
        yield lambda tasks: map(_analyse_one, tasks)
        return
    with (
        _one_thread_each(),
        ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool,
    ):

        def run(tasks: list[Task]) -> Iterator[Analysis]:
            futures: list[Future[Analysis]] = [pool.submit(_analyse_one, task) for task in tasks]
            return (future.result() for future in as_completed(futures))

        try:
            yield run
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """Set what new processes read when they import their libraries; this one's have read it already."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _analyse_one(task: Task) -> Analysis:
    trials, curves, outcome, sweep, seed, resamples = task
    return analyse(trials, curves, outcomes={sweep: outcome}, seed=seed, resamples=resamples)


def _stack(frames: list[pd.DataFrame]) -> pd.DataFrame:
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else frames[0]
