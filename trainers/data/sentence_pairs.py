"""Scored pairs of sentences as rows of ids: each sentence in a row of its own, or both in one."""

from __future__ import annotations

import dataclasses
from functools import lru_cache

import numpy as np
import torch

from ..errors import DataError
from .hub import load_hub_rows
from .splits import assign_splits
from .sts_b import HIGHEST_SCORE, ScoredPairs, sts_b
from .text_codes import TextCoder, text_coder
from .token_rows import padded

PACKAGED = "sts-b"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairFields:
    """Where a hub data set has its pairs: the names of three columns."""

    first: str
    second: str
    score: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairRows:
    """One split.

    Attributes:
        tensors: What a batch takes, by name; the first dimension counts pairs. ``scores`` (pairs,) are in [0, 1].
            Sentences apart: ``first``, ``second`` (pairs, length) and ``first_lengths``, ``second_lengths`` (pairs,).
            Together: ``tokens``, ``types`` (pairs, length) and ``lengths`` (pairs,). The ids are padded at the end.
        pairs: As they were.
    """

    tensors: dict[str, torch.Tensor]
    pairs: ScoredPairs

    def halves(self) -> torch.Tensor:
        """Return for each pair whether its text puts it into the first of two halves, shape (pairs,)."""
        keys = [f"{a}\n{b}".encode() for a, b in zip(self.pairs.first, self.pairs.second, strict=True)]
        return torch.from_numpy(assign_splits(keys, validation=0.0, test=0.5) == "test")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairData:
    """A data set of scored pairs.

    Attributes:
        train, held_out: Its splits.
        vocabulary_size: Ids are below it.
    """

    train: PairRows
    held_out: PairRows
    vocabulary_size: int


@lru_cache(maxsize=4)
def load_pairs(
    *,
    dataset: str,
    fields: PairFields,
    highest_score: float,
    held_out: str,
    tokens: str,
    length: int,
    together: bool,
    shared_words: bool = False,
) -> PairData:
    """Return a data set of scored pairs, kept in memory for the next trials of the process.

    Args:
        dataset: ``sts-b`` (packaged) or a hub data set with the splits train and ``held_out``.
        fields: A hub data set's columns.
        highest_score: Its scores are from 0 to this.
        held_out: The split that is evaluated on.
        tokens: See ``text_coder``.
        length: The most ids of a row.
        together: Whether both sentences share a row.
        shared_words: Whether ``types`` (0 and 1: which sentence) are larger by 2 where a token is in both sentences.

    Raises:
        DataError: The data or the tokeniser can't be had.
    """
    train, other = (scored_pairs(dataset, split, fields, highest_score) for split in ("train", held_out))
    coder = text_coder(tokens, [*train.first, *train.second])
    highest = HIGHEST_SCORE if dataset == PACKAGED else highest_score

    def rows(pairs: ScoredPairs) -> PairRows:
        ids = _together(pairs, coder, length, shared_words) if together else _apart(pairs, coder, length)
        return PairRows(tensors={**ids, "scores": torch.from_numpy(pairs.scores / np.float32(highest))}, pairs=pairs)

    return PairData(train=rows(train), held_out=rows(other), vocabulary_size=coder.size)


def scored_pairs(dataset: str, split: str, fields: PairFields, highest_score: float) -> ScoredPairs:
    """Return one split of ``sts-b`` or of a hub data set; there, pairs with an empty text are left out.

    Raises:
        DataError: The data can't be had, or their scores are others.
    """
    if dataset == PACKAGED:
        return sts_b(split)
    rows = load_hub_rows(dataset, split, (fields.first, fields.second, fields.score))
    unique: dict[tuple[str, str], float] = {}
    for first, second, score in zip(rows[fields.first], rows[fields.second], rows[fields.score], strict=True):
        if not isinstance(score, int | float) or not 0.0 <= score <= highest_score:
            raise DataError(
                f"{dataset} ({split}): the column {fields.score} must hold scores from 0 to {highest_score:g} "
                f"(highest_score), but has {score!r}."
            )
        key = str(first or "").strip(), str(second or "").strip()
        if all(key):
            unique.setdefault(key, float(score))
    if not unique:
        raise DataError(f"{dataset} ({split}) must hold pairs of texts, but all are empty.")
    first_texts, second_texts = zip(*unique, strict=True)
    return ScoredPairs(first=first_texts, second=second_texts, scores=np.array([*unique.values()], dtype=np.float32))


def _apart(pairs: ScoredPairs, coder: TextCoder, length: int) -> dict[str, torch.Tensor]:
    tensors = {}
    for name, texts in (("first", pairs.first), ("second", pairs.second)):
        tensors[name], tensors[f"{name}_lengths"] = padded(
            [coder.one(text, length=length) for text in texts], length=length, padding=coder.padding_id
        )
    return tensors


def _together(pairs: ScoredPairs, coder: TextCoder, length: int, shared_words: bool) -> dict[str, torch.Tensor]:
    ids, types = [], []
    for first, second in zip(pairs.first, pairs.second, strict=True):
        own, which = coder.two(first, second, length=length)
        if shared_words:
            found: tuple[set[int], set[int]] = (set(), set())
            for id_, sentence in zip(own, which, strict=True):
                found[sentence].add(id_)
            which = [sentence + 2 * (id_ in found[1 - sentence]) for id_, sentence in zip(own, which, strict=True)]
        ids.append(own)
        types.append(which)
    tokens, lengths = padded(ids, length=length, padding=coder.padding_id)
    return {"tokens": tokens, "types": padded(types, length=length, padding=0)[0], "lengths": lengths}
