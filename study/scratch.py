"""A temporary folder that is gone after the run, or, where the run was killed, after the next one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PREFIX = "batchlaw-"
_LOCK = "alive"

# Ray puts sockets below its folder, and the kernel takes at most 107 characters for a socket's path.
_LONGEST_ROOT = 40


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield an empty folder, removed at the end; first remove those whose owners were killed."""
    root = Path(tempfile.gettempdir())
    if len(str(root)) > _LONGEST_ROOT:
        root = Path("/tmp")
    _remove_abandoned(root)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
    # Locked before it has its name: whoever finds it can tell that the owner lives. The kernel unlocks at our death.
    lock = os.open(folder / f".{_LOCK}", os.O_CREAT | os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.rename(folder / f".{_LOCK}", folder / _LOCK)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _remove_abandoned(root: Path) -> None:
    for folder in root.glob(f"{_PREFIX}*"):
        try:
            lock = os.open(folder / _LOCK, os.O_RDWR)
        except OSError:
            continue  # not ours, just being made, or just being removed
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            pass  # its owner lives
        finally:
            os.close(lock)
