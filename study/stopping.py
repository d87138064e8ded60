"""Ending a study early from the driver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray.tune import Stopper


class StopOn(Stopper):
    """Stops all trials as soon as ``condition`` holds; Tune asks several times a second."""

    def __init__(self, condition: Callable[[], bool]) -> None:
        """Ask ``condition``."""
        self._condition = condition

    def __getstate__(self) -> dict[str, Any]:
        """Keep nothing: Ray pickles its stopper for a restore that is never asked for."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:  # noqa: ARG002
        """Never stop one trial alone."""
        return False

    def stop_all(self) -> bool:
        """Return whether the study is to end."""
        return self._condition()
