"""Labelled texts as rows of token ids, the input of text classification."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from ..errors import DataError
from .hub import load_tokenizer
from .labelled_texts import labelled_texts
from .minilm import minilm
from .rotten_tomatoes import LabelledTexts
from .token_rows import TokenRows, padded
from .vocabulary import CHARACTERS, wordpiece
from .words import WordTokenizer

Encode = Callable[[Sequence[str]], list[list[int]]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelledTokens:
    """A data set of labelled texts.

    Attributes:
        train, validation: its splits.
        vocabulary_size: ids are below it.
        label_names: of the classes.
    """

    train: TokenRows
    validation: TokenRows
    vocabulary_size: int
    label_names: tuple[str, ...]


@lru_cache(maxsize=4)
def labelled_tokens(*, dataset: str, text_field: str, label_field: str, tokens: str, length: int) -> LabelledTokens:
    """Return a data set of labelled texts, kept in memory for the next trials of the process.

    Its rows are shuffled once, by a fixed seed, so that the first ones stand for all.

    Args:
        dataset: ``rotten-tomatoes`` or a hub data set with the splits train and validation.
        text_field: a hub data set's column of texts.
        label_field: its column of the classes' indices.
        tokens: ``characters``, ``words`` (of the training texts), ``wordpiece``, ``minilm``, or a hub tokeniser.
        length: the most ids of a text, special ones included; the rest of a longer one is cut off.

    Raises:
        DataError: the data or the tokeniser can't be had, or a class of the validation texts is in no training text.
    """
    train, validation = (
        labelled_texts(dataset, split, text_field=text_field, label_field=label_field)
        for split in ("train", "validation")
    )
    if unknown := set(validation.labels.tolist()) - set(train.labels.tolist()):
        raise DataError(f"{dataset}: all classes must occur in the training texts, but {min(unknown)} does not.")
    encode, padding, size = _encoder(tokens, length, train.texts)
    return LabelledTokens(
        train=_rows(train, encode, padding, length),
        validation=_rows(validation, encode, padding, length),
        vocabulary_size=size,
        label_names=train.label_names,
    )


def _rows(texts: LabelledTexts, encode: Encode, padding: int, length: int) -> TokenRows:
    order = np.random.default_rng(0).permutation(len(texts.texts))
    shuffled = tuple(texts.texts[i] for i in order)
    tokens, lengths = padded(encode(shuffled), length=length, padding=padding)
    return TokenRows(tokens=tokens, lengths=lengths, labels=torch.from_numpy(texts.labels[order]), texts=shuffled)


def _encoder(tokens: str, length: int, train: tuple[str, ...]) -> tuple[Encode, int, int]:
    """Return what turns each text into one to ``length`` ids, the id of the padding and the number of ids."""
    if tokens in ("characters", "words"):
        own = CHARACTERS if tokens == "characters" else WordTokenizer.of(train)
        end = own.separator_id
        return (lambda texts: [[*own.encode(text)[: length - 1], end] for text in texts]), end, own.size
    if tokens == "wordpiece":
        known = wordpiece()
        first, last, padding = (known.pieces.index(piece) for piece in ("[CLS]", "[SEP]", "[PAD]"))
        return (
            (lambda texts: [[first, *known.encode(text)[: length - 2], last] for text in texts]),
            padding,
            known.size,
        )
    return _minilm_encoder(length) if tokens == "minilm" else _hub_encoder(tokens, length)


def _minilm_encoder(length: int) -> tuple[Encode, int, int]:
    from tokenizers import Tokenizer

    encoder = minilm()
    tokenizer = Tokenizer.from_str(encoder.tokenizer)
    tokenizer.no_padding()
    tokenizer.enable_truncation(length)
    padding, size = encoder.configuration["pad_token_id"], tokenizer.get_vocab_size()
    return (lambda texts: [list(found.ids) for found in tokenizer.encode_batch(list(texts))]), padding, size


def _hub_encoder(name: str, length: int) -> tuple[Encode, int, int]:
    tokenizer: Any = load_tokenizer(name)

    def encode(texts: Sequence[str]) -> list[list[int]]:
        rows = list(tokenizer(list(texts), truncation=True, max_length=length)["input_ids"])
        if empty := next((text for text, ids in zip(texts, rows, strict=True) if not ids), None):
            raise DataError(f"the tokeniser {name} must give every text at least one id, but gives {empty!r} none.")
        return rows

    padding = tokenizer.pad_token_id
    return encode, 0 if padding is None else padding, len(tokenizer)
