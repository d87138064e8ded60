"""How often a trial is begun: no trial pays for the loss of a worker, and none goes on for ever."""

from __future__ import annotations

import dataclasses

from .lane import PlannedTrial

RETRIES = 2
"""How often a trial is begun again, without having come further, when its worker is lost (killed, machine gone)."""


@dataclasses.dataclass(kw_only=True)
class OpenTrial:
    """A trial that is offered or running.

    A loss counts where no checkpoint beyond those of all earlier attempts was written. Every other loss is paid for by
    steps that need not be taken again, of which there are finitely many.
    """

    trial: PlannedTrial
    attempt: int = 0
    kept: int = 0
    """The step of the furthest checkpoint that was ever told of; 0 for none."""
    _losses: int = 0
    _kept_at_loss: int = 0

    def keep(self, step: int) -> None:
        """Take note of a checkpoint."""
        self.kept = max(self.kept, step)

    def lose(self) -> bool:
        """Take note that the attempt was lost; return whether another one is worth while."""
        if self.kept > self._kept_at_loss:
            self._losses, self._kept_at_loss = 0, self.kept
        else:
            self._losses += 1
        if self._losses > RETRIES:
            return False
        self.attempt += 1
        return True
