"""The driver's side of the tools that are told of trials: handed over and forgotten, so that no trial waits."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from results import SWEEP

from .chronicle import FOLDER, tools_of
from .config import StudyConfig
from .loggers_config import Loggers
from .place import ResultsPlace, mirrored

MOST_WAITING = 1000
"""Trials that may wait for a slow tool; what comes while so many wait is told at the end, from the stored rows."""
END_SECONDS = 15.0
"""For what is being written when a study is interrupted."""


@contextlib.contextmanager
def open_scribe(
    config: StudyConfig, place: ResultsPlace, *, say: Callable[[str], None], loggers: Loggers | None = None
) -> Iterator[Scribe | None]:
    """Start the process that tells the tools, and end it with the block; None where no tool is asked for.

    Args:
        config: the resolved study.
        place: of its results, which hold ``study.yaml``.
        say: takes lines for the user.
        loggers: the tools [those of ``config``].

    Raises:
        ConfigError: see ``chronicle.tools_of``.
    """
    loggers = loggers or config.loggers
    if not loggers.wanted:
        yield None
        return
    with mirrored(place, FOLDER, say=say) as folder:
        tools_of(loggers, config, folder)  # for its errors, before any work
        scribe = Scribe(place, folder, loggers, say)
        try:
            yield scribe
        finally:
            scribe.close()


class Scribe:
    """A ``recorder.Listener`` that hands trials to a process of its own (``scribe_process``)."""

    def __init__(self, place: ResultsPlace, folder: Path, loggers: Loggers, say: Callable[[str], None]) -> None:
        """Start the process."""
        root = str(Path(__file__).parents[1])
        path = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH")) if part)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "study.scribe_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,  # ^C is for the driver
        )
        self._say = say
        self._waiting: queue.Queue[Mapping[str, Any] | None] = queue.Queue()
        self._answered = threading.Event()
        self._lacking: Mapping[str, int] | None = None
        own = str(folder.resolve())
        told = {"place": own if place.folder else str(place), "folder": own, "loggers": loggers.model_dump(mode="json")}
        self._waiting.put(told)
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._hand_over, self._hear)]
        for thread in self._threads:
            thread.start()

    def stored(self, row: Mapping[str, Any], points: Sequence[Mapping[str, Any]]) -> None:
        """Hand over a trial of a sweep. Probe runs are such a trial's run once more, with the same losses."""
        if row["purpose"] == SWEEP and self._waiting.qsize() < MOST_WAITING:
            self._waiting.put({"row": row, "points": points})

    def complete(self) -> bool:
        """Wait until the tools hold all that is stored; return whether they do. ^C ends the waiting."""
        self._waiting.put({"complete": True})
        with contextlib.suppress(KeyboardInterrupt):
            self._answered.wait()
        if self._lacking is None:
            self._say("loggers: stopped before all was written; the same command writes the rest")
            return False
        for name, count in self._lacking.items():
            if count:
                self._say(f"{name}: lacks {count} trials; the same command writes them once it can")
        return not any(self._lacking.values())

    def close(self) -> None:
        """End the process once it has written what it has in hand."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._waiting.get_nowait()
        self._waiting.put(None)
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for thread in self._threads:
            thread.join(END_SECONDS)

    def _hand_over(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError), self._process.stdin as pipe:  # a process that died is heard of by _hear
            while (message := self._waiting.get()) is not None:
                pipe.write(json.dumps(message, default=_plain) + "\n")
                pipe.flush()

    def _hear(self) -> None:
        assert self._process.stdout is not None
        for text in self._process.stdout:
            message = json.loads(text)
            if "say" in message:
                self._say(message["say"])
            else:
                self._lacking = message["lacking"]
                self._answered.set()
        self._answered.set()


def _plain(value: Any) -> Any:
    """Return a number of numpy as Python's."""
    return value.item()
