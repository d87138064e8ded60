"""A crew's work: ask the desk for a trial, train it, tell what came of it, and again, until the desk says stop."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import gc
import importlib
import json
import os
import socket
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Protocol

from results import Status

from .desk import Job
from .errors import first_line
from .version import code_digest, code_version

TELL_SECONDS = 1.0

Train = Callable[[Job], Generator[Any, None, None]]
"""Yields the events of a job's training (``trainers.events``), the last one ``Finished``."""


class CrewsDesk(Protocol):
    """What a crew asks of the desk; see ``study.desk.Desk``. ``ask`` may take a while when there is nothing to do."""

    def ask(self, crew: str, facts: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a job, ``WAIT`` or ``STOP``."""

    def advance(self, crew: str, job: Job, step: int) -> bool:
        """Return whether to go on."""

    def end(self, crew: str, job: Job, result: Mapping[str, Any]) -> None:
        """Take the result of a job."""

    def refuse(self, crew: str, job: Job | None, reason: str) -> None:
        """Take note that this crew can't train."""


class CannotTrain(Exception):
    """This process can't train what it was given, but another one perhaps can: no fault of the trial."""


def facts() -> dict[str, str]:
    """Return what the desk wants to know of this process."""
    where = f"process {os.getpid()} on {socket.gethostname()}"
    return {"where": where, "version": code_version(), "code": code_digest()}


def work(desk: CrewsDesk, *, crew: str, train: Train, facts: Mapping[str, Any]) -> None:
    """Train what ``desk`` gives until it says stop.

    Args:
        desk: where to ask.
        crew: this crew's name, used once.
        train: how. ``CannotTrain`` ends this crew's usefulness, not the trial; any other exception ends the trial as
            ``failed``.
        facts: see ``Desk.ask``.
    """
    while (answer := desk.ask(crew, facts))["kind"] != "stop":
        if answer["kind"] == "job":
            job = {key: value for key, value in answer.items() if key != "kind"}
            _train(desk, crew, job, train)
            gc.collect()  # frees the model before the next one is built


def _train(desk: CrewsDesk, crew: str, job: Job, train: Train) -> None:
    from trainers.events import Finished

    started_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    told = time.perf_counter()
    points: list[dict[str, Any]] = []
    probes: list[dict[str, Any]] = []
    outcome = _failed("RuntimeError: training ended without a result")
    try:
        with contextlib.closing(train(job)) as events:
            for event in events:
                if isinstance(event, Finished):
                    outcome = dataclasses.asdict(event)
                    break
                points += _points(event)
                probes += [dataclasses.asdict(row) for row in getattr(event, "rows", ())]
                if time.perf_counter() - told >= TELL_SECONDS:
                    if not desk.advance(crew, job, event.step):
                        return
                    told = time.perf_counter()
    except CannotTrain as error:
        desk.refuse(crew, job, str(error))
        return
    except Exception as error:
        outcome = _failed(f"{type(error).__name__}: {first_line(error)}")
    desk.end(crew, job, {"outcome": {**outcome, "started_at": started_at}, "points": points, "probes": probes})


def _points(event: Any) -> Sequence[dict[str, Any]]:
    return [
        {"step": event.step, "examples": event.examples, "name": name, "value": float(value)}
        for name, value in getattr(event, "values", {}).items()
    ]


def _failed(message: str) -> dict[str, Any]:
    return {"status": str(Status.FAILED), "message": message}


class Training:
    """What trains in this process: imports and threads are set up once, workloads with their data are kept."""

    def __init__(self) -> None:
        """Keep no workload yet."""
        self._workloads: dict[str, Any] = {}

    def prepare(self, *, cpus: int, gpus: float) -> None:
        """Prepare the process, so that no trial's clock counts imports."""
        if not gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before torch is imported; Ray no longer hides GPUs
        importlib.import_module("trainers.loop")
        importlib.import_module("trainers.engine").prepare_process(threads=cpus)
        gc.freeze()  # what the imports made stays: without it each collection would walk through all of it

    def events(self, job: Job) -> Generator[Any, None, None]:
        """Yield the events of a job, whose ``spec`` is the specification and ``workload`` says where its code is.

        Raises:
            CannotTrain: the workload's data can't be had here.
        """
        from trainers.errors import DataError
        from trainers.loop import train
        from trainers.script import Script
        from trainers.script_run import run_script
        from trainers.settings import TrainSettings
        from trainers.workloads import load_workload

        spec = json.loads(job["spec"])
        # Loading a workload may read a data set; trials that share it share the object.
        key = json.dumps([job["workload"], spec["workload_settings"]], sort_keys=True)
        try:
            if key not in self._workloads:
                self._workloads = {key: load_workload(job["workload"], spec["workload_settings"])}
            workload, settings = self._workloads[key], TrainSettings.from_dict(spec)
            yield from run_script(workload, settings) if isinstance(workload, Script) else train(workload, settings)
        except DataError as error:
            raise CannotTrain(f"process {os.getpid()} on {socket.gethostname()}: {first_line(error)}") from error
