"""Where a run's checkpoints lie: each written whole or not at all, the last two kept, the newest whole one taken.

    <folder>/<step>-<token>/common.safetensors     what all workers hold alike
                            rank-0.safetensors     what each has of its own
                            manifest.json          written last: sizes and digests of the files, and of itself

The folder is in any fsspec file system that all workers see. A file without a manifest that tells its digest is not
read.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from .agreement import all_say, first_says, from_all, from_first, rank_and_count
from .errors import first_line
from .tensor_file import CheckpointError

_FORMAT = 1
_KEPT = 2
_MOST_SHARE = 0.05
"""Of a run's time, spent on writing checkpoints."""
_NAME = re.compile(r"^\d{12}-[0-9a-f]{8}$")
_COMMON, _MANIFEST = "common.safetensors", "manifest.json"

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What ``Keeper.save`` was given; ``own`` is this worker's."""

    step: int
    common: bytes
    own: bytes
    run: dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Written:
    """What writing a checkpoint took on this worker; ``problem`` says why there is none, where there is none."""

    seconds: float
    file_bytes: int
    problem: str


class Keeper:
    """The checkpoints of one run. Every worker of the run has one and makes the same calls."""

    def __init__(
        self, filesystem: Any, folder: str, *, every_seconds: float, origin: Mapping[str, str] | None = None
    ) -> None:
        """Look at no file yet.

        Args:
            filesystem: Of fsspec.
            folder: The run's own, in that file system; made when there is something to keep.
            every_seconds: Between two checkpoints, and before the first; longer where writing one takes more than a
                twentieth of it.
            origin: What a checkpoint must have in common with this run to be used, by name, such as the trial's id and
                the code's digest.
        """
        self._fs, self._folder = filesystem, folder.rstrip("/")
        self._every_seconds = every_seconds
        self._origin = dict(origin or {})
        self._rank, self._count = rank_and_count()
        self._next = time.monotonic() + every_seconds

    def due(self) -> bool:
        """Return whether it is time for a checkpoint: worker 0's clock decides for all."""
        return first_says(time.monotonic() >= self._next)

    def hurry(self) -> None:
        """Make the next moment due, as where the machine is about to be taken away; from any thread, of worker 0."""
        self._next = -math.inf

    def save(self, *, step: int, common: bytes, own: bytes, run: dict[str, Any], origin: Mapping[str, str]) -> Written:
        """Write a checkpoint, and remove what came before the last two.

        A storage that fails is told, not raised: no run ends for want of a checkpoint.

        Args:
            step: Optimiser steps taken.
            common: What worker 0 writes for all.
            own: What this worker writes.
            run: Plain JSON values, for the manifest.
            origin: More of ``__init__``'s.
        """
        started = time.monotonic()
        name = from_first(f"{step:012d}-{uuid.uuid4().hex[:8]}".encode()).decode()
        files = {_own_name(self._rank): own} | ({_COMMON: common} if self._rank == 0 else {})
        problem = self._try_to_write(name, files)
        digests = [_digest_of(told) for told in from_all(_told(own, well=not problem))]
        if self._rank == 0:
            if lost := [rank for rank, digest in enumerate(digests) if digest is None]:
                problem = problem or f"worker {lost[0]} could not write its file"
            else:
                entries = {_own_name(rank): digest for rank, digest in enumerate(digests)}
                entries[_COMMON] = _digest_of(_told(common, well=True))
                told = {"format": _FORMAT, "step": step, "origin": {**self._origin, **origin}, "run": run}
                problem = self._try_to_write(name, {_MANIFEST: _signed({**told, "files": entries})})
            if not problem:
                self._prune()
        seconds = time.monotonic() - started
        self._next = time.monotonic() + max(self._every_seconds, seconds / _MOST_SHARE)
        return Written(seconds=seconds, file_bytes=sum(map(len, files.values())), problem=problem)

    def load(self, use: Callable[[Checkpoint], T], *, origin: Mapping[str, str]) -> tuple[T | None, list[str]]:
        """Return what ``use`` makes of the newest checkpoint that every worker can use; None where there is none.

        Args:
            use: Raises CheckpointError where it can't use one.
            origin: More of ``__init__``'s.

        Returns:
            That, and what this worker saw to be wrong with newer ones, a line each.
        """
        names, problems = self._names()
        for name in json.loads(from_first(json.dumps(names[::-1]).encode())):
            found, problem = None, ""
            try:
                found = use(self._read(name, {**self._origin, **origin}))
            except Exception as error:  # each kind of storage has errors of its own
                problem = first_line(error)
            if all_say(not problem):
                return found, problems
            problems.append(f"checkpoint {name} is not used: {problem or 'another worker can not use it'}")
        return None, problems

    def _names(self) -> tuple[list[str], list[str]]:
        """Return the checkpoints' names, oldest first, and the line to say where they can't be listed."""
        try:
            self._fs.invalidate_cache(self._folder)
            found = self._fs.ls(self._folder, detail=False)
        except FileNotFoundError:
            return [], []
        except Exception as error:
            return [], [f"checkpoints can't be listed: {first_line(error)}"]
        names = (path.rstrip("/").rsplit("/", 1)[-1] for path in found)
        return sorted(name for name in names if _NAME.match(name)), []

    def _read(self, name: str, origin: Mapping[str, str]) -> Checkpoint:
        told = _unsigned(self._fs.cat_file(self._path(name, _MANIFEST)))
        if told["format"] != _FORMAT:
            raise CheckpointError(f"its format is {told['format']}, and this code reads {_FORMAT}")
        for key in sorted(told["origin"].keys() | origin.keys()):
            theirs, ours = (known.get(key, "unknown") for known in (told["origin"], origin))
            if theirs != ours:
                raise CheckpointError(f"its {key} is {theirs}, and this run's {ours}")
        if (count := len(told["files"]) - 1) != self._count:
            raise CheckpointError(f"it is of {count} workers, and this run has {self._count}")
        contents = [self._checked(name, file, told["files"][file]) for file in (_COMMON, _own_name(self._rank))]
        return Checkpoint(step=told["step"], common=contents[0], own=contents[1], run=told["run"])

    def _checked(self, name: str, file: str, digest: Mapping[str, Any]) -> bytes:
        content: bytes = self._fs.cat_file(self._path(name, file))
        if len(content) != digest["bytes"]:
            raise CheckpointError(f"{file} has {len(content)} bytes of {digest['bytes']}")
        if hashlib.sha256(content).hexdigest() != digest["sha256"]:
            raise CheckpointError(f"{file} is not what was written")
        return content

    def _try_to_write(self, name: str, files: Mapping[str, bytes]) -> str:
        try:
            self._fs.makedirs(f"{self._folder}/{name}", exist_ok=True)
            for file, content in files.items():
                self._fs.pipe_file(self._path(name, file), content)
        except Exception as error:  # each kind of storage has errors of its own
            return f"{type(error).__name__}: {first_line(error)}"
        return ""

    def _prune(self) -> None:
        """Remove what came before the last two; what can't be removed stays until the folder goes."""
        names, _ = self._names()
        whole = [name for name in names if self._has_manifest(name)][-_KEPT:]
        for name in names:
            if whole and name < whole[0]:
                try:
                    self._fs.rm(f"{self._folder}/{name}", recursive=True)
                except Exception:  # it costs room, and no result
                    continue

    def _has_manifest(self, name: str) -> bool:
        try:
            return bool(self._fs.exists(self._path(name, _MANIFEST)))
        except Exception:
            return False

    def _path(self, name: str, file: str) -> str:
        return f"{self._folder}/{name}/{file}"


def _own_name(rank: int) -> str:
    return f"rank-{rank}.safetensors"


def _told(content: bytes, *, well: bool) -> bytes:
    """Return what the workers tell each other of a file: whether it is written, its size and digest."""
    return bytes([well]) + len(content).to_bytes(8, "little") + hashlib.sha256(content).digest()


def _digest_of(told: bytes) -> dict[str, Any] | None:
    return {"bytes": int.from_bytes(told[1:9], "little"), "sha256": told[9:].hex()} if told[0] else None


def _signed(told: Mapping[str, Any]) -> bytes:
    text = json.dumps(told)
    return json.dumps({"sha256": hashlib.sha256(text.encode()).hexdigest(), "checkpoint": text}).encode()


def _unsigned(content: bytes) -> dict[str, Any]:
    """Return what ``_signed`` was given.

    Raises:
        CheckpointError: ``content`` is not what was written.
    """
    try:
        signed = json.loads(content)
        text = signed["checkpoint"]
        if hashlib.sha256(text.encode()).hexdigest() == signed["sha256"]:
            return dict(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError):
        pass
    raise CheckpointError(f"{_MANIFEST} is not what was written")
