"""How many trials have room at a time, read again and again while a study runs: nodes join and leave."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from .capacity import Capacity, Node, capacity
from .errors import ConfigError
from .resources import Resources

READ_SECONDS = 30.0
"""Between two readings of what the cluster has."""


class Room:
    """The places of a running study. There may be none for a while, once it has begun: then it waits for a node."""

    def __init__(
        self,
        resources: Resources,
        nodes: Callable[[], Sequence[Node]],
        *,
        tell: Callable[[str], None],
        since: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read for the first time.

        Args:
            resources: what a trial asks for.
            nodes: returns what there is.
            tell: takes a line for the user, when the last place is gone.
            since: when the time began that ``place_seconds`` counts, by ``clock``.
            clock: returns seconds.

        Raises:
            ConfigError: not even one trial fits.
        """
        self._resources = resources
        self._nodes = nodes
        self._tell = tell
        self._clock = clock
        self._counted = since
        self._place_seconds = 0.0
        found = self._read()
        if not found.at_once:
            raise ConfigError(found.lacking)
        self.places = self.most = found.at_once
        """Trials that have room at a time: by the last reading, and by the reading that found most."""

    def news(self) -> int | None:
        """Read once more if it is time to, and return the places; ``None`` if it is not."""
        if self._clock() - self._last < READ_SECONDS:
            return None
        self._count()
        found = self._read()
        if self.places and not found.at_once:
            self._tell(f"the study waits for a node to join: {found.lacking}")
        self.places = found.at_once
        self.most = max(self.most, self.places)
        return self.places

    def place_seconds(self) -> float:
        """Return how long places were there, summed over them."""
        self._count()
        return self._place_seconds

    def _read(self) -> Capacity:
        self._last = self._clock()
        return capacity(self._resources, self._nodes())

    def _count(self) -> None:
        now = self._clock()
        self._place_seconds += self.places * (now - self._counted)
        self._counted = now
