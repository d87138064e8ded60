"""Asks Ray Tune for crews, not for trials: Tune starts them, places them and tells of their deaths."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from .desk_actor import RemoteDesk
from .dispatch import Dispatch
from .lost_worker import cause_of_loss
from .placement import PlacementGroups

LISTEN_SECONDS = 0.4
"""How long the driver listens at the desk, in each turn of Tune's loop, once all crews are there."""
TURN_SECONDS = 1.0
"""How long it may go on while there is news."""


class Crews(Searcher):
    """A Tune searcher that suggests as many crews as there is work for. A crew that dies is followed by another one."""

    def __init__(
        self, dispatch: Dispatch, settings: Mapping[str, Any], *, look: Callable[[], None], ended: Callable[[], bool]
    ) -> None:
        """Give each crew its name and ``settings``; ``look`` for room before; suggest no more once ``ended`` holds."""
        super().__init__()
        self._dispatch = dispatch
        self._settings = settings
        self._look = look
        self._ended = ended
        self._numbers = itertools.count()
        self.alive: dict[str, str] = {}
        """Names of the crews that Tune has been given and that have not ended, by Tune's own id."""

    def __getstate__(self) -> dict[str, Any]:
        """Keep nothing: Ray pickles its searcher for a restore that is never asked for."""
        return {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """Return the settings of another crew, ``None`` while there are enough, or ``FINISHED``."""
        self._look()  # without a crew Tune asks here alone, and takes no other turns
        if self._dispatch.finished or self._dispatch.failure or self._ended():
            return Searcher.FINISHED
        if len(self.alive) >= self._dispatch.crews_wanted:
            return None
        self.alive[trial_id] = f"crew-{next(self._numbers)}"
        return {"crew": self.alive[trial_id], **self._settings}

    def on_trial_complete(
        self,
        trial_id: str,
        result: dict[str, Any] | None = None,  # noqa: ARG002
        error: bool = False,  # noqa: ARG002
    ) -> None:
        """Make room for another crew."""
        self.alive.pop(trial_id, None)

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the stored rows are the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: the stored rows are the state."""


class Switchboard(tune.Callback):
    """Lets the driver listen at the desk in Tune's own loop, and tells it of crews that end."""

    def __init__(
        self,
        dispatch: Dispatch,
        desk: RemoteDesk,
        crews: Crews,
        *,
        look: Callable[[], None],
        tick: Callable[[], None],
        ended: Callable[[], bool],
        placement_groups: PlacementGroups | None = None,
    ) -> None:
        """Carry news from ``desk`` to ``dispatch``; call ``look`` and ``tick`` often; stop all once ``ended`` holds.

        ``placement_groups`` are those of crews of several workers; what a crew leaves there is freed.
        """
        self._dispatch = dispatch
        self._desk = desk
        self._crews = crews
        self._look = look
        self._tick = tick
        self._ended = ended
        self._placement_groups = placement_groups

    def __getstate__(self) -> dict[str, Any]:
        """Keep nothing: Ray pickles its callbacks for a restore that is never asked for."""
        return {}

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:  # noqa: ARG002
        """A crew died."""
        self._crew_ended(trial, _cause(trial))

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:  # noqa: ARG002
        """A crew went home."""
        self._crew_ended(trial, "WorkerLost: its worker left")

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:  # noqa: ARG002
        """Listen until there is no more news, or Tune has waited long enough."""
        if self._ended():
            self._dispatch.stop()
        self._look()
        until = time.monotonic() + TURN_SECONDS
        while True:
            epoch, news = self._desk.collect(0.0 if self._tune_has_work() else LISTEN_SECONDS)
            self._dispatch.hear(epoch, news)
            for message in news:
                if self._placement_groups and message["kind"] == "came":
                    self._placement_groups.claimed(message["crew"], message["placement_group"])
            self._tick()
            if not news or time.monotonic() >= until:
                return

    def _crew_ended(self, trial: Trial, cause: str) -> None:
        crew = trial.config["crew"]
        self._dispatch.crew_ended(crew, cause)
        if self._placement_groups:
            others = [name for name in self._crews.alive.values() if name != crew]
            self._placement_groups.crew_ended(crew, alive=others)

    def _tune_has_work(self) -> bool:
        """Whether crews are about to come or to go, which Tune must see to."""
        alive = self._crews.alive.values()
        over = self._ended() or self._dispatch.finished or self._dispatch.failure is not None
        return over or len(alive) < self._dispatch.crews_wanted or not all(map(self._dispatch.is_present, alive))


def _cause(trial: Trial) -> str:
    path = trial.error_file  # on this machine; Tune's own accessor looks in the experiment's storage
    return cause_of_loss(None if path is None else Path(path))
