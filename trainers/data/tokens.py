"""Text as windows of token ids, the input of masked-language-model pre-training."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import torch

from ..errors import DataError
from .hub import load_hub_text, load_hub_tokenizer
from .rotten_tomatoes import reviews
from .vocabulary import CHARACTERS, Tokenizer, wordpiece


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenWindows:
    """Windows of ``length`` ids.

    Attributes:
        train, validation: int64, shape (windows, length).
        vocabulary_size: ids are below it.
        mask_id: the id that hides a token.
        first_ordinary: ids from here on stand for text; the lower ones are special.
    """

    train: torch.Tensor
    validation: torch.Tensor
    vocabulary_size: int
    mask_id: int
    first_ordinary: int


@lru_cache(maxsize=4)
def token_windows(*, dataset: str, text_field: str, tokens: str, length: int) -> TokenWindows:
    """Return a text data set cut into windows, kept in memory for the next trials of the process.

    The texts of a split are joined by a separator and cut every ``length`` tokens, so there is no padding; the
    windows are then shuffled once, by a fixed seed. ``dataset`` is ``rotten-tomatoes`` or a hub data set with the
    splits train and validation; ``tokens`` is ``characters``, ``wordpiece`` or a hub tokeniser.

    Raises:
        DataError: the data can't be had, or hold less than one window.
    """
    tokenizer = _tokenizer(tokens)
    train, validation = (_windows(_texts(dataset, text_field, s), tokenizer, length) for s in ("train", "validation"))
    return TokenWindows(
        train=train,
        validation=validation,
        vocabulary_size=tokenizer.size,
        mask_id=tokenizer.mask_id,
        first_ordinary=tokenizer.first_ordinary,
    )


def _tokenizer(name: str) -> Tokenizer:
    if name == "characters":
        return CHARACTERS
    return wordpiece() if name == "wordpiece" else load_hub_tokenizer(name)


def _texts(dataset: str, field: str, split: str) -> Sequence[str]:
    return reviews(split).texts if dataset == "rotten-tomatoes" else load_hub_text(dataset, split, field=field)


def _windows(texts: Iterable[str], tokenizer: Tokenizer, length: int) -> torch.Tensor:
    ids: list[int] = []
    for text in texts:
        ids += tokenizer.encode(text)
        ids.append(tokenizer.separator_id)
    count = len(ids) // length
    if count == 0:
        raise DataError(f"the texts must hold at least one window of {length} tokens, but have {len(ids)} tokens")
    windows = np.array(ids[: count * length], dtype=np.int64).reshape(count, length)
    return torch.from_numpy(np.random.default_rng(0).permutation(windows))
