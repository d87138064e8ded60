"""Where a study's checkpoints lie: beside its rows, one folder a trial, gone once the trial is stored.

<results>/checkpoints/token               what the driver wrote, by which a worker knows that it sees the same place
                      <trial id>/…        see ``trainers.keeper``
"""

from __future__ import annotations

import contextlib
import functools
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from results.storage import Storage, open_storage

_FOLDER = "checkpoints"
_TOKEN = "token"
_TRIAL_ID = re.compile(r"^[0-9a-f]{16}$")


class CheckpointPlace:
    """The driver's side: it tells crews where to keep checkpoints, and removes what is needed no more.

    A storage that fails is told, not raised: no study ends for want of a checkpoint.
    """

    def __init__(self, storage: Storage, *, every_seconds: float | None) -> None:
        """Keep checkpoints in ``storage``; none where ``every_seconds`` is none."""
        self._url = storage.where(_FOLDER).removesuffix(f"/{_FOLDER}")
        self._every_seconds = every_seconds
        self._token = secrets.token_hex(8)
        self._there: set[str] = set()
        self._is_open = False

    def open(self, *, is_stored: Callable[[str], bool]) -> str:
        """Make ready, and remove what an earlier run left of trials that are stored.

        Returns:
            Why there are no checkpoints, in one line; nothing where all is well.
        """
        try:
            fs, folder = self._place
            self._remove(is_stored)
            self._there = set(_trials_in(fs, folder))
            if self._every_seconds is not None:
                fs.makedirs(folder, exist_ok=True)
                fs.pipe_file(f"{folder}/{_TOKEN}", self._token.encode())
                self._is_open = True
        except Exception as error:  # each kind of storage has errors of its own
            if self._every_seconds is not None:
                reason = " ".join(str(error).split()) or type(error).__name__
                return (
                    f"{self._url}: no checkpoints are kept, so that a trial whose worker is lost begins anew: {reason}"
                )
        return ""

    def job(self, trial_id: str) -> dict[str, Any]:
        """Return what a crew needs to keep checkpoints of a trial, under ``checkpoints``; None where none are kept."""
        if not self._is_open:
            return {"checkpoints": None}
        return {
            "checkpoints": {
                "url": self._url,
                "token": self._token,
                "folder": trial_id,
                "every_seconds": self._every_seconds,
            }
        }

    def kept(self, trial_id: str) -> None:
        """Take note that there is a checkpoint of a trial."""
        self._there.add(trial_id)

    def forget(self, trial_id: str) -> None:
        """Remove the checkpoints of a trial, which is stored."""
        if trial_id in self._there:
            self._there.remove(trial_id)
            self._remove(lambda name: name == trial_id)

    def close(self, *, is_stored: Callable[[str], bool], finished: bool) -> None:
        """Remove what no run will go on from: everything once a study is ``finished``."""
        self._remove(lambda name: finished or is_stored(name))
        with contextlib.suppress(Exception):
            fs, folder = self._place
            if fs.cat_file(f"{folder}/{_TOKEN}") == self._token.encode():  # no other driver's that took over
                fs.rm_file(f"{folder}/{_TOKEN}")
            if fs.isdir(folder) and not fs.ls(folder, detail=False):
                fs.rmdir(folder)

    @functools.cached_property
    def _place(self) -> tuple[Any, str]:
        return _folder_of(self._url)

    def _remove(self, which: Callable[[str], bool]) -> None:
        with contextlib.suppress(Exception):  # what can't be removed costs room, and no result
            fs, folder = self._place
            for name in filter(which, _trials_in(fs, folder)):
                fs.rm(f"{folder}/{name}", recursive=True)


def sees(checkpoints: Mapping[str, Any]) -> bool:
    """Return whether this process sees the place of ``CheckpointPlace.job``: a folder may be another machine's."""
    try:
        fs, folder = _folder_of(checkpoints["url"])
        return bool(fs.cat_file(f"{folder}/{_TOKEN}").decode() == checkpoints["token"])
    except Exception:  # each kind of storage has errors of its own
        return False


def keeper_of(checkpoints: Mapping[str, Any], *, origin: Mapping[str, str]) -> Any:
    """Return the ``trainers.keeper.Keeper`` of a job, in this process and, where it is one of several, its group."""
    from trainers.keeper import Keeper

    fs, folder = _folder_of(checkpoints["url"])
    every_seconds = checkpoints["every_seconds"]
    return Keeper(fs, f"{folder}/{checkpoints['folder']}", every_seconds=every_seconds, origin=origin)


def _folder_of(place: str) -> tuple[Any, str]:
    fs, root = open_storage(place).filesystem()
    return fs, f"{root}/{_FOLDER}"


def _trials_in(fs: Any, folder: str) -> list[str]:
    fs.invalidate_cache(folder)
    try:
        found = fs.ls(folder, detail=False)
    except FileNotFoundError:
        return []
    names = (path.rstrip("/").rsplit("/", 1)[-1] for path in found)
    return [name for name in names if _TRIAL_ID.match(name)]
