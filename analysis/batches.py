"""One batch size's cells as a curve between the nearest worse cells, with draws of its noise."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from .noise import CellNoise, cell_noise
from .windows import Curve


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batch:
    """One batch size's cells.

    ``curve`` is None where none is measured; ``lowest_diverged`` is log2 of the lowest rate if all diverged.
    """

    batch_size: int | float
    cells: int
    seeds: int
    scale: str
    curve: Curve | None
    lowest_diverged: float | None


def batches_of(part: pd.DataFrame, *, seed: Sequence[int], resamples: int) -> list[Batch]:
    """Return the batch sizes of one sweep's cells, from small to large, each with draws of its scores.

    Args:
        part: rows of one sweep from ``tabulate_cells``.
        seed: decides the draws together with a batch size's own scores.
        resamples: how many draws.
    """
    noise = cell_noise(part)
    batches: list[Batch] = []
    keys: set[int] = set()
    for batch_size, cells in part.sort_values("learning_rate").groupby("batch_size", sort=True):
        # A stream of its own by content: other rows do not move it, nor does the unit of the batch size.
        own = zlib.crc32(np.ascontiguousarray(cells["score"].to_numpy(dtype=float)).tobytes())
        while own in keys:
            own += 1
        keys.add(own)
        rng = np.random.default_rng([*seed, own])
        batches.append(_batch(cells, batch_size, noise.get(float(str(batch_size))), rng, resamples))
    return batches


def _batch(
    cells: pd.DataFrame, batch_size: Any, noise: CellNoise | None, rng: np.random.Generator, resamples: int
) -> Batch:
    x = np.log2(cells["learning_rate"].to_numpy(dtype=float))
    status = cells["status"].to_numpy()
    score = cells["score"].to_numpy(dtype=float)
    seeds = cells["seeds"].to_numpy()
    measured = np.flatnonzero(status == "measured")
    keep, below, above, curve = measured, None, None, None
    if noise is not None:
        best = measured[np.argmin(score[measured])]
        worse = (status == "diverged") | ((status == "right_censored") & (score >= score[best]))
        index = np.arange(len(x))
        over = np.flatnonzero(worse & (index > best))
        under = np.flatnonzero(worse & (status == "right_censored") & (index < best))
        if len(over):
            keep, above = keep[keep < over[0]], float(x[over[0]])
        if len(under):
            keep, below = keep[keep > under[-1]], float(x[under[-1]])
        sd = noise.sd[np.isin(measured, keep)]
        # Normal noise of an estimated size: its spread is that of Student's t.
        size = (
            np.sqrt(noise.degrees / rng.chisquare(noise.degrees, resamples)) if noise.degrees else np.zeros(resamples)
        )
        curve = Curve(
            x=x[keep],
            scores=score[keep][None, :],
            sd=sd,
            degrees=noise.own,
            noise=size[:, None] * rng.standard_normal((resamples, len(keep))),
            below=below,
            above=above,
            rng=rng,
        )
    return Batch(
        batch_size=batch_size,
        cells=len(x),
        seeds=int(seeds[keep].min() if len(keep) else seeds.min()),
        scale=str(cells["scale"].iloc[0]),
        curve=curve,
        lowest_diverged=float(x[0]) if np.all(status == "diverged") else None,
    )
