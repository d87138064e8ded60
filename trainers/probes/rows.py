"""What a probe yields: sums and counts. Ratios are for who has averaged over draws."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import torch

ALL = "all"
"""The scope of a sum over all trained parameters."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProbeRow:
    """One measured quantity: ``total`` is its sum over ``count`` items.

    Attributes:
        step: Optimiser steps taken before the probe.
        examples: Examples seen before the probe.
        name: The quantity.
        scope: ``all``, or the name of a parameter tensor. Every quantity is a sum over coordinates (noise_to_signal a
            mean over them), and a tensor's part is the part of its coordinates: parts add up to the whole, and of
            vᵀHv a tensor has v·Hv over its own coordinates, curvature between tensors included.
        batch_size: Examples behind each item; 0 where no batch is drawn.
        rate: Learning rate along a line; NaN elsewhere.
        draw: Rows of the same step and draw were made from the same random batches.
        total: The sum.
        count: The items.
    """

    step: int
    examples: int
    name: str
    scope: str
    batch_size: int
    rate: float
    draw: int
    total: float
    count: int


class Rows:
    """Collects the rows of one probe."""

    def __init__(self, *, step: int, examples: int, scopes: Sequence[str], per_layer: bool) -> None:
        """Begin; ``scopes`` names the parameter tensors in the order of all parts."""
        self._place = {"step": step, "examples": examples}
        self._scopes = list(scopes)
        self._per_layer = per_layer
        self.rows: list[ProbeRow] = []

    def add(
        self, name: str, parts: torch.Tensor, *, draw: int, batch_size: int = 0, count: int | torch.Tensor = 1
    ) -> None:
        """Add a quantity from its ``parts``, one a parameter tensor; ``count`` is a tensor where each has its own."""
        totals = parts.double().tolist()
        counts = [count] * len(totals) if isinstance(count, int) else [int(number) for number in count.tolist()]
        whole = count if isinstance(count, int) else sum(counts)
        self._append(name, ALL, math.fsum(totals), whole, draw=draw, batch_size=batch_size)
        if self._per_layer:
            for scope, total, number in zip(self._scopes, totals, counts, strict=True):
                self._append(name, scope, total, number, draw=draw, batch_size=batch_size)

    def add_loss(self, loss: float, *, rate: float, draw: int, batch_size: int) -> None:
        """Add a mean loss at a rate along a line."""
        self._append("line_loss", ALL, loss, 1, draw=draw, batch_size=batch_size, rate=rate)

    def _append(
        self, name: str, scope: str, total: float, count: int, *, draw: int, batch_size: int, rate: float = math.nan
    ) -> None:
        self.rows.append(
            ProbeRow(
                name=name,
                scope=scope,
                batch_size=batch_size,
                rate=rate,
                draw=draw,
                total=total,
                count=count,
                **self._place,
            )
        )
