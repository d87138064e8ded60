"""Looking at processes and killing them."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Callable

import psutil

PATIENCE_SECONDS = 120.0


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def processes_with(name: str, value: str) -> list[psutil.Process]:
    """Return all processes of this machine with this variable in their environment."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(name) == value:
                found.append(process)
    return found


def kill_tree(pid: int, *, wait: bool = False) -> None:
    """Kill a process and all below it, none of which gets a chance to do anything about it."""
    try:
        root = psutil.Process(pid)
    except psutil.NoSuchProcess:
        return
    stopped: dict[int, psutil.Process] = {}
    while True:  # a process may start another one until it is stopped
        new = [each for each in (root, *_below(root)) if each.pid not in stopped]
        if not new:
            break
        for each in new:
            _signal(each, signal.SIGSTOP)
            stopped[each.pid] = each
    for each in stopped.values():
        _signal(each, signal.SIGKILL)
    if wait:
        psutil.wait_procs(list(stopped.values()), timeout=PATIENCE_SECONDS)


def _below(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.children(recursive=True)
    return []


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def wait_for(ready: Callable[[], bool], *, what: str | Callable[[], str], seconds: float | None = None) -> None:
    """Look until ``ready`` returns true.

    Raises:
        AssertionError: it never did; its text is ``what``.
    """
    until = time.monotonic() + (PATIENCE_SECONDS if seconds is None else seconds)
    pause = threading.Event()
    while not ready():
        if time.monotonic() > until:
            raise AssertionError(what if isinstance(what, str) else what())
        pause.wait(0.25)
