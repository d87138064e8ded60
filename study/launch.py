"""Running what is missing of a study on Ray Tune."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results import ResultStore

from .cluster import cluster, concurrency
from .design import Design, PlannedTrial
from .folder import stored_rows
from .resolve import ResolvedStudy, locate_workload
from .version import code_version

if TYPE_CHECKING:
    from .recorder import Observer, Recorder

RETRIES = 2
"""How often a trial is begun again when its worker is lost (killed, out of memory, machine gone)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What one call of ``run_missing`` did."""

    trials: int
    """Trials stored."""
    interrupted: bool
    """Whether a signal ended the study early; what was stored stays."""
    seconds: float
    concurrency: int
    train_seconds: float
    """Time inside optimiser steps, over all trials stored."""

    @property
    def train_share(self) -> float:
        """The part of the workers' time, from the cluster's start to its end, that was inside optimiser steps."""
        return self.train_seconds / (self.seconds * self.concurrency)


def run_missing(
    study: ResolvedStudy,
    design: Design,
    store: ResultStore,
    *,
    observer: Observer,
    rows: dict[str, Mapping[str, Any]] | None = None,
    address: str | None = None,
) -> RunSummary:
    """Run every trial that is not done, and those that the results then ask for.

    A finished trial is stored at once, so a crash loses the running trials only, and the same call goes on.

    Args:
        study: what the trials belong to.
        design: its trials.
        store: takes the rows; this process must be the only one that writes to it.
        observer: hears how it goes on.
        rows: what counts as done, by trial id [all that is stored]; what is stored from now on is added.
        address: a Ray cluster to join; none begins one on this machine.

    Raises:
        OSError: the storage refused a row; the study has stopped, all earlier rows are stored.
        ConfigError: no cluster, or no trial fits on it.
    """
    started = time.monotonic()
    rows = stored_rows(store) if rows is None else rows
    before = set(rows)
    with cluster(study.config.resources, address=address) as scratch:
        at_once = concurrency(study.config.resources)
        interrupted, recorder = _tune(study, design, store, rows, observer=observer, at_once=at_once, scratch=scratch)
    if recorder.storage_error is not None:
        raise recorder.storage_error
    store.compact()
    return RunSummary(
        trials=len(rows) - len(before),
        interrupted=interrupted,
        seconds=time.monotonic() - started,
        concurrency=at_once,
        # NaN where a trial failed before it could tell
        train_seconds=sum(
            row["train_seconds"] for id_, row in rows.items() if id_ not in before and row["train_seconds"] >= 0
        ),
    )


def _tune(
    study: ResolvedStudy,
    design: Design,
    store: ResultStore,
    rows: dict[str, Mapping[str, Any]],
    *,
    observer: Observer,
    at_once: int,
    scratch: Path,
) -> tuple[bool, Recorder]:
    from ray import tune

    from .recorder import Recorder
    from .sampler import MissingTrials
    from .stopping import StopOn
    from .worker import Worker

    resources = study.config.resources

    def settings(trial: PlannedTrial) -> dict[str, Any]:
        return {
            "workload": locate_workload(trial.spec.workload, study.folder),
            "cpus": resources.cpus_per_trial,
            "gpus": resources.gpus_per_trial,
        }

    sampler = MissingTrials(design, rows, settings=settings)
    recorder = Recorder(
        store=store,
        rows=rows,
        planned=sampler.planned,
        study=study.config.name,
        code_version=code_version(),
        arithmetic=study.arithmetic,
        observer=observer,
    )
    with _signals() as received:
        tuner = tune.Tuner(
            tune.with_resources(Worker, {"cpu": resources.cpus_per_trial, "gpu": resources.gpus_per_trial}),
            tune_config=tune.TuneConfig(
                search_alg=sampler,
                num_samples=-1,
                max_concurrent_trials=at_once,
                reuse_actors=True,
                trial_name_creator=_name,
                trial_dirname_creator=_name,
            ),
            run_config=tune.RunConfig(
                name=study.config.name,
                storage_path=str(scratch / "tune"),
                callbacks=[recorder],
                failure_config=tune.FailureConfig(max_failures=RETRIES),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False, checkpoint_frequency=0),
                stop=StopOn(lambda: bool(received) or recorder.storage_error is not None),
                verbose=0,
            ),
        )
        tuner.fit()
    return bool(received), recorder


def _name(trial: Any) -> str:
    return str(trial.config["trial_id"])


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect the first SIGINT or SIGTERM; a second one acts as it would have."""
    received: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def receive(number: int, frame: object) -> None:  # noqa: ARG001
        received.append(number)
        restore()

    for number in before:
        signal.signal(number, receive)
    try:
        yield received
    finally:
        restore()
