"""The process that tells the tools: they may be slow, print, change folders, hang or die without touching the driver.

Lines of JSON come on the standard input, first ``{"place", "folder", "loggers"}``, then ``{"row", "points"}`` of stored
trials and ``{"complete": true}``; lines ``{"say"}`` and ``{"lacking"}`` go out. It ends when its input does.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from .chronicle import FOLDER, Chronicle, tools_of
from .design import Design
from .folder import open_folder, study_tables
from .logged_trial import LoggedTrial
from .loggers_config import Loggers
from .place import ResultsPlace

NICENESS = 10
LOCK_FILE = ".lock"
LOCK_SECONDS = 60.0


def main() -> None:
    """Tell until the input ends."""
    os.nice(NICENESS)
    out = _own_output()

    def send(message: Mapping[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError):  # a driver that is gone needs no answer
            out.write(f"{json.dumps(message)}\n")
            out.flush()

    first = json.loads(sys.stdin.readline())
    place, folder = ResultsPlace.of(first["place"]), Path(first["folder"])
    loggers = Loggers.model_validate(first["loggers"])
    text = sys.stdin.readline()
    if not text:  # the study ended before it began
        return
    with _locked(folder / FOLDER / LOCK_FILE) as free:
        if free:
            serve(place, folder, loggers, itertools.chain([text], sys.stdin), send)
        else:
            send(
                {"say": f"loggers: another process writes to {folder / FOLDER}; the same command writes the rest later"}
            )


def serve(
    place: ResultsPlace,
    folder: Path,
    loggers: Loggers,
    lines: Iterable[str],
    send: Callable[[Mapping[str, Any]], None],
) -> None:
    """Tell the tools what ``lines`` say of the study at ``place``; their files are in ``folder``."""
    config, _ = open_folder(place)
    chronicle = Chronicle(tools_of(loggers, config, folder), say=lambda text: send({"say": text}))
    try:
        for text in lines:
            message = json.loads(text)
            if "complete" in message:
                send({"lacking": chronicle.complete(*_stored(place))})
            else:
                chronicle.write(LoggedTrial.of(message["row"], message["points"]))
    finally:
        chronicle.close()


def _stored(place: ResultsPlace) -> tuple[list[dict[str, Any]], Callable[[str], list[dict[str, Any]]]]:
    """Return the rows of the study's sweeps, and what gives the points of a trial."""
    config, store = open_folder(place)
    tables = study_tables(Design(config), store)
    groups = tables.curves.groupby("trial_id").indices

    def points(trial_id: str) -> list[dict[str, Any]]:
        return tables.curves.iloc[groups.get(trial_id, [])].to_dict("records")

    return tables.trials.to_dict("records"), points


def _own_output() -> IO[str]:
    """Keep the standard output for messages; what the tools print goes where their errors go."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return out


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Hold ``path`` and give whether that worked: of a driver that was killed, the scribe may still be writing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    yield False
                    return
                time.sleep(0.2)
            else:
                break
        yield True


if __name__ == "__main__":
    main()
