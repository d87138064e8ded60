"""How often a trial is begun: no trial pays for the loss of a worker, and none goes on for ever."""

from __future__ import annotations

import dataclasses

from .lane import PlannedTrial


@dataclasses.dataclass(kw_only=True)
class OpenTrial:
    """A trial that is offered or running.

    A loss counts where no checkpoint beyond those of all earlier attempts was written. Every other loss is paid for by
    steps that need not be taken again, of which there are finitely many.
    """

    trial: PlannedTrial
    retries: int
    """How often it is begun again, without having come further, when its worker is lost (killed, machine gone)."""
    attempt: int = 0
    kept: int = 0
    """The step of the furthest checkpoint that was ever told of; 0 for none."""
    limits: dict[str, int] = dataclasses.field(default_factory=dict)
    """The largest micro-batch that this trial's own attempts found to fit, by name of the hardware."""
    halvings: int = 0
    """How often it was begun again with a smaller one."""
    _losses: int = 0
    _kept_at_loss: int = 0
    _crowded: int = 0

    def keep(self, step: int) -> None:
        """Take note of a checkpoint."""
        self.kept = max(self.kept, step)

    def lose(self) -> bool:
        """Take note that the attempt was lost; return whether another one is worth while."""
        if self.kept > self._kept_at_loss:
            self._losses, self._kept_at_loss = 0, self.kept
        else:
            self._losses += 1
        if self._losses > self.retries:
            return False
        self.attempt += 1
        return True

    def shrink(self, hardware: str, micro_batch_at_most: int) -> bool:
        """Take note that less than tried fits into memory; return whether another attempt is worth while."""
        if not 1 <= micro_batch_at_most < self.limits.get(hardware, micro_batch_at_most + 1):
            return False
        self.limits[hardware] = micro_batch_at_most
        self.halvings += 1
        self.attempt += 1
        return True

    def lose_for_memory(self, hardware: str, micro_batch_size: int) -> bool:
        """Take note that the attempt was lost because its machine ran out of memory.

        That may be another process's doing, so that the micro-batch is halved from the second time on.

        Args:
            hardware: what the machine has; empty where that is not known.
            micro_batch_size: examples of a forward pass without the limits known here.

        Returns:
            Whether another attempt is worth while.
        """
        self._crowded += 1
        if self._crowded > 1 and hardware:
            tried = min(micro_batch_size, self.limits.get(hardware, micro_batch_size))
            if self.shrink(hardware, tried // 2):
                return True
        return self.lose()
