"""Several workers as one crew: worker 0 talks to the desk, all train the same job, and all agree on how it ended.

Workers that all raised at the same point go on together. One that raised alone tells of its trial and leaves, and the
group with it, since nothing else wakes those that wait for it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from .crew import CannotTrain, CrewsDesk, Train
from .desk import WAIT, Job
from .errors import first_line
from .team import GroupBroken, Team

PATIENCE_SECONDS = 20.0
"""How long a worker that raised waits for the others to raise too."""
STOP_SECONDS = 5.0
"""How long worker 0 waits for a moment at which all can stop together; then it leaves alone."""
_LINK_SIGNS = ("gloo", "nccl", "connection closed by peer", "connection reset by peer", "broken pipe")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Ending:
    """How a job ended on one worker."""

    error: str = ""
    """The type of what was raised; empty where nothing was."""
    message: str = ""
    micro_batch_at_most: int = 0
    link: bool = False
    """Whether it was another worker that could not be reached."""
    collectives: int = 0
    """How many the worker had taken part in: where they differ, some wait for others."""

    @property
    def weight(self) -> int:
        """Of several endings the one with the highest counts: the others may follow from it."""
        return 0 if not self.error else 1 if self.link else {"CannotTrain": 3, "DoesNotFit": 4}.get(self.error, 2)

    def exception(self) -> Exception:
        """Return what all workers raise."""
        from trainers.memory import DoesNotFit

        if self.error == "CannotTrain":
            return CannotTrain(self.message)
        if self.error == "DoesNotFit":
            return DoesNotFit(self.message, micro_batch_at_most=self.micro_batch_at_most)
        return type(self.error, (RuntimeError,), {})(self.message)  # under its own name in the trial's row


class TeamDesk:
    """The desk as one worker of a team sees it: worker 0's, whose answers all get; only one of them tells of a job."""

    def __init__(self, desk: CrewsDesk, team: Team, *, hardware: Sequence[str] = ()) -> None:
        """Speak to ``desk`` for ``team``; ``hardware`` is what its workers run on."""
        self._desk, self._team = desk, team
        self._hardware = frozenset(hardware)
        self._speaks = team.rank == 0
        self._go_on = True
        self._told_to_stop = 0.0
        self._broken = ""
        self._refuses = False

    def ask(self, crew: str, facts: Mapping[str, Any]) -> Mapping[str, Any]:
        """See ``CrewsDesk``; every worker gets worker 0's answer."""
        if self._broken:
            # A group that refuses keeps its place, as one worker does: no other is to come and find the same.
            if self._refuses and self._desk.ask(crew, facts)["kind"] != "stop":
                return WAIT
            raise GroupBroken(self._broken)
        self._go_on, self._speaks = True, self._team.rank == 0
        answer = json.dumps(self._desk.ask(crew, facts) if self._team.rank == 0 else None)
        return self._alike(json.loads(self._team.links.from_first(answer.encode())))

    def _alike(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Return the answer with one limit of memory for all workers, whatever they run on."""
        known = [limit for name, limit in answer.get("micro_batch_at_most", {}).items() if name in self._hardware]
        return answer | {"micro_batch_at_most": dict.fromkeys(self._hardware, min(known))} if known else answer

    def advance(self, crew: str, job: Job, step: int, kept: int = 0) -> bool:
        """See ``CrewsDesk``. A word to stop is heard by all at the next evaluation or checkpoint.

        Raises:
            GroupBroken: there was none for long.
        """
        if self._team.rank > 0:
            return True
        if self._go_on and not self._desk.advance(crew, job, step, kept):
            self._go_on, self._told_to_stop = False, time.monotonic()
        elif not self._go_on and time.monotonic() - self._told_to_stop >= STOP_SECONDS:
            raise GroupBroken("WorkerLost: its trial was given up")
        return True

    def end(self, crew: str, job: Job, result: Mapping[str, Any]) -> None:
        """See ``CrewsDesk``."""
        if self._speaks and self._go_on:
            self._desk.end(crew, job, result)

    def refuse(self, crew: str, job: Job | None, reason: str) -> None:
        """See ``CrewsDesk``."""
        self._refuses = True
        if self._speaks and self._go_on:
            self._desk.refuse(crew, job, reason)

    def shrink(self, crew: str, job: Job, *, hardware: str, micro_batch_at_most: int, reason: str) -> None:
        """See ``CrewsDesk``."""
        if self._speaks and self._go_on:
            self._desk.shrink(crew, job, hardware=hardware, micro_batch_at_most=micro_batch_at_most, reason=reason)

    def note(self, line: str) -> None:
        """See ``CrewsDesk``; every worker may have something of its own to say."""
        self._desk.note(line)

    # -- between train and the desk -----------------------------------------------------------------

    def training(self, train: Train) -> Train:
        """Return ``train`` as a team does it: each worker gets its own events, and the ending that all agree on."""

        def train_together(job: Job) -> Generator[Any, None, None]:
            from trainers.events import Finished, Kept, Measured, Probed, Resumed

            last, ending = None, _Ending(error="RuntimeError", message="training ended without a result")
            try:
                with contextlib.closing(train(job)) as events:
                    for event in events:
                        if isinstance(event, Finished):
                            last, ending = event, _Ending()
                            break
                        yield event
                        # Other events come by each worker's own clock.
                        common = isinstance(event, Measured | Probed | Kept | Resumed)
                        if common and not self._team.links.first_says(self._go_on):
                            self._go_on = False
                            return
            except Exception as error:
                ending = _ending(error)
            self._agree(ending)
            yield last

        return train_together

    def _agree(self, own: _Ending) -> None:
        """Return if all workers finished; else raise on all of them the same, or leave the group.

        Raises:
            Exception: what some worker raised.
            GroupBroken: the others can't be reached, or are lost.
        """
        own = dataclasses.replace(own, collectives=self._team.collectives())
        round_name = self._team.post(dataclasses.asdict(own))
        told = self._team.read(round_name, seconds=PATIENCE_SECONDS if own.error else None)
        if told is None:
            if own.link:
                raise GroupBroken(f"{own.error}: {own.message}")
            self._speaks = self._team.tells(round_name)
            self._broken = f"worker {self._team.rank} of {self._team.world} raised alone: {own.error}: {own.message}"
            raise own.exception()
        endings = [_Ending(**words) for words in told]
        worst = max(endings, key=lambda ending: ending.weight)
        if worst.link:
            raise GroupBroken(f"{worst.error}: {worst.message}")
        if len({ending.collectives for ending in endings}) > 1:
            self._broken = f"the workers stopped at different points: {worst.error}: {worst.message}"
        if worst.error:
            self._speaks = self._team.rank == 0 and self._team.tells(round_name)
            raise worst.exception()


def _ending(error: Exception) -> _Ending:
    import torch.distributed

    message, name = first_line(error), type(error).__name__
    link = isinstance(error, torch.distributed.DistError) or (
        isinstance(error, RuntimeError | OSError) and any(sign in str(error).lower() for sign in _LINK_SIGNS)
    )
    at_most = getattr(error, "micro_batch_at_most", 0)
    return _Ending(error=name, message=message, micro_batch_at_most=at_most, link=link)
