"""Texts of many classes as rows of token ids, with held-out texts of the same classes."""

from __future__ import annotations

import dataclasses
from functools import lru_cache

import numpy as np
import torch

from ..errors import DataError
from .labelled_texts import load_hub_labelled_text
from .rotten_tomatoes import LabelledTexts
from .synset_texts import synset_texts
from .text_codes import TextCoder, text_coder
from .token_rows import TokenRows, padded

PACKAGED = "wordnet"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassData:
    """A data set.

    Attributes:
        train, held_out: Its splits; each class of ``held_out`` has training texts.
        vocabulary_size: Ids are below it.
        classes: How many there are.
    """

    train: TokenRows
    held_out: TokenRows
    vocabulary_size: int
    classes: int


@lru_cache(maxsize=4)
def load_classes(
    *, dataset: str, text_field: str, label_field: str, classes: int, tokens: str, length: int
) -> ClassData:
    """Return a data set of texts in classes, kept in memory for the next trials of the process.

    Args:
        dataset: ``wordnet`` (packaged) or a hub data set with the splits train and validation.
        text_field: A hub data set's column of texts.
        label_field: Its column of the classes' indices.
        classes: At most so many are kept: see ``class_texts``, and of a hub data set the first.
        tokens: See ``text_coder``.
        length: The most ids of a text.

    Raises:
        DataError: The data or the tokeniser can't be had, or no held-out text has a class with training texts.
    """
    if dataset == PACKAGED:
        train, held_out = synset_texts(classes=classes)
    else:
        train, held_out = (
            _of_classes(
                load_hub_labelled_text(dataset, split, field=text_field, label_field=label_field), np.arange(classes)
            )
            for split in ("train", "validation")
        )
        held_out = _of_classes(held_out, train.labels)
    if not held_out.texts:
        raise DataError(f"{dataset}: some held-out texts must have a class of the training texts, but none has.")
    coder = text_coder(tokens, train.texts)
    return ClassData(
        train=_rows(train, coder, length),
        held_out=_rows(held_out, coder, length),
        vocabulary_size=coder.size,
        classes=int(train.labels.max()) + 1,
    )


def _of_classes(texts: LabelledTexts, classes: np.ndarray) -> LabelledTexts:
    chosen = np.flatnonzero(np.isin(texts.labels, classes))
    return dataclasses.replace(texts, texts=tuple(texts.texts[i] for i in chosen), labels=texts.labels[chosen])


def _rows(texts: LabelledTexts, coder: TextCoder, length: int) -> TokenRows:
    tokens, lengths = padded(
        [coder.one(text, length=length) for text in texts.texts], length=length, padding=coder.padding_id
    )
    return TokenRows(tokens=tokens, lengths=lengths, labels=torch.from_numpy(texts.labels.copy()), texts=texts.texts)
