"""STS Benchmark: pairs of English sentences with the similarity that people gave them (Cer et al. 2017)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .archive import read_members
from .fetch import fetch
from .source import SOURCES
from .splits import check_split

HIGHEST_SCORE = 5.0
_COLUMNS = 7
"""Genre, file, year, number, score, both sentences; some rows go on with the sentences' sources."""

Row = tuple[str, str, float]


@dataclass(frozen=True, kw_only=True)
class ScoredPairs:
    """Pairs of texts with a score.

    Attributes:
        first, second: One string a pair each.
        scores: Shape (pairs,), float32: how similar they are.
    """

    first: tuple[str, ...]
    second: tuple[str, ...]
    scores: NDArray[np.float32]


def sts_b(split: str, *, cache: Path | None = None) -> ScoredPairs:
    """Return the pairs of one published split, scored from 0 to 5, in the file's order.

    Pairs that are equal but for case, white space and order count once, at their first place. A pair of the test split
    is in no other, and one of validation not in train: 12, 3 and 7 pairs are in several as published. Single sentences
    still are: 17 in 100 validation pairs have one that is in some pair of train.

    Args:
        split: train, validation or test: 5,671, 1,494 and 1,377 pairs.
        cache: See ``fetch``.

    Raises:
        DataError: See ``fetch``; or the split has another name, or the file is another one.
    """
    check_split(split)
    rows = _read(fetch("sts-b", cache=cache))[split]
    scores = np.array([score for _, _, score in rows], dtype=np.float32)
    return ScoredPairs(first=tuple(a for a, _, _ in rows), second=tuple(b for _, b, _ in rows), scores=scores)


@lru_cache(maxsize=1)
def _read(path: Path) -> dict[str, list[Row]]:
    contents = read_members(path, SOURCES["sts-b"].members)
    seen: set[frozenset[str]] = set()
    splits = {}
    for split, (member, content) in reversed(list(zip(("train", "validation", "test"), contents.items(), strict=True))):
        own: dict[frozenset[str], Row] = {}
        for row in parse_rows(content, member):
            own.setdefault(frozenset(text.casefold() for text in row[:2]), row)
        splits[split] = [row for key, row in own.items() if key not in seen]
        seen |= own.keys()
    return splits


def parse_rows(content: bytes, member: str) -> Iterator[Row]:
    """Yield both sentences and the score of each line of tab-separated columns, which are never quoted.

    Args:
        content: Of the file.
        member: Its name.

    Raises:
        DataError: A line has fewer columns, or its fifth one is no score from 0 to 5.
    """
    for line in filter(None, content.decode("utf-8").split("\n")):  # sentences hold other marks of a line's end
        columns = line.split("\t")
        try:
            score = float(columns[4])
        except (IndexError, ValueError):
            score = -1.0
        if len(columns) < _COLUMNS or not 0.0 <= score <= HIGHEST_SCORE:
            raise DataError(f"{member} must have a score and two sentences a line, but has {line[:60]!r}.")
        yield " ".join(columns[5].split()), " ".join(columns[6].split()), score
