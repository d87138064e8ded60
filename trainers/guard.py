"""Runs a command and ends it when whoever asked for it is gone: ``python guard.py COMMAND…``.

The command goes on until it ends by itself or this process's standard input closes, which the system does for a parent
that dies, however it dies. Nothing that the command started outlives it: not what it left running, nor (on Linux) what
took a session of its own, as the workers of torchrun do.

The exit status is the command's; that of a shell (128 + the signal) where a signal ended it. What the command says is
read all along, so that it never waits, and the end of it is printed when the command has ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

GRACE_SECONDS = 5.0
"""Between asking the command to end and ending it."""
KEPT_BYTES = 1 << 16
"""Of what the command says."""
NOT_STARTED = 127
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def main(command: list[str]) -> int:
    """Run ``command`` and return its exit status."""
    _adopt_orphans()
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        print(f"{command[0]}: {error.strerror}")
        return NOT_STARTED
    said = _Tail(child)
    threading.Thread(target=_end_with_input, args=(child,), daemon=True).start()
    status = child.wait()
    _kill_all(child)  # what the command left running
    said.print()
    return status if status >= 0 else 128 - status


class _Tail(threading.Thread):
    """Reads what a command says and keeps the end of it."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        super().__init__(daemon=True)
        assert child.stdout is not None
        self._pipe = child.stdout.fileno()
        self._kept = b""
        self.start()

    def run(self) -> None:
        while new := os.read(self._pipe, KEPT_BYTES):
            self._kept = (self._kept + new)[-KEPT_BYTES:]

    def print(self) -> None:
        self.join(GRACE_SECONDS)
        sys.stdout.buffer.write(self._kept)


def _end_with_input(child: subprocess.Popen[bytes]) -> None:
    while os.read(0, 1024):
        pass
    _signal_group(child, signal.SIGTERM)
    try:
        child.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        _kill_all(child)


def _kill_all(child: subprocess.Popen[bytes]) -> None:
    _signal_group(child, signal.SIGKILL)
    latest = time.monotonic() + GRACE_SECONDS
    while (found := _descendants()) and time.monotonic() < latest:  # again, for what was started meanwhile
        for process in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.01)


def _signal_group(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


def _adopt_orphans() -> None:
    """Stay an ancestor of what the command starts when its parent ends, which only Linux offers."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _descendants() -> list[int]:
    """Return the living processes below this one; none where the system has no ``/proc``."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        with contextlib.suppress(OSError):
            if name.isdigit():
                with open(f"/proc/{name}/stat", "rb") as file:
                    # The command's name stands in parentheses and may hold any character.
                    state, parent = file.read().rpartition(b")")[2].split()[:2]
                if state != b"Z":
                    children.setdefault(int(parent), []).append(int(name))
    found = list(children.get(os.getpid(), ()))
    for process in found:  # which grows as it goes
        found += children.get(process, ())
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
