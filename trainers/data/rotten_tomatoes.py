"""Rotten Tomatoes: short film reviews with a verdict; the embedded text of the quick studies."""

from __future__ import annotations

import bz2
import csv
import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .archive import read_members
from .fetch import fetch
from .source import SOURCES
from .splits import assign_splits, check_split

LABELS = ("rotten", "fresh")


@dataclass(frozen=True, kw_only=True)
class LabelledTexts:
    """Texts with their classes.

    Attributes:
        texts: One string an example.
        labels: Shape (examples,), int64: index into ``label_names``.
        label_names: The classes' names.
    """

    texts: tuple[str, ...]
    labels: NDArray[np.int64]
    label_names: tuple[str, ...]


def reviews(split: str, *, cache: Path | None = None) -> LabelledTexts:
    """Return the reviews of one split: about 80 % train, 10 % validation, 10 % test.

    Summaries of plots are left out. Reviews that are equal but for case and white space count once, at their first
    place; the order is the file's.

    Args:
        split: train, validation or test; an item's split depends on its text alone.
        cache: See ``fetch``.

    Raises:
        DataError: See ``fetch``; or the split has another name.
    """
    check_split(split)
    texts, labels, splits = _read(fetch("rotten-tomatoes", cache=cache))
    chosen = np.flatnonzero(splits == split)
    return LabelledTexts(texts=tuple(texts[i] for i in chosen), labels=labels[chosen], label_names=LABELS)


@lru_cache(maxsize=1)
def _read(path: Path) -> tuple[tuple[str, ...], NDArray[np.int64], NDArray[np.str_]]:
    (member,) = SOURCES["rotten-tomatoes"].members
    content = bz2.decompress(read_members(path, [member])[member]).decode("utf-8")
    unique: dict[str, tuple[str, int]] = {}
    for row in csv.DictReader(io.StringIO(content, newline="")):
        if row["category"] in LABELS:
            text = " ".join(row["text"].split())
            unique.setdefault(text.casefold(), (text, LABELS.index(row["category"])))
    texts = tuple(text for text, _ in unique.values())
    labels = np.array([label for _, label in unique.values()], dtype=np.int64)
    labels.setflags(write=False)
    return texts, labels, assign_splits(key.encode() for key in unique)
