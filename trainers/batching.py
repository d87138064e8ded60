"""Batch arithmetic: how B examples become micro-batches, and how one stream of examples is cut."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch

from .errors import SettingsError
from .workload import Batch

_BLOCK = 512
"""Examples that are picked at once, which costs little per example."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """``batch_size = world_size x accumulation_steps x micro_batch_size``, exactly.

    ``halvings`` counts how often the micro-batch was made smaller for want of memory, which then was found to hold
    ``micro_batch_at_most`` examples at most: of a batch that can't be cut so, a micro-batch has fewer.
    """

    batch_size: int
    world_size: int
    micro_batch_size: int
    halvings: int = 0
    micro_batch_at_most: int | None = None

    @property
    def device_share(self) -> int:
        """Examples of one optimiser step that one worker processes."""
        return self.batch_size // self.world_size

    @property
    def accumulation_steps(self) -> int:
        """Forward passes of one worker in one optimiser step."""
        return self.device_share // self.micro_batch_size

    def check_coupling(self, *, examples_are_independent: bool, coupled_examples: int | None = None) -> None:
        """Check that a forward pass sees the examples that a loss which couples them needs.

        Args:
            examples_are_independent: as the workload declares it.
            coupled_examples: the same: the size of a group where the loss couples groups alone.

        Raises:
            SettingsError: a pass sees one example (BatchNorm and contrastive losses need two), or no whole groups.
        """
        if coupled_examples is not None and self.micro_batch_size % coupled_examples:
            whole = self.device_share % coupled_examples == 0
            way_out = (
                f"set micro_batch_size to a multiple of {coupled_examples}, or leave it out"
                if whole
                else f"nearest batch_size: {_nearest(self.batch_size, self.world_size * coupled_examples)}"
            )
            raise SettingsError(
                f"a forward pass must see whole groups of the {coupled_examples} examples that the loss couples, but "
                f"batch_size {self.batch_size} gives {self.micro_batch_size}; {way_out}"
            )
        if self.micro_batch_size < 2 and not examples_are_independent:
            raise SettingsError(
                "a forward pass needs at least 2 examples where the loss couples them (BatchNorm, contrastive losses), "
                f"but batch_size {self.batch_size} gives {self.micro_batch_size}; use a larger batch or "
                "micro_batch_size, or fewer workers"
            )

    def halved(self) -> BatchPlan:
        """Return the plan with the largest micro-batch of at most half the size; B stays.

        Raises:
            SettingsError: the micro-batch is one example already.
        """
        if self.micro_batch_size == 1:
            raise SettingsError(
                f"one example does not fit into the memory of a device (batch_size {self.batch_size} on "
                f"{self.world_size} workers); use a smaller model, bfloat16, or zero_stage 1 to 3 with more workers"
            )
        at_most = self.micro_batch_size // 2
        return dataclasses.replace(self.limited(at_most), halvings=self.halvings + 1, micro_batch_at_most=at_most)

    def limited(self, at_most: int) -> BatchPlan:
        """Return the plan with the largest micro-batch of at most ``at_most`` examples and of this one's; B stays."""
        at_most = min(at_most, self.micro_batch_size)
        return dataclasses.replace(self, micro_batch_size=largest_divisor(self.device_share, at_most=at_most))


def plan_batch(batch_size: int, *, world_size: int, micro_batch_size: int | None) -> BatchPlan:
    """Split ``batch_size`` over ``world_size`` workers into micro-batches.

    Args:
        batch_size: global examples per optimiser step.
        world_size: data-parallel workers.
        micro_batch_size: examples per forward pass; ``None`` takes a worker's whole share at once. When it
            is at least the share, the share is taken.

    Raises:
        SettingsError: the split is impossible; names the nearest batch sizes that work.
    """
    if batch_size % world_size:
        raise SettingsError(
            f"batch_size must be a multiple of the {world_size} workers, but got {batch_size}; "
            f"nearest: {_nearest(batch_size, world_size)}"
        )
    share = batch_size // world_size
    if micro_batch_size is None or micro_batch_size >= share:
        return BatchPlan(batch_size=batch_size, world_size=world_size, micro_batch_size=share)
    if share % micro_batch_size:
        unit = world_size * micro_batch_size
        raise SettingsError(
            f"batch_size must be a multiple of workers x micro_batch_size, but got {batch_size} with "
            f"{world_size} x {micro_batch_size}; nearest: {_nearest(batch_size, unit)}"
        )
    return BatchPlan(batch_size=batch_size, world_size=world_size, micro_batch_size=micro_batch_size)


