"""How several workers share a probe: each takes some of the passes, and sums tell all of them the whole.

All workers draw the same batches and random signs, and hold the same weights; after a sum they hold the same bits. What
a pass draws itself (dropout) differs between workers, as between the passes of one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TypeVar

import torch

_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Workers:
    """The data-parallel workers of a run, seen from one of them."""

    rank: int = 0
    count: int = 1

    @classmethod
    def of(cls, count: int) -> Workers:
        """Return the ``count`` workers of the process group, from this process."""
        return cls(rank=torch.distributed.get_rank(), count=count) if count > 1 else cls()

    def share(self, items: Sequence[_T]) -> Sequence[_T]:
        """Return the ones of ``items`` that this worker takes; each is taken once."""
        return items[self.rank :: self.count]

    def add_up(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each tensor by its sum over the workers, in place and in one exchange."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        torch.distributed.all_reduce(flat)
        for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def merge(self, mean: Sequence[torch.Tensor], spread: Sequence[torch.Tensor], *, taken: int, total: int) -> None:
        """Replace the workers' means and sums of squared deviations by those over all items, in place.

        Args:
            mean: Of this worker's ``taken`` items; zero where it has none.
            spread: Their sum of squared deviations from it.
            taken: Items of this worker.
            total: Items of all workers.
        """
        if self.count == 1:
            return
        own = [tensor.clone() for tensor in mean]
        for tensor in mean:
            tensor.mul_(taken / total)
        self.add_up(mean)
        for deviations, part, whole in zip(spread, own, mean, strict=True):  # no difference of large sums
            deviations.addcmul_(part - whole, part - whole, value=taken)
        self.add_up(spread)


ALONE = Workers()
"""One worker."""
