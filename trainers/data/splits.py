"""Split a data set by the content of its items, so that the split is the same everywhere and copies stay together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


def check_split(split: str) -> None:
    """Raise DataError unless ``split`` is one of ``SPLITS``."""
    if split not in SPLITS:
        raise DataError(f"split must be one of {', '.join(SPLITS)}, but got {split!r}.")


def assign_splits(keys: Iterable[bytes], *, validation: float = 0.1, test: float = 0.1) -> NDArray[np.str_]:
    """Return the split of each item.

    An item's place is the first eight bytes of its key's sha256, read as a fraction of 2⁶⁴: the lowest ``test`` go to
    test, the next ``validation`` to validation, the others to train. Adding items moves no other item, and equal keys
    never straddle two splits. The sizes are therefore binomial around the fractions asked for.

    Args:
        keys: The bytes that make an item what it is.
        validation: Expected fraction of the validation split.
        test: Expected fraction of the test split.
    """
    places = [int.from_bytes(hashlib.sha256(key).digest()[:8], "big") / 2**64 for key in keys]
    edges = np.array([test, test + validation])
    return np.array(["test", "validation", "train"])[np.searchsorted(edges, np.array(places), side="right")]
