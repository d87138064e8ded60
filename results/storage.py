"""Where results are kept, behind a few verbs: a folder of this machine, or a place in an object store."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

NAME_HELP = "a name inside a storage is parts joined by '/', without '..'"


class StorageError(ValueError):
    """A place that can't hold results. One line: the rule, the value, a way out."""


class StorageFailure(OSError):
    """A storage as a whole does not do what it is asked; of other files nothing better can be expected."""


class Storage(ABC):
    """Files by name. Names are relative, with ``/`` between their parts, and can't lead out of the storage.

    Any failure but a missing file is an ``OSError`` that names the file and says what the storage said.

    Attributes:
        url: the place as the user wrote it.
    """

    url: str
    when_waiting: Callable[[str], None] = staticmethod(lambda _: None)
    """Told in a sentence when trouble is waited out that has lasted for some seconds."""

    @property
    @abstractmethod
    def folder(self) -> Path | None:
        """The folder of this machine (or mounted on it); None for what lies elsewhere."""

    @abstractmethod
    def where(self, name: str) -> str:
        """Return the whole path or URL of a file, for messages."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Return the bytes of a file.

        Raises:
            FileNotFoundError: it isn't there.
        """

    @abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """Put a file there; readers see the old one or the new one, and it survives a crash of this machine."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Take a file away; one that isn't there is gone already."""

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """Return the sorted names (without ``folder``) of the files right inside; none where there is no folder."""

    @abstractmethod
    def is_file(self, name: str) -> bool:
        """Return whether the file is there."""

    @abstractmethod
    def remove_unfinished(self, folder: str) -> None:
        """Take away what killed writers left half-written right inside; only for a storage's one writer."""

    @abstractmethod
    def without_patience(self) -> Storage:
        """Return the same place, where each failure is told at once instead of being waited out."""

    @abstractmethod
    def filesystem(self) -> tuple[Any, str]:
        """Return a file system of fsspec's, and in it the path of this place: for large files, such as checkpoints.

        Trouble that may pass is waited out for a minute; what lasts is raised in the file system's own words.
        """

    def read_each(self, names: Iterable[str]) -> Iterable[bytes | OSError]:
        """Return the bytes of each file, or why it can't be read.

        Raises:
            StorageFailure: it isn't about one file.
        """
        for name in names:
            yield self._read_or_reason(name)

    def remove_each(self, names: Iterable[str]) -> None:
        """Take files away."""
        for name in names:
            self.remove(name)

    def _read_or_reason(self, name: str) -> bytes | OSError:
        try:
            return self.read(name)
        except StorageFailure:
            raise
        except OSError as error:
            return error

    def __str__(self) -> str:
        return self.url


def check_name(name: str) -> str:
    """Return ``name``.

    Raises:
        ValueError: it is no relative name that stays inside.
    """
    if not name or "\0" in name or "\\" in name or any(part in ("", ".", "..") for part in name.split("/")):
        raise ValueError(f"{NAME_HELP}, but got {name!r}")
    return name


def open_storage(place: str | os.PathLike[str] | Storage) -> Storage:
    """Return the storage at a path or URL. Nothing is made, read or connected to yet.

    A path is a folder of this machine, and so is ``file://``. ``s3://`` and ``gs://`` are reached by pyarrow's own
    clients, with keys, region and endpoint from where their command-line tools look for them; any other URL by fsspec.

    Raises:
        StorageError: it can't be a place of results, such as a URL with a password in it.
    """
    from .folder_storage import FolderStorage
    from .object_storage import ObjectStorage

    if isinstance(place, Storage):
        return place
    text = os.fspath(place)
    if "\0" in text:
        raise StorageError("a path holds no NUL character; check the spelling")
    if text.startswith("file://"):
        return FolderStorage(text, text.removeprefix("file://"))
    return ObjectStorage.at(text) if "://" in text else FolderStorage(text, text)
