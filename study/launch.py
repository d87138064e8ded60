"""Running what is missing of a study on Ray Tune."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results import ResultStore
from results.schema import canonical_json

from .agenda import Agenda
from .capacity import worker_bundle
from .checkpoint_place import CheckpointPlace
from .cluster import cluster, nodes, spare_trackers
from .design import Design
from .dispatch import Dispatch
from .fits import Fits
from .folder import stored_outcomes
from .lane import PlannedTrial
from .outcomes import Outcomes
from .packaged import travelling
from .recorder import Listener, Observer, Recorder
from .resolve import ResolvedStudy, locate_workload
from .room import Room
from .terminal import line
from .version import code_digest, code_version

if TYPE_CHECKING:
    from ray import tune

MOST_CREWS = 10_000
"""Without a bound Tune starts one crew after the other; how many there are is for ``Crews`` to say."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What one call of ``run_missing`` did."""

    trials: int
    """Trials stored."""
    interrupted: bool
    """Whether a signal ended the study early; what was stored stays."""
    seconds: float
    concurrency: int
    """Trials that had room at a time; the most, where nodes joined or left."""
    worker_seconds: float
    """Time that there was room for a trial, from the cluster's start to its end, over all that had room at a time."""
    train_seconds: float
    """Time inside optimiser steps, over all trials stored."""

    @property
    def train_share(self) -> float:
        """The part of the workers' time that was inside optimiser steps."""
        return self.train_seconds / self.worker_seconds


def run_missing(
    study: ResolvedStudy,
    design: Design,
    store: ResultStore,
    *,
    observer: Observer,
    listener: Listener | None = None,
    outcomes: Outcomes | None = None,
    address: str | None = None,
    worker: type[tune.Trainable] | None = None,
) -> RunSummary:
    """Run every trial that is not done, and those that the results then ask for.

    A finished trial is stored at once, so a crash loses the running trials only, and the same call goes on.

    Args:
        study: what the trials belong to.
        design: its trials.
        store: takes the rows; this process must be the only one that writes to it.
        observer: hears how it goes on.
        listener: hears of every stored trial with its curves.
        outcomes: what counts as done [all that is stored]; what is stored from now on is added.
        address: a Ray cluster to join; none begins one on this machine.
        worker: a crew [``study.worker.Worker``; ``study.group_crew.GroupCrew`` where a trial has several workers].

    Raises:
        OSError: the storage refused a row; the study has stopped, all earlier rows are stored.
        ConfigError: no cluster, no trial fits on it, or no worker there can train.
    """
    started = time.monotonic()
    outcomes = stored_outcomes(store) if outcomes is None else outcomes
    recorder = Recorder(
        store=store,
        outcomes=outcomes,
        study=study.config.name,
        code_version=code_version(),
        arithmetic=study.arithmetic,
        observer=observer,
        listener=listener,
    )
    agenda = Agenda(design, outcomes)
    checkpoints = CheckpointPlace(store.storage, every_seconds=study.config.resources.checkpoint_seconds)
    fits = Fits(store)
    if fits.problem:
        _tell_user(fits.problem)
    try:
        with cluster(study.config.resources, address=address) as scratch:
            room = Room(study.config.resources, nodes, tell=_tell_user, since=started)
            if problem := checkpoints.open(is_stored=outcomes.__contains__):
                _tell_user(problem)
            interrupted = _tune(
                study,
                agenda,
                recorder,
                checkpoints=checkpoints,
                fits=fits,
                tick=observer.tick,
                room=room,
                scratch=scratch,
                worker=worker,
                at_home=address is None,
            )
    finally:  # once no crew is left that could write there
        checkpoints.close(is_stored=outcomes.__contains__, finished=agenda.finished)
    store.compact()
    return RunSummary(
        trials=recorder.trials,
        interrupted=interrupted,
        seconds=time.monotonic() - started,
        concurrency=room.most,
        worker_seconds=room.place_seconds(),
        train_seconds=recorder.train_seconds,
    )


def _tune(
    study: ResolvedStudy,
    agenda: Agenda,
    recorder: Recorder,
    *,
    checkpoints: CheckpointPlace,
    fits: Fits,
    tick: Callable[[], None],
    room: Room,
    scratch: Path,
    worker: type[tune.Trainable] | None,
    at_home: bool,
) -> bool:
    """Return whether a signal ended the study."""
    from ray import tune

    from .desk_actor import open_desk
    from .group_crew import GROUP_REQUEST, GroupCrew, group_settings, placement_groups_of
    from .sampler import Crews, Switchboard
    from .stopping import StopOn
    from .worker import Worker

    def job(trial: PlannedTrial) -> dict[str, str]:
        location = travelling(locate_workload(trial.spec.workload, study.folder))
        return {"spec": canonical_json(trial.spec.to_dict()), "workload": location}

    resources = study.config.resources
    desk = open_desk(code=code_digest())
    dispatch = Dispatch(
        agenda=agenda,
        desk=desk,
        recorder=recorder,
        job=job,
        places=room.places,
        retries=resources.retries,
        checkpoints=checkpoints,
        fits=fits,
        note=_tell_user,
    )
    dispatch.hear(*desk.collect(0.0))
    dispatch.hand_out()
    settings = {"desk": desk.actor, "cpus": resources.cpus_per_worker, "gpus": resources.gpus_per_worker}
    grouped, placement_groups = (resources.workers or 1) > 1, None
    request = tune.PlacementGroupFactory([worker_bundle(resources)])
    if grouped:
        settings |= group_settings(resources, code=code_digest(), at_home=at_home)
        request, placement_groups = GROUP_REQUEST, placement_groups_of(resources)

    def look() -> None:
        places = room.news()
        if places is not None:
            dispatch.make_room(places)

    with _signals() as received:
        crews = Crews(dispatch, settings, look=look, ended=lambda: bool(received))
        switchboard = Switchboard(
            dispatch,
            desk,
            crews,
            look=look,
            tick=tick,
            ended=lambda: bool(received),
            placement_groups=placement_groups,
        )
        spare_trackers()
        tuner = tune.Tuner(
            tune.with_resources(worker or (GroupCrew if grouped else Worker), request),
            tune_config=tune.TuneConfig(
                search_alg=crews,
                num_samples=-1,
                max_concurrent_trials=MOST_CREWS,
                trial_name_creator=_name,
                trial_dirname_creator=_name,
            ),
            run_config=tune.RunConfig(
                name=study.config.name,
                storage_path=str(scratch / "tune"),
                callbacks=[switchboard],
                failure_config=tune.FailureConfig(max_failures=0),  # another crew follows one that dies
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False, checkpoint_frequency=0),
                stop=StopOn(lambda: bool(received) or dispatch.finished or dispatch.failure is not None),
                verbose=0,
            ),
        )
        tuner.fit()
    if dispatch.failure is not None:
        raise dispatch.failure
    return bool(received)


def _tell_user(text: str) -> None:
    line(f"batchlaw: {text}", err=True)


def _name(trial: Any) -> str:
    return str(trial.config["crew"])


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
