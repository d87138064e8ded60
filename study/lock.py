"""One run at a time in a place of results: two would write over each other's rows."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from results import Storage, open_storage

from .errors import ConfigError
from .lease import CLAIMS, Lease
from .terminal import line

LOCK_FILE = ".lock"

_SHARED = ("9p", "afs", "beegfs", "ceph", "cifs", "fuse", "glusterfs", "gpfs", "lustre", "nfs", "orangefs", "smb")
"""Beginnings of the names of file systems that other machines write to as well."""

Check = Callable[[], None]


@contextlib.contextmanager
def locked(place: Storage | Path | str) -> Iterator[Check]:
    """Hold ``place`` for this process alone; a folder is made if need be, and removed again if it stays empty.

    In a folder the kernel keeps the lock, and lets go of it when the process dies, however that happens. Where there
    are no locks, and where the kernels of several machines may each keep their own, a lease is held as well.

    Yields:
        What is to be called before each write: it raises an ``OSError`` if another process has taken over.

    Raises:
        ConfigError: another process holds it.
        OSError: the folder can't be made, or the storage refuses.
    """
    storage = open_storage(place)
    folder = storage.folder
    if folder is None:
        with _leased(storage) as check:
            yield check
        return
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = _acquire(folder / LOCK_FILE)
    try:
        if descriptor is None or is_shared(folder):
            with _leased(storage) as check:
                yield check
        else:
            yield lambda: None
    finally:
        with contextlib.suppress(OSError):
            (folder / CLAIMS).rmdir()  # empty, and there only if a lease was held
        if descriptor is not None:
            (folder / LOCK_FILE).unlink(missing_ok=True)
            os.close(descriptor)
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()


@contextlib.contextmanager
def _leased(storage: Storage) -> Iterator[Check]:
    with Lease(storage, say=lambda words: line(f"batchlaw: {words}", err=True)).held() as lease:
        yield lease.check


def _acquire(path: Path) -> int | None:
    """Return the descriptor of the locked file; None where the file system has no locks."""
    while True:
        # No link is followed: in a folder that others may write to, it could lead to any file of ours.
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
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
            os.close(descriptor)
            path.unlink(missing_ok=True)
            return None
        # Whoever held it before has perhaps removed the file since we opened it: then this lock guards nothing.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.lstat(path)):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
                return descriptor
        os.close(descriptor)


def is_shared(folder: Path, mounts: Path = Path("/proc/self/mountinfo")) -> bool:
    """Return whether a folder lies on a file system that other machines may write to; False where that can't be told.

    Args:
        folder: one that is there.
        mounts: where the kernel lists what is mounted, as proc(5) describes it.
    """
    place = os.path.realpath(folder)
    kind, longest = "", -1
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    for words in (text.split() for text in lines):
        point = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), words[4])  # a space is written \040
        inside = point == "/" or place == point or place.startswith(f"{point}/")
        if inside and len(point) >= longest and "-" in words:
            kind, longest = words[words.index("-") + 1], len(point)
    return kind.startswith(_SHARED)
