"""Where the results of a study are: a folder of this machine, or a place in an object store."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import ConfigError
from .scratch import scratch_folder
from .terminal import line

if TYPE_CHECKING:
    from results import ResultStore, Storage

    from .config import StudyConfig

DEFAULT_STORAGE = "results"

_ANSWERS = ("study.yaml", "cells.csv", "steps.csv", "tables/cells.csv", "tables/steps.csv")
"""What predictions are made from, in a study's folder or in one of fitted tables."""


@dataclasses.dataclass(frozen=True)
class ResultsPlace:
    """A folder or a URL as a user gave it. Nothing is made, read or connected to before something is asked of it."""

    text: str

    @classmethod
    def of(cls, text: str | os.PathLike[str]) -> ResultsPlace:
        """Return the place at a path or URL; a path that ends in a slash is the one without it."""
        text = os.fspath(text)
        return cls(text.rstrip("/") if "://" in text else str(Path(text)))

    @cached_property
    def storage(self) -> Storage:
        """The files of the place.

        Raises:
            ConfigError: it can't be a place of results, such as a URL with a password in it.
        """
        from results import StorageError, open_storage

        try:
            storage = open_storage(self.text)
        except StorageError as error:
            raise ConfigError(str(error)) from None
        storage.when_waiting = lambda words: line(f"batchlaw: {words}", err=True)
        return storage

    def store(self) -> ResultStore:
        """Return the rows that are kept there."""
        from results import ResultStore

        return ResultStore(self.storage)

    @property
    def folder(self) -> Path | None:
        """The folder of this machine (or mounted on it); None for what lies elsewhere."""
        return self.storage.folder

    def where(self, name: str) -> str:
        """Return the path or URL of a file of the place, for messages."""
        return f"{self.text}/{name}" if "://" in self.text else str(Path(self.text) / name)

    def exists(self, name: str) -> bool:
        """Return whether a file is there."""
        return self.storage.is_file(name)

    def beside(self, suffix: str) -> ResultsPlace:
        """Return the place whose name ends in ``suffix`` as well."""
        return ResultsPlace(f"{self.text}{suffix}")

    @contextlib.contextmanager
    def local_answers(self) -> Iterator[Path]:
        """Yield a folder of this machine with what predictions are made from: this one, or copies."""
        if self.folder is not None:
            yield self.folder
            return
        with scratch_folder() as copies:
            folder = copies / "copies"
            for name in _ANSWERS:
                if self.exists(name):
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    (folder / name).write_bytes(self.storage.read(name))
            try:
                yield folder
            except ValueError as error:
                # Of a copy nobody knows; said is where it came from.
                raise type(error)(str(error).replace(str(folder), self.text)) from error

    def __str__(self) -> str:
        return self.text


@contextlib.contextmanager
def mirrored(place: ResultsPlace, name: str, *, say: Callable[[str], None]) -> Iterator[Path]:
    """Yield a folder for programs that write files, where ``name`` holds what ``name`` holds in ``place``.

    It is the place itself, or a copy of which what is new is put there at the end; what can't be put there is said.
    """
    if place.folder is not None:
        yield place.folder
        return
    with scratch_folder() as scratch:
        copy = scratch / "copy"
        (copy / name).mkdir(parents=True)
        fs, root = place.storage.filesystem()
        before = {}
        for path in fs.find(f"{root}/{name}"):
            file = path.lstrip("/").removeprefix(f"{root.lstrip('/')}/")
            if ".." not in file.split("/"):
                (copy / file).parent.mkdir(parents=True, exist_ok=True)
                before[file] = fs.cat_file(path)
                (copy / file).write_bytes(before[file])
        yield copy
        try:
            for path in sorted(path for path in copy.rglob("*") if path.is_file() and not path.is_symlink()):
                file, data = path.relative_to(copy).as_posix(), path.read_bytes()
                if data != before.get(file) and not path.name.startswith("."):
                    place.storage.write(file, data)
        except OSError as error:
            say(f"{error.filename or place}: not written: {error.strerror or error}")


def default_place(config: StudyConfig) -> ResultsPlace:
    """Return where a study's results go unless the user says otherwise."""
    return ResultsPlace.of(f"{(config.storage_path or DEFAULT_STORAGE).rstrip('/')}/{config.name}")


@contextlib.contextmanager
def publishing(store: ResultStore) -> Iterator[Path]:
    """Yield an empty folder; its files are put beside the rows at the end, each whole or not at all, pages last.

    Raises:
        OSError: the storage refused.
    """
    with scratch_folder() as scratch:
        made = scratch / "made"
        made.mkdir()
        yield made
        files = (path for path in made.rglob("*") if path.is_file())
        for path in sorted(files, key=lambda path: (path.suffix == ".html", path)):
            store.write_bytes(path.relative_to(made).as_posix(), path.read_bytes())
