"""The driver's side of the desk: who is to train what next, and what becomes of what the crews tell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from results import Status

from .agenda import Agenda
from .attempts import OpenTrial
from .checkpoint_place import CheckpointPlace
from .desk import Job, Message
from .errors import ConfigError
from .fits import Fits, planned_micro_batch
from .lane import PlannedTrial
from .lost_worker import tells_of_memory
from .notes import Notes
from .recorder import Recorder
from .rows import failed

STILLBORN = 5
"""Crews in a row that may end before they ask for a trial; then something is wrong with all of them."""


class DriversDesk(Protocol):
    """What the driver asks of the desk; see ``study.desk.Desk``."""

    def offer(self, jobs: Iterable[Job]) -> None:
        """Offer ``jobs``."""

    def gone(self, crew: str, cause: str) -> None:
        """Take note that ``crew`` has ended."""

    def stop(self) -> None:
        """Send every crew home."""


class Dispatch:
    """Hands out trials in the agenda's order, one for each place, and stores each once, however often it is told."""

    def __init__(
        self,
        *,
        agenda: Agenda,
        desk: DriversDesk,
        recorder: Recorder,
        job: Callable[[PlannedTrial], Mapping[str, Any]],
        places: int,
        retries: int,
        checkpoints: CheckpointPlace | None = None,
        fits: Fits | None = None,
        note: Callable[[str], None] = lambda line: None,  # noqa: ARG005
    ) -> None:
        """Begin with the first trials.

        Args:
            agenda: what is to be run.
            desk: where crews ask.
            recorder: takes what ends.
            job: what a crew needs besides the trial's id.
            places: crews that have room at a time.
            retries: see ``OpenTrial``.
            checkpoints: where crews keep them, if they do.
            fits: what is known of memory.
            note: takes what the user should know, each line once.
        """
        self._agenda = agenda
        self._desk = desk
        self._recorder = recorder
        self._job = job
        self._places = places
        self._retries = retries
        self._checkpoints = checkpoints
        self._fits = fits or Fits()
        self._notes = Notes(note)
        self._open: dict[str, OpenTrial] = {}
        self._epoch = ""
        self._present: set[str] = set()
        self._refused: dict[str, str] = {}
        self._stillborn = 0
        self._stopped = False
        self.failure: Exception | None = None
        """Why the study can't go on; nothing more is handed out."""

    @property
    def finished(self) -> bool:
        """Whether every trial that is wanted is stored."""
        return self._agenda.finished

    @property
    def crews_wanted(self) -> int:
        """How many crews are of use: one for each open trial, and those that refuse, which keep their places."""
        return min(self._places, len(self._open) + len(self._refused))

    def is_present(self, crew: str) -> bool:
        """Whether ``crew`` has come to the desk."""
        return crew in self._present

    def hand_out(self) -> None:
        """Offer trials until there is one for each place; at the end, send the crews home."""
        jobs = []
        while len(self._open) < self._places and not self.failure:
            trial = self._agenda.next()
            if trial is None:
                break
            self._open[trial.trial_id] = OpenTrial(trial=trial, retries=self._retries)
            jobs.append(self._job_of(trial.trial_id))
        if jobs:
            self._desk.offer(jobs)
        if self.finished or self.failure:
            self.stop()

    def make_room(self, places: int) -> None:
        """Take note that ``places`` crews have room from now on, perhaps none. Those that are there stay."""
        steady, self._places = places == self._places, places
        # Refusing crews may have left with their node, of which Ray tells a little later: judged by two readings.
        if steady and len(self._refused) >= places > 0 and not self.failure:
            self.failure = ConfigError(next(iter(self._refused.values())))
        self.hand_out()

    def stop(self) -> None:
        """Send the crews home, whatever they do."""
        if not self._stopped:
            self._stopped = True
            self._desk.stop()

    def hear(self, epoch: str, messages: Sequence[Message]) -> None:
        """Take what the desk collected."""
        if epoch != self._epoch:
            self._begin_again(epoch)
        for message in messages:
            kind = message["kind"]
            if kind == "came":
                self._present.add(message["crew"])
                self._stillborn = 0
            elif kind == "refused":
                self._refuse(message["crew"], message["reason"])
            elif kind == "noted":
                self._notes.take(message["line"])
            else:
                self._hear_of_trial(kind, message)
            self.hand_out()

    def crew_ended(self, crew: str, cause: str) -> None:
        """Take note that Ray ended ``crew``; the desk then tells of its job."""
        self._desk.gone(crew, cause)
        self._refused.pop(crew, None)
        if crew in self._present:
            self._present.remove(crew)
        elif not self._stopped:
            self._stillborn += 1
            if self._stillborn >= STILLBORN:
                self.failure = ConfigError(f"{STILLBORN} workers in a row ended before they began a trial: {cause}")
                self.stop()

    def _hear_of_trial(self, kind: str, message: Message) -> None:
        known = self._open.get(message["trial_id"])
        if known is None or known.attempt != message["attempt"]:
            return  # of an attempt that was given up, or told twice
        if message.get("kept"):
            known.keep(message["kept"])
            if self._checkpoints:
                self._checkpoints.kept(known.trial.trial_id)
        if kind == "begun":
            self._recorder.begun(known.trial)
        elif kind == "advanced":
            self._recorder.advanced(known.trial, message["step"])
        elif kind == "ended":
            self._remember(known, message["outcome"])
            self._end(known, message["outcome"], message["points"], message["probes"])
        else:
            self._interrupted(kind, known, message)

    def _interrupted(self, kind: str, known: OpenTrial, message: Message) -> None:
        """Begin a trial again that came to no end, or store that it failed."""
        hardware, spec = message["hardware"], known.trial.spec
        if kind == "too_large":
            reason = message["reason"]
            again = known.shrink(hardware, message["micro_batch_at_most"])
            if again:
                self._fits.remember(spec, hardware=hardware, micro_batch_at_most=known.limits[hardware])
        elif tells_of_memory(message["cause"]):
            reason = message["cause"]
            again = known.lose_for_memory(hardware, planned_micro_batch(spec))
        else:
            tries = f"{known.retries + 1} attempts in a row came no further (resources.retries: {known.retries})"
            reason, again = f"{message['cause'].rstrip('.')}; {tries}", known.lose()
        if again:
            self._recorder.lost(known.trial)
            self._desk.offer([self._job_of(known.trial.trial_id)])
        else:
            self._end(known, failed(reason))

    def _remember(self, known: OpenTrial, outcome: Mapping[str, Any]) -> None:
        """Remember what a trial that ended well found to fit, so that others begin there."""
        if outcome["status"] == Status.FAILED:
            return
        limits = dict(known.limits)
        if outcome.get("halvings"):
            limits[outcome["hardware"]] = outcome["micro_batch_at_most"]
        for hardware, at_most in limits.items():
            self._fits.remember(known.trial.spec, hardware=hardware, micro_batch_at_most=at_most)

    def _end(
        self,
        known: OpenTrial,
        outcome: Mapping[str, Any],
        points: Sequence[Mapping[str, Any]] = (),
        probes: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        if self.failure:
            return
        trial = known.trial
        outcome = {**outcome, "halvings": known.halvings + outcome.get("halvings", 0)}
        try:
            self._recorder.ended(trial, outcome, points, probes)
        except OSError as error:
            self.failure = error  # raised by the launcher, once all crews have ended
            return
        del self._open[trial.trial_id]
        self._agenda.stored(trial.trial_id)
        if self._checkpoints:
            self._checkpoints.forget(trial.trial_id)

    def _refuse(self, crew: str, reason: str) -> None:
        self._refused[crew] = reason
        if len(self._refused) >= self._places > 0:
            self.failure = ConfigError(reason)
        else:
            self._notes.take(f"{reason}; the other workers go on")

    def _begin_again(self, epoch: str) -> None:
        """Tell a desk that knows nothing what is open; it is the first one, or its process died."""
        first, self._epoch = not self._epoch, epoch
        if first:
            return
        self._desk.offer([self._job_of(trial_id) for trial_id in self._open])
        if self._stopped:
            self._desk.stop()

    def _job_of(self, trial_id: str) -> Job:
        known = self._open[trial_id]
        job = {"trial_id": trial_id, "attempt": known.attempt, **self._job(known.trial)}
        limits = self._fits.limits(known.trial.spec)
        for hardware, at_most in known.limits.items():
            limits[hardware] = min(at_most, limits.get(hardware, at_most))
        job["micro_batch_at_most"] = limits
        return job | (self._checkpoints.job(trial_id) if self._checkpoints else {})
