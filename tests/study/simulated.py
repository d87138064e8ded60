"""Processes that take turns on a clock of the test's own: each wait and each operation of a storage ends at a time."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

from results import Storage


class Turn:
    """One simulated process: a thread that runs only when it is its turn."""

    def __init__(self, simulation: Simulation, body: Callable[[Turn], None]) -> None:
        self.simulation = simulation
        self.until = 0.0
        self.ended = False
        self.error: BaseException | None = None
        self._go = threading.Semaphore(0)
        self._back = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, args=(body,), daemon=True)
        self._thread.start()

    def _run(self, body: Callable[[Turn], None]) -> None:
        self._go.acquire()
        try:
            body(self)
        except BaseException as error:
            self.error = error
        self.ended = True
        self._back.release()

    def wait(self, seconds: float) -> None:
        """Let the others go on for so long."""
        self.until = self.simulation.now + seconds
        self._back.release()
        self._go.acquire()

    def step(self) -> None:
        """Run until the process waits once more, or ends."""
        self._go.release()
        assert self._back.acquire(timeout=60)


class Simulation:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.turns: list[Turn] = []

    def clock(self) -> float:
        return self.now

    def add(self, body: Callable[[Turn], None]) -> Turn:
        self.turns.append(Turn(self, body))
        return self.turns[-1]

    def run(self, *, until: float, after_each: Callable[[], None] = lambda: None) -> None:
        while True:
            waiting = [turn for turn in self.turns if not turn.ended]
            if not waiting:
                return
            first = min(waiting, key=lambda turn: turn.until)
            self.now = max(self.now, first.until)
            if self.now > until:
                return
            first.step()
            if first.error is not None:
                raise first.error
            after_each()


@final
class SlowStorage(Storage):
    """A storage as one simulated process sees it: each operation takes a while before it is done, and one after."""

    def __init__(self, inner: Storage, turn: Turn, delay: Callable[[], float]) -> None:
        self.inner = inner
        self.url = inner.url
        self.turn = turn
        self.delay = delay

    def _slowly(self, act: Callable[..., Any], *arguments: Any) -> Any:
        self.turn.wait(self.delay())
        try:
            return act(*arguments)
        finally:
            self.turn.wait(self.delay())

    @property
    def folder(self) -> Path | None:
        return self.inner.folder

    def where(self, name: str) -> str:
        return self.inner.where(name)

    def read(self, name: str) -> bytes:
        return self._slowly(self.inner.read, name)

    def write(self, name: str, data: bytes) -> None:
        self._slowly(self.inner.write, name, data)

    def remove(self, name: str) -> None:
        self._slowly(self.inner.remove, name)

    def names(self, folder: str) -> list[str]:
        return self._slowly(self.inner.names, folder)

    def is_file(self, name: str) -> bool:
        return self._slowly(self.inner.is_file, name)

    def remove_unfinished(self, folder: str) -> None:
        self._slowly(self.inner.remove_unfinished, folder)

    def filesystem(self) -> tuple[Any, str]:
        return self.inner.filesystem()

    def without_patience(self) -> SlowStorage:
        return self
