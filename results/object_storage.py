"""Results in an object store: S3, Google Cloud Storage, or whatever else fsspec reaches by a URL."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, final

import fsspec

from .arrow_client import gcs_client, s3_client
from .patience import NO_PATIENCE, ONE_MINUTE, TEN_MINUTES, Patience, PatientFileSystem
from .storage import Storage, StorageError, StorageFailure, check_name

T = TypeVar("T")

_AT_ONCE = 16
"""Requests at a time, where many small files are read or removed: each is mostly waiting."""
_FIRST_CONTACT_SECONDS = 20.0
"""What has never answered is more likely misspelt than out of order."""
_WORTH_TELLING_SECONDS = 4.0
"""A pause as long as this comes after trouble that has lasted for seven seconds."""


@final
class ObjectStorage(Storage):
    """A place in an object store. A put appears there as a whole; what fails is tried again for ten minutes."""

    def __init__(self, url: str, root: str, connect: Callable[[], Any], *, patience: Patience = TEN_MINUTES) -> None:
        """Point at ``root``, a path of the fsspec file system that ``connect`` makes when it is first needed."""
        self.url = url
        self._root = root
        self._connect = connect
        self._patience = patience
        self._has_answered = False

    @classmethod
    def at(cls, url: str, *, patience: Patience = TEN_MINUTES) -> ObjectStorage:
        """Return the storage at a URL; see ``open_storage``."""
        protocol, _, rest = url.partition("://")
        if "::" in protocol or "::" in rest:
            raise StorageError(f"{_shown(url)}: a place of results is one URL, not several chained by '::'")
        if "@" in rest.partition("/")[0] or re.search(r"[?&#]", rest):
            raise StorageError(
                f"{_shown(url)}: keys and options belong into the environment (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, "
                "…), not into a URL that is recorded; leave them out"
            )
        parts = rest.rstrip("/").split("/")
        if any(part in (".", "..") for part in parts) or ("" in parts and protocol not in ("memory", "hdfs")):
            raise StorageError(f"{url}: must be a bucket and a path without empty parts and '..'; write it out")
        if protocol in ("s3", "s3a"):
            return cls(url, "/".join(parts), lambda: s3_client(parts[0]), patience=patience)
        if protocol in ("gs", "gcs"):
            return cls(url, "/".join(parts), gcs_client, patience=patience)
        if protocol not in fsspec.available_protocols():
            raise StorageError(f"{url}: no storage is known by {protocol}://; give a folder, s3:// or gs://")
        return cls(url, fsspec.core.split_protocol(url)[1].rstrip("/"), lambda: _by_fsspec(url), patience=patience)

    @property
    def folder(self) -> Path | None:
        """None: it lies elsewhere."""
        return None

    def where(self, name: str) -> str:
        """Return the URL of a file."""
        return f"{self.url.rstrip('/')}/{check_name(name)}"

    def read(self, name: str) -> bytes:
        """Return the bytes of a file."""
        return self._persist(name, lambda path: bytes(self._fs.cat_file(path)))

    def write(self, name: str, data: bytes) -> None:
        """Put a file there."""
        try:
            self._persist(name, lambda path: self._fs.pipe_file(path, data))
        except FileNotFoundError:
            said = "there is no such bucket; make it, or check the spelling"
            raise StorageFailure(errno.ENOENT, said, self.url) from None

    def remove(self, name: str) -> None:
        """Take a file away."""

        def remove(path: str) -> None:
            with contextlib.suppress(FileNotFoundError):  # also of an attempt whose answer was lost
                self._fs.rm_file(path)

        self._persist(name, remove)

    def names(self, folder: str) -> list[str]:
        """Return the names of the files right inside."""

        def list_files(path: str) -> list[str]:
            self._fs.invalidate_cache(path)
            try:
                found = self._fs.ls(path, detail=True)
            except FileNotFoundError:
                return []
            files = [entry["name"].rstrip("/") for entry in found if entry["type"] == "file"]
            return sorted(file.rpartition("/")[2] for file in files if file.strip("/") != path.strip("/"))

        return self._persist(folder, list_files)

    def is_file(self, name: str) -> bool:
        """Return whether the file is there."""

        def look(path: str) -> bool:
            self._fs.invalidate_cache(path.rpartition("/")[0])
            try:
                return bool(self._fs.info(path)["type"] == "file")
            except FileNotFoundError:
                return False

        return self._persist(name, look)

    def remove_unfinished(self, folder: str) -> None:
        """Do nothing: a put that fails leaves nothing that can be listed."""

    def without_patience(self) -> ObjectStorage:
        """Return the same place, where each failure is told at once."""
        same = ObjectStorage(self.url, self._root, lambda: self._fs, patience=NO_PATIENCE)
        same._has_answered = self._has_answered
        return same

    def filesystem(self) -> tuple[Any, str]:
        """Return the client and the path of this place in it."""
        patience = dataclasses.replace(
            self._patience, total_seconds=min(self._patience.total_seconds, ONE_MINUTE.total_seconds)
        )
        return PatientFileSystem(self._fs, patience), self._root

    def read_each(self, names: Iterable[str]) -> Iterator[bytes | OSError]:
        """Return the bytes of each file, several fetched at a time."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            yield from pool.map(self._read_or_reason, names)

    def remove_each(self, names: Iterable[str]) -> None:
        """Take files away, several at a time."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(self.remove, names))

    @cached_property
    def _fs(self) -> Any:
        return self._connect()

    def _tell_once(self, patience: Patience) -> Callable[[OSError, float], None]:
        told = False

        def waiting(error: OSError, seconds: float) -> None:
            nonlocal told
            if seconds >= _WORTH_TELLING_SECONDS and not told:
                told = True
                minutes = patience.total_seconds / 60
                self.when_waiting(f"{self.url}: {_words(error)}; it is tried again for up to {minutes:.0f} min")

        return waiting

    def _persist(self, name: str, action: Callable[[str], T]) -> T:
        path = f"{self._root}/{check_name(name)}"
        patience = self._patience
        if not self._has_answered:
            patience = dataclasses.replace(patience, total_seconds=min(_FIRST_CONTACT_SECONDS, patience.total_seconds))
        try:
            result = patience.persist(lambda: action(path), waiting=self._tell_once(patience))
        except FileNotFoundError:
            self._has_answered = True
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.where(name)) from None
        except OSError as error:
            raise StorageFailure(error.errno or errno.EIO, _words(error), self.where(name)) from error
        self._has_answered = True
        return result


def _by_fsspec(url: str) -> Any:
    try:
        return fsspec.core.url_to_fs(url)[0]
    except ImportError as error:
        raise StorageError(f"{url}: {' '.join(str(error).split())}") from None


def _shown(url: str) -> str:
    """Return a URL without what may be a secret."""
    protocol, _, rest = url.partition("://")
    return f"{protocol}://{re.sub(r'^[^/]*@', '…@', re.split(r'[?#]', rest)[0])}"


def _words(error: OSError) -> str:
    """Return what a client says of an error, without the details of Google's and without what may be a secret."""
    text = " ".join((error.strerror or str(error) or type(error).__name__).partition(" error_info=")[0].split())
    return re.sub(r"(?i)((?:signature|credential|token|key)[\w-]*=)[^&\s\"']+", r"\1…", text)
