"""One run at a time in a folder of results: two would write over each other's rows."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from .errors import ConfigError

LOCK_FILE = ".lock"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold ``folder``, made if need be, for this process alone; a folder that stays empty is removed again.

    The kernel lets go of a lock when its process dies, however that happens.

    Raises:
        ConfigError: another process holds it.
        OSError: the folder can't be made or written to.
    """
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = _acquire(folder / LOCK_FILE)
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
        yield
    finally:
        (folder / LOCK_FILE).unlink(missing_ok=True)
        os.close(descriptor)
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _acquire(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 500).decode("utf-8", "replace") or "another process"
            os.close(descriptor)
            raise ConfigError(
                f"{path.parent}: one run at a time may write there, but {holder} does; wait for it, or give "
                "another folder with --out"
            ) from None
        except OSError:
            return descriptor  # a file system without locks: nothing can be told there
        # Whoever held it before has perhaps removed the file since we opened it: then this lock guards nothing.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        os.close(descriptor)
