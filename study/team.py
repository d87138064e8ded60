"""The workers of a crew and how they reach each other: the process group, and a table that all reach at any time.

What can be agreed on between two steps, where every worker comes by, goes through the process group. A worker that
raises comes by alone, while the others may wait for it in the middle of a collective; so it leaves word in the group's
store.
"""

from __future__ import annotations

import datetime
import itertools
import json
from collections.abc import Mapping
from typing import Any, Protocol

from .errors import first_line

_FOREVER = datetime.timedelta(days=365)


class Store(Protocol):
    """What is used of ``torch.distributed.Store``."""

    def set(self, key: str, value: str) -> None:
        """Write."""

    def get(self, key: str) -> bytes:
        """Read."""

    def wait(self, keys: list[str], timeout: datetime.timedelta) -> None:
        """Return once all keys are written; raise after ``timeout``."""

    def add(self, key: str, amount: int) -> int:
        """Add to a number and return the sum."""

    def delete_key(self, key: str) -> bool:
        """Forget."""


class Links(Protocol):
    """The process group: calls that all workers make together. ``trainers.agreement`` is one."""

    def first_says(self, yes: bool) -> bool:
        """Return what worker 0 says."""

    def from_first(self, message: bytes) -> bytes:
        """Return the message of worker 0."""


class GroupBroken(BaseException):
    """This worker can't work with the others any more. No ``Exception``, so that no trial is told to have failed."""


class Team:
    """This worker and the others of its crew."""

    def __init__(self, *, rank: int, world: int, links: Links, store: Store, collectives: Any) -> None:
        """Know the others.

        Args:
            rank: this worker's number, from 0.
            world: how many there are.
            links: the process group.
            store: the group's own.
            collectives: called for the number of collectives that this worker has taken part in.
        """
        self.rank, self.world = rank, world
        self.links = links
        self._store = store
        self._collectives = collectives
        self._rounds = itertools.count()

    @classmethod
    def of_process_group(cls) -> Team:
        """Return the team of this process's default process group."""
        import torch.distributed
        from torch.distributed import distributed_c10d

        from trainers import agreement

        rank, world = agreement.rank_and_count()
        store = torch.distributed.PrefixStore("batchlaw", distributed_c10d._get_default_store())
        group = distributed_c10d._get_default_group()
        counted: Any = group  # by its types it has no such method
        return cls(
            rank=rank, world=world, links=agreement, store=store, collectives=counted._get_sequence_number_for_group
        )

    def post(self, words: Mapping[str, Any]) -> str:
        """Write this worker's words of a new round, and return the round's name."""
        number = next(self._rounds)
        if number >= 2:
            # All workers have read the round before the last one, since they have posted the last one.
            for words_of in (f"{self.rank}", "teller") if self.rank == 0 else (f"{self.rank}",):
                self._store.delete_key(_key(f"{number - 2}", words_of))
        self._store.set(_key(f"{number}", f"{self.rank}"), json.dumps(words))
        return f"{number}"

    def read(self, round_name: str, *, seconds: float | None = None) -> list[dict[str, Any]] | None:
        """Return every worker's words of a round; None where not all have posted theirs after ``seconds``."""
        keys = [_key(round_name, f"{rank}") for rank in range(self.world)]
        try:
            self._store.wait(keys, _FOREVER if seconds is None else datetime.timedelta(seconds=seconds))
            return [json.loads(self._store.get(key)) for key in keys]
        except RuntimeError as error:  # what the store raises, whatever is wrong
            if "imeout" in str(error) and seconds is not None:
                return None
            raise GroupBroken(f"WorkerLost: the group's store can't be reached: {first_line(error)}") from error

    def tells(self, round_name: str) -> bool:
        """Return whether this worker is the first to call this in a round."""
        return self._store.add(_key(round_name, "teller"), 1) == 1

    def collectives(self) -> int:
        """Return how many collectives this worker has taken part in."""
        return int(self._collectives())


def _key(round_name: str, words_of: str) -> str:
    return f"{round_name}/{words_of}"
