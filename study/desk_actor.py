"""The desk as a Ray actor, so that crews on other machines reach it, and what driver and crews call it by."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from .desk import WAIT, Desk, Job, Message

PATIENCE_SECONDS = 5.0
"""How long a crew's question waits for an answer before the crew asks again."""


class DeskActor:
    """``Desk`` with questions that wait for an answer. Every method runs in the one event loop of its process."""

    def __init__(self, code: str) -> None:
        """Begin with a desk that knows nothing; also after the process died."""
        self._desk = Desk(code=code)
        self._changed = asyncio.Condition()

    async def offer(self, jobs: list[Job]) -> None:
        """See ``Desk``."""
        self._desk.offer(jobs)
        await self._wake()

    async def gone(self, crew: str, cause: str) -> None:
        """See ``Desk``."""
        self._desk.gone(crew, cause)
        await self._wake()

    async def stop(self) -> None:
        """See ``Desk``."""
        self._desk.stop()
        await self._wake()

    async def collect(self, seconds: float) -> tuple[str, list[Message]]:
        """See ``Desk``; wait for news for at most ``seconds``."""
        await self._until(lambda: self._desk.has_news, seconds)
        return self._desk.collect()

    async def ask(self, crew: str, facts: Mapping[str, Any]) -> Mapping[str, Any]:
        """See ``Desk``."""
        answer = self._desk.ask(crew, facts)
        await self._wake()
        if answer is not WAIT:
            return answer
        await self._until(lambda: self._desk.has_answer(crew), PATIENCE_SECONDS)
        answer = self._desk.ask(crew, facts)
        await self._wake()
        return answer

    async def advance(self, crew: str, job: Job, step: int, kept: int) -> bool:
        """See ``Desk``."""
        return self._desk.advance(crew, job, step, kept)

    async def end(self, crew: str, job: Job, result: Mapping[str, Any]) -> None:
        """See ``Desk``."""
        self._desk.end(crew, job, result)
        await self._wake()

    async def refuse(self, crew: str, job: Job | None, reason: str) -> None:
        """See ``Desk``."""
        self._desk.refuse(crew, job, reason)
        await self._wake()

    async def shrink(self, crew: str, job: Job, limit: Mapping[str, Any]) -> None:
        """See ``Desk``."""
        self._desk.shrink(crew, job, **limit)
        await self._wake()

    async def note(self, line: str) -> None:
        """See ``Desk``."""
        self._desk.note(line)
        await self._wake()

    async def _wake(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _until(self, ready: Callable[[], bool], seconds: float) -> None:
        async with self._changed:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait_for(ready), seconds)


class RemoteDesk:
    """The desk from another process. Calls wait while the desk's process begins again, and are then repeated."""

    def __init__(self, actor: Any) -> None:
        """Reach ``actor``, the handle that ``open_desk`` made."""
        self.actor = actor

    def offer(self, jobs: Iterable[Job]) -> None:
        """See ``Desk``."""
        self.actor.offer.remote(list(jobs))  # in the order of the calls, and without waiting

    def gone(self, crew: str, cause: str) -> None:
        """See ``Desk``."""
        ray.get(self.actor.gone.remote(crew, cause))

    def stop(self) -> None:
        """See ``Desk``."""
        self.actor.stop.remote()

    def collect(self, seconds: float) -> tuple[str, list[Message]]:
        """See ``DeskActor``."""
        return ray.get(self.actor.collect.remote(seconds))

    def ask(self, crew: str, facts: Mapping[str, Any]) -> Mapping[str, Any]:
        """See ``Desk``; may take ``PATIENCE_SECONDS``."""
        return ray.get(self.actor.ask.remote(crew, dict(facts)))

    def advance(self, crew: str, job: Job, step: int, kept: int = 0) -> bool:
        """See ``Desk``."""
        return ray.get(self.actor.advance.remote(crew, job, step, kept))

    def end(self, crew: str, job: Job, result: Mapping[str, Any]) -> None:
        """See ``Desk``."""
        ray.get(self.actor.end.remote(crew, job, dict(result)))

    def refuse(self, crew: str, job: Job | None, reason: str) -> None:
        """See ``Desk``."""
        ray.get(self.actor.refuse.remote(crew, job, reason))

    def shrink(self, crew: str, job: Job, *, hardware: str, micro_batch_at_most: int, reason: str) -> None:
        """See ``Desk``."""
        limit = {"hardware": hardware, "micro_batch_at_most": micro_batch_at_most, "reason": reason}
        ray.get(self.actor.shrink.remote(crew, job, limit))

    def note(self, line: str) -> None:
        """See ``Desk``."""
        ray.get(self.actor.note.remote(line))


def open_desk(*, code: str) -> RemoteDesk:
    """Start a desk on the driver's machine, which serves crews whose code has this digest; it ends with the driver."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = ray.remote(DeskActor).options(
        num_cpus=0,
        max_restarts=-1,
        max_task_retries=-1,
        max_concurrency=10_000,  # each crew waits in a call of its own
        scheduling_strategy=here,
        enable_task_events=False,  # Ray would keep a record of every call
    )
    return RemoteDesk(actor.remote(code))
