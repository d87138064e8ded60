"""Randomness that comes in by the door: libraries that only know torch's global state, boxed in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch


@contextlib.contextmanager
def seeded(*seed: int) -> Iterator[None]:
    """Run a block with torch's global CPU generator seeded by ``seed``; the state outside is untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(mix(*seed))
        yield


def mix(*seed: int) -> int:
    """Return one 63-bit seed from several numbers, so that neighbouring seeds give unrelated streams."""
    return int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> 1)
