"""The Ray actor that trains: one process for the length of the study, one trial after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray import tune

from .crew import facts, work
from .desk_actor import RemoteDesk
from .training import Training


class Worker(tune.Trainable):
    """A crew of one. To Ray Tune it is one long trial, which ends when the desk sends it home."""

    def setup(self, config: Mapping[str, Any]) -> None:
        """Prepare the process."""
        self._crew: str = config["crew"]
        self._desk = RemoteDesk(config["desk"])
        self._training = Training()
        self._training.prepare(cpus=config["cpus"], gpus=config["gpus"])

    def step(self) -> dict[str, Any]:
        """Work until there is nothing left to do."""
        work(self._desk, crew=self._crew, train=self._training.events, facts=facts())
        return {"done": True}
