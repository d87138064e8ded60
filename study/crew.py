"""A crew's work: ask the desk for a trial, train it, tell what came of it, and again, until the desk says stop."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import gc
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

    def advance(self, crew: str, job: Job, step: int, kept: int = 0) -> bool:
        """Take note of the step, and of the last checkpoint's; return whether to go on."""

    def end(self, crew: str, job: Job, result: Mapping[str, Any]) -> None:
        """Take the result of a job."""

    def refuse(self, crew: str, job: Job | None, reason: str) -> None:
        """Take note that this crew can't train."""

    def shrink(self, crew: str, job: Job, *, hardware: str, micro_batch_at_most: int, reason: str) -> None:
        """Take note that a job has to be begun again with a smaller micro-batch."""

    def note(self, line: str) -> None:
        """Take what the user should know."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Noted:
    """An event of a job's training: something that the user should know, in one line."""

    line: str


class CannotTrain(Exception):
    """This process can't train what it was given, but another one perhaps can: no fault of the trial."""


def facts() -> dict[str, str]:
    """Return what the desk wants to know of this process."""
    from trainers.process import hardware_name

    where = f"process {os.getpid()} on {socket.gethostname()}"
    return {"where": where, "version": code_version(), "code": code_digest(), "hardware": hardware_name()}


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
            train_job(desk, crew, job, train)
            gc.collect()  # frees the model before the next one is built


def train_job(desk: CrewsDesk, crew: str, job: Job, train: Train) -> None:
    """Train one job, and tell ``desk`` how it goes on and what came of it."""
    from trainers.events import Finished
    from trainers.memory import DoesNotFit
    from trainers.process import hardware_name

    started_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    told, kept = time.perf_counter(), 0
    points: list[dict[str, Any]] = []
    probes: list[dict[str, Any]] = []
    outcome = _failed("RuntimeError: training ended without a result")
    notes = _Notes(job)
    try:
        with contextlib.closing(train(job)) as events:
            for event in events:
                if isinstance(event, Finished):
                    outcome = dataclasses.asdict(event)
                    break
                for line in notes.of(event):
                    desk.note(line)
                if isinstance(event, Noted):
                    continue
                points += _points(event)
                probes += [dataclasses.asdict(row) for row in getattr(event, "rows", ())]
                newly_kept = _kept_step(event)
                if newly_kept or time.perf_counter() - told >= TELL_SECONDS:
                    kept = newly_kept or kept
                    if not desk.advance(crew, job, event.step, kept):
                        return
                    told = time.perf_counter()
    except CannotTrain as error:
        desk.refuse(crew, job, str(error))
        return
    except DoesNotFit as error:
        at_most = error.micro_batch_at_most
        desk.shrink(crew, job, hardware=hardware_name(), micro_batch_at_most=at_most, reason=first_line(error))
        return
    except Exception as error:
        outcome = _failed(f"{type(error).__name__}: {first_line(error)}")
    desk.end(crew, job, {"outcome": {**outcome, "started_at": started_at}, "points": points, "probes": probes})


def _kept_step(event: Any) -> int:
    """Return the step of the checkpoint that an event tells of, or 0."""
    from trainers.events import Kept, Resumed

    written = isinstance(event, Kept) and not event.problem
    return int(event.step) if written or isinstance(event, Resumed) else 0


class _Notes:
    """What the user should know of a job; that checkpoints can't be written is told once."""

    def __init__(self, job: Job) -> None:
        self._trial = f"trial {job['trial_id']}"
        self._refused = False

    def of(self, event: Any) -> list[str]:
        from trainers.events import Kept, Resumed

        if isinstance(event, Noted):
            return [event.line]
        if isinstance(event, Resumed):
            return [f"{self._trial}: {problem}" for problem in event.problems]
        if isinstance(event, Kept) and event.problem and not self._refused:
            self._refused = True
            return [f"{self._trial}: no checkpoint at step {event.step}: {event.problem}"]
        return []


def _points(event: Any) -> Sequence[dict[str, Any]]:
    return [
        {"step": event.step, "examples": event.examples, "name": name, "value": float(value)}
        for name, value in getattr(event, "values", {}).items()
    ]


def _failed(message: str) -> dict[str, Any]:
    return {"status": str(Status.FAILED), "message": message}
