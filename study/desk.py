"""The desk between the driver, which knows what is to be run, and the crews, which train: jobs one way, results back.

Everything that passes is made of plain JSON values. A *crew* is a worker, or a group of them that trains together; its
name is used once. A *job* is an attempt at a trial: a mapping with ``trial_id``, ``attempt`` and what a crew needs.

Nothing is lost when the desk's process dies: the driver sees another ``epoch`` and offers again what is open, and a
crew that trains goes on with its job.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

Job = Mapping[str, Any]
Message = Mapping[str, Any]
"""What the driver hears, told apart by ``kind``: ``came`` (a crew asks for the first time; with Ray's id of its
``placement_group``, or ""), ``begun``, ``advanced`` (with ``step``), ``ended`` (with ``outcome``, ``points`` and
``probes``), ``lost`` (with ``cause``, and the ``hardware`` or ""), ``too_large`` (see ``Desk.shrink``), ``refused`` (a
crew takes no more jobs, for a ``reason``) and ``noted`` (a ``line`` for the user). Those about a job have ``trial_id``
and ``attempt``; ``advanced``, ``ended``, ``lost`` and ``too_large`` also have ``kept``, the step of the last checkpoint
known, or 0."""

WAIT: Mapping[str, Any] = {"kind": "wait"}
STOP: Mapping[str, Any] = {"kind": "stop"}


class Desk:
    """Holds what is offered and not yet taken, who trains what, and what the driver has not yet heard."""

    def __init__(self, *, code: str = "") -> None:
        """Serve crews whose code has the digest ``code``; any where it is empty."""
        self.epoch = secrets.token_hex(8)
        self._code = code
        self._offered: deque[Job] = deque()
        self._held: dict[str, Job] = {}
        self._crews: dict[str, Mapping[str, Any]] = {}  # the facts of each
        self._refused: set[str] = set()
        self._gone: set[str] = set()
        self._news: list[Message] = []
        self._steps: dict[str, Message] = {}  # the latest of each trial: news however seldom the driver asks
        self._kept: dict[str, int] = {}  # the last checkpoint's step of each trial that is held
        self._stopping = False

    # -- the driver ---------------------------------------------------------------------------------

    def offer(self, jobs: Iterable[Job]) -> None:
        """Offer ``jobs``: those that are begun once more before all others. What a crew holds or has ended is left."""
        known = {_attempt(job) for job in (*self._offered, *self._held.values())}
        known |= {_attempt(message) for message in self._news if message["kind"] == "ended"}
        for job in jobs:
            if _attempt(job) not in known:
                (self._offered.appendleft if job["attempt"] else self._offered.append)(job)

    def collect(self) -> tuple[str, list[Message]]:
        """Return the desk's epoch and the news since the last call, the oldest first."""
        news = [*self._news, *self._steps.values()]
        self._news, self._steps = [], {}
        return self.epoch, news

    @property
    def has_news(self) -> bool:
        """Whether there is something to collect soon; that trials advance can wait."""
        return bool(self._news)

    def gone(self, crew: str, cause: str) -> None:
        """Take note that ``crew`` has ended; a job that it held is lost."""
        self._gone.add(crew)
        hardware = self._crews.pop(crew, {}).get("hardware", "")
        self._refused.discard(crew)
        job = self._held.get(crew)
        if job is not None:
            self._tell_driver("lost", job, cause=cause, hardware=hardware, kept=self._let_go(crew))

    def stop(self) -> None:
        """Send every crew home: what they train is given up."""
        self._stopping = True

    # -- crews --------------------------------------------------------------------------------------

    def ask(self, crew: str, facts: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a job (``kind`` is ``job``), ``WAIT`` or ``STOP``. Asking twice for a job gives the same one.

        Args:
            crew: who asks.
            facts: about its process: ``where`` it runs, the ``version`` and digest (``code``) of what it runs, and the
                name of its ``hardware``.
        """
        if self._stopping or crew in self._gone:
            return STOP
        if crew not in self._crews:
            self._crews[crew] = facts
            self._news.append({"kind": "came", "crew": crew, "placement_group": facts.get("placement_group", "")})
            self._check(crew, facts)
        if crew in self._refused:
            return WAIT
        if crew not in self._held:
            if not self._offered:
                return WAIT
            self._held[crew] = self._offered.popleft()
            self._tell_driver("begun", self._held[crew])
        return {"kind": "job", **self._held[crew]}

    def has_answer(self, crew: str) -> bool:
        """Whether ``ask`` would give something else than ``WAIT``."""
        return self._stopping or crew in self._gone or (bool(self._offered) and crew not in self._refused)

    def advance(self, crew: str, job: Job, step: int, kept: int = 0) -> bool:
        """Take note of ``step``; return whether to go on: not where the job is another's, nor when the study ends.

        Args:
            crew: who trains.
            job: what.
            step: how far it is.
            kept: the step of its last checkpoint; 0 for none.
        """
        if not self._holds(crew, job):
            return False
        trial_id = job["trial_id"]
        self._kept[trial_id] = max(kept, self._kept.get(trial_id, 0))
        self._steps[trial_id] = {"kind": "advanced", **_names(job), "step": step, "kept": self._kept[trial_id]}
        return not self._stopping

    def end(self, crew: str, job: Job, result: Mapping[str, Any]) -> None:
        """Take the result of a job: ``outcome``, ``points`` and ``probes``."""
        if self._holds(crew, job):
            self._tell_driver("ended", job, **result, kept=self._let_go(crew))

    def refuse(self, crew: str, job: Job | None, reason: str) -> None:
        """Take note that ``crew`` can't train here, nor take another job; its job is offered to others, unharmed."""
        if job is not None and self._holds(crew, job):
            self._let_go(crew)
            self._offered.appendleft(job)
        self._refused.add(crew)
        self._news.append({"kind": "refused", "crew": crew, "reason": reason})

    def shrink(self, crew: str, job: Job, *, hardware: str, micro_batch_at_most: int, reason: str) -> None:
        """Take note that a job has to be begun again.

        Args:
            crew: who trained it.
            job: what.
            hardware: on which it does not fit into memory.
            micro_batch_at_most: the largest micro-batch that may fit.
            reason: what does not fit, in one line.
        """
        if self._holds(crew, job):
            limit = {"hardware": hardware, "micro_batch_at_most": micro_batch_at_most, "reason": reason}
            self._tell_driver("too_large", job, **limit, kept=self._let_go(crew))

    def note(self, line: str) -> None:
        """Take what the user should know, which has nothing to do with one job."""
        self._news.append({"kind": "noted", "line": line})

    def _check(self, crew: str, facts: Mapping[str, Any]) -> None:
        if self._code and facts["code"] != self._code:
            self.refuse(
                crew,
                None,
                f"{facts['where']} runs batchlaw {facts['version']} (code {facts['code'][:8]}), but the driver runs "
                f"other code ({self._code[:8]}); install the same version there",
            )

    def _holds(self, crew: str, job: Job) -> bool:
        """Whether the job is this crew's. After the desk's restart it is, unless somebody else has it by now."""
        if crew in self._gone:
            return False
        held = self._held.get(crew)
        if held is not None:
            return _attempt(held) == _attempt(job)
        if any(_attempt(other) == _attempt(job) for other in self._held.values()):
            return False
        offered = next((other for other in self._offered if _attempt(other) == _attempt(job)), None)
        if offered is not None:
            self._offered.remove(offered)
        self._held[crew] = offered or job
        return True

    def _let_go(self, crew: str) -> int:
        """Take the crew's job from it, and return the step of its last checkpoint."""
        trial_id = self._held.pop(crew)["trial_id"]
        self._steps.pop(trial_id, None)
        return self._kept.pop(trial_id, 0)

    def _tell_driver(self, kind: str, job: Job, **more: Any) -> None:
        self._news.append({"kind": kind, **_names(job), **more})


def _attempt(job: Mapping[str, Any]) -> tuple[str, int]:
    return job["trial_id"], job["attempt"]


def _names(job: Job) -> dict[str, Any]:
    return {"trial_id": job["trial_id"], "attempt": job["attempt"]}