def largest_divisor(number: int, *, at_most: int) -> int:
    """Return the largest divisor of ``number`` that is at most ``at_most`` (1 always is)."""
    return next(d for d in range(min(at_most, number), 0, -1) if number % d == 0)


def _nearest(number: int, unit: int) -> str:
    below, above = number // unit * unit, (number // unit + 1) * unit
    return str(above) if below == 0 else f"{below} or {above}"


def map_tensors(function: Callable[[torch.Tensor], torch.Tensor], batch: Batch) -> Batch:
    """Return ``batch`` with ``function`` applied to each of its tensors."""
    if isinstance(batch, torch.Tensor):
        return function(batch)
    if isinstance(batch, dict):
        return {key: map_tensors(function, value) for key, value in batch.items()}
    return tuple(map_tensors(function, value) for value in batch)


def cut(batch: Batch, first: int, last: int) -> Batch:
    """Return the examples ``first`` to ``last`` (exclusive) of ``batch``, without copying."""
    return map_tensors(lambda tensor: tensor[first:last], batch)


def micro_batches(batch: Batch, plan: BatchPlan, *, rank: int) -> Iterator[Batch]:
    """Yield the micro-batches of worker ``rank``, in order: a contiguous share of the global batch."""
    start = rank * plan.device_share
    for first in range(start, start + plan.device_share, plan.micro_batch_size):
        yield batch if plan.micro_batch_size == plan.batch_size else cut(batch, first, first + plan.micro_batch_size)


def example_order(size: int, *, seed: int) -> Iterator[np.ndarray]:
    """Yield one permutation of ``range(size)`` per epoch, for ever."""
    rng = np.random.default_rng(seed)
    while True:
        yield rng.permutation(size)


def chunks(orders: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Cut the concatenation of ``orders`` into arrays of ``size`` entries; chunks may cross epochs."""
    rest = np.empty(0, dtype=np.int64)
    for order in orders:
        rest = np.concatenate([rest, order])
        whole = len(rest) // size * size
        yield from rest[:whole].reshape(-1, size)
        rest = rest[whole:]


def example_blocks(tensors: dict[str, torch.Tensor], *, seed: int) -> Iterator[Batch]:
    """Yield ``tensors`` in blocks of examples, in an order drawn anew each epoch, for ever.

    Args:
        tensors: by name; the first dimension counts examples.
        seed: decides the order.
    """
    count = len(next(iter(tensors.values())))
    for rows in chunks(example_order(count, seed=seed), min(_BLOCK, count)):
        chosen = torch.from_numpy(rows)
        yield {name: tensor[chosen] for name, tensor in tensors.items()}


def rebatch(blocks: Iterable[Batch], batch_size: int) -> Iterator[Batch]:
    """Cut a stream of blocks of examples, of any sizes, into batches of ``batch_size``.

    Workloads make examples in blocks (augmentation and masking cost little per example there), so the
    stream does not depend on the batch size.
    """
    held: list[Batch] = []
    available = 0
    for block in blocks:
        held.append(block)
        available += _length(block)
        if available < batch_size:
            continue
        merged = held[0] if len(held) == 1 else _concatenate(held)
        whole = available // batch_size * batch_size
        for first in range(0, whole, batch_size):
            yield cut(merged, first, first + batch_size)
        held = [cut(merged, whole, available)] if whole < available else []
        available -= whole


def _length(batch: Batch) -> int:
    while not isinstance(batch, torch.Tensor):
        batch = next(iter(batch.values())) if isinstance(batch, dict) else batch[0]
    return len(batch)


def _concatenate(blocks: list[Batch]) -> Batch:
    first = blocks[0]
    if isinstance(first, torch.Tensor):
        return torch.cat(blocks)  # type: ignore[arg-type]
    if isinstance(first, dict):
        return {key: _concatenate([block[key] for block in blocks]) for key in first}  # type: ignore[index,call-overload]
    return tuple(_concatenate(list(parts)) for parts in zip(*blocks, strict=True))
