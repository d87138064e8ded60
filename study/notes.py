"""What crews have to tell the user, each line once, and not without end."""

from __future__ import annotations

from collections.abc import Callable

MOST_NOTES = 20
"""Lines that are told: a storage in trouble would fill the screen."""


class Notes:
    """Passes on each line once."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        """Pass on to ``tell``."""
        self._tell = tell
        self._told: set[str] = set()

    def take(self, line: str) -> None:
        """Pass on a line that was not told yet."""
        if line in self._told or len(self._told) > MOST_NOTES:
            return
        self._told.add(line)
        self._tell(line if len(self._told) <= MOST_NOTES else "more of this kind is not told")
