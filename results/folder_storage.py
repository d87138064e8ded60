"""Results in a folder of this machine, or of a file system mounted on it."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, BinaryIO, final

from .storage import Storage, check_name

_UNFINISHED = ".tmp"


@final
class FolderStorage(Storage):
    """A folder. A file is written beside its place, flushed to the disk, and then given its name.

    Links inside of the folder that lead out of it are not followed: who may write into a shared folder could else have
    another user's run overwrite files of that user.
    """

    def __init__(self, url: str, path: str) -> None:
        """Point at the folder ``path``, which need not be there."""
        self.url = url
        # Taken as it is: no pattern, no URL, and a "~" only where a shell would see one.
        self._path = Path(path).expanduser()
        self._root = os.path.abspath(self._path)

    @property
    def folder(self) -> Path:
        """The folder, as the user wrote it."""
        return self._path

    def where(self, name: str) -> str:
        """Return the absolute path of a file."""
        return f"{self._root}/{check_name(name)}"

    def read(self, name: str) -> bytes:
        """Return the bytes of a file."""
        path = self._inside(name)
        with open(path, "rb") as file:
            return file.read()

    def write(self, name: str, data: bytes) -> None:
        """Put a file there."""
        path = self._inside(name)
        folder = os.path.dirname(path)
        os.makedirs(folder, exist_ok=True)
        temporary = f"{folder}/.{os.path.basename(path)}.{os.getpid()}{_UNFINISHED}"
        try:
            with _new_file(temporary) as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException as error:
            if os.path.lexists(temporary):
                os.remove(temporary)
            if isinstance(error, OSError) and error.filename is None and error.errno is not None:
                # A write that fails for want of space does not say where.
                raise OSError(error.errno, error.strerror, path) from error
            raise
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def remove(self, name: str) -> None:
        """Take a file away."""
        path = self._inside(name)
        if os.path.lexists(path):
            os.remove(path)

    def names(self, folder: str) -> list[str]:
        """Return the names of the files right inside; links too, of which those that lead out can't be read."""
        path = self._inside(f"{folder}/_").removesuffix("/_")
        try:
            with os.scandir(path) as entries:
                # No pipes and devices, which are waited for when they are read.
                found = [entry.name for entry in entries if entry.is_file(follow_symlinks=False) or entry.is_symlink()]
        except FileNotFoundError:
            return []
        return sorted(name for name in found if not _is_unfinished(name))

    def is_file(self, name: str) -> bool:
        """Return whether the file is there."""
        return os.path.isfile(self._inside(name))

    def remove_unfinished(self, folder: str) -> None:
        """Take away what killed writers left."""
        path = self._inside(f"{folder}/_").removesuffix("/_")
        if os.path.isdir(path):
            for name in filter(_is_unfinished, os.listdir(path)):
                os.remove(f"{path}/{name}")

    def without_patience(self) -> FolderStorage:
        """Return this storage: a file system's failures are told at once anyway."""
        return self

    def filesystem(self) -> tuple[Any, str]:
        """Return the local file system and the folder's absolute path."""
        import fsspec

        return fsspec.filesystem("file"), self._root

    def _inside(self, name: str) -> str:
        """Return the path of a file.

        Raises:
            OSError: it leads out of the folder by a link.
        """
        path = self.where(name)
        root = os.path.realpath(self._root)
        if os.path.commonpath([root, os.path.realpath(path)]) != root:
            said = "leads out of the folder of results by a symbolic link, which is not followed; take the link away"
            raise OSError(errno.ELOOP, said, path)
        return path


def _is_unfinished(name: str) -> bool:
    return name.startswith(".") and name.endswith(_UNFINISHED)


def _new_file(path: str) -> BinaryIO:
    """Open a file for writing that was not there before, so that nobody has laid a link in its place."""
    if os.path.lexists(path):
        os.remove(path)  # of an earlier process of our number
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666), "wb")
