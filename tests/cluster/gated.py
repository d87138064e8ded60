"""A user's workload whose trials can be held in the middle: the noisy quadratic, with gates and a pace.

A trial lasts ``seconds_a_batch`` times its steps, unless the environment says ``TRIAL_PACE=none``.

Where the environment names a folder ``TRIAL_GATES``, a trial whose seed has a file ``hold-<seed>`` there says so in
``held-<seed>-<process>`` after a few batches, and waits until the first file is gone. Nothing of this is in the
specification: a trial has the same id and the same numbers, held or not.
"""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from trainers.workload import Batch
from trainers.workloads.quadratic import Quadratic, QuadraticSettings

GATE_AFTER_BATCHES = 4


class GatedSettings(QuadraticSettings):
    seconds_a_batch: float = Field(default=0.0, ge=0)
    """How long the examples of a step take to come; they cost nothing else."""
    archive: str | None = None
    """A file that must be there when the workload is loaded, as a data set must."""


class Gated(Quadratic):
    name = "gated"
    Settings = GatedSettings

    def __init__(self, settings: GatedSettings) -> None:
        super().__init__(settings)
        self._pause = threading.Event()
        if settings.archive is not None and not Path(settings.archive).is_file():
            from trainers.errors import DataError

            raise DataError(f"{settings.archive}: the archive is gone")

    def train_batches(self, *, batch_size: int, seed: int) -> Iterator[Batch]:
        pause = 0.0 if os.environ.get("TRIAL_PACE") == "none" else self.settings.seconds_a_batch
        for number, batch in enumerate(super().train_batches(batch_size=batch_size, seed=seed)):
            if number == GATE_AFTER_BATCHES:
                self._wait_at_the_gate(seed)
            self._pause.wait(pause)
            yield batch

    def _wait_at_the_gate(self, seed: int) -> None:
        folder = os.environ.get("TRIAL_GATES")
        if folder is None or not (gate := Path(folder) / f"hold-{seed}").exists():
            return
        (Path(folder) / f"held-{seed}-{os.getpid()}").touch()
        while gate.exists():
            self._pause.wait(0.02)
