"""From a text, or two, to ids that end in padding: words, hashed parts of words, or a published model's tokens."""

from __future__ import annotations

import re
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable
from typing import Any, final

from ..errors import DataError
from .hub import load_tokenizer, told_without_hub
from .minilm import minilm_tokenizer

_WORD = re.compile(r"\w+")
_GRAM_LENGTHS = (3, 4)


class TextCoder(ABC):
    """From a text to ids.

    Attributes:
        size: Ids are below it.
        padding_id: Id of no text.
    """

    size: int
    padding_id: int

    @abstractmethod
    def one(self, text: str, *, length: int) -> list[int]:
        """Return the ids of ``text``, at most ``length`` and at least one."""

    @abstractmethod
    def two(self, first: str, second: str, *, length: int) -> tuple[list[int], list[int]]:
        """Return the ids of two texts in one row, at most ``length``, and for each 0 (first text) or 1 (second)."""


@final
class WordCoder(TextCoder):
    """Lower-cased words and numbers; unknown ones share ids by their hash, so that two texts may still share one."""

    padding_id, _end = 0, 1

    def __init__(self, texts: Iterable[str], *, least_count: int = 2, unknown_ids: int = 1000) -> None:
        """Give an id of its own to every word that ``texts`` have ``least_count`` times or more."""
        counts = Counter(word for text in texts for word in split_words(text))
        known = sorted(word for word, count in counts.items() if count >= least_count)
        self._unknown_ids = unknown_ids
        self._ids = {word: id_ for id_, word in enumerate(known, start=2 + unknown_ids)}
        self.size = 2 + unknown_ids + len(known)

    def one(self, text: str, *, length: int) -> list[int]:
        """Return one id a word, then the one that ends a text."""
        return [*map(self._id, split_words(text)[: length - 1]), self._end]

    def two(self, first: str, second: str, *, length: int) -> tuple[list[int], list[int]]:
        """Return both texts with their ends; the longer one loses what is too long."""
        return _joined(self.one(first, length=length), self.one(second, length=length), length=length)

    def _id(self, word: str) -> int:
        return self._ids.get(word) or 2 + hashed(word, self._unknown_ids)


@final
class GramCoder(TextCoder):
    """Words, and their parts of three and four characters, hashed (Bojanowski et al. 2017): an order is not kept.

    A word's parts come with marks at its ends, so ``cat`` gives cat, <ca, cat, at>, <cat, cat>.
    """

    padding_id = 0

    def __init__(self, *, ids: int) -> None:
        """Hash into so many ids."""
        self.size = 1 + ids

    def one(self, text: str, *, length: int) -> list[int]:
        """Return the ids of the words and their parts; of what is too long, the last words'."""
        found = [1 + hashed(part, self.size - 1) for word in split_words(text) for part in word_parts(word)]
        return found[:length] or [1]

    def two(self, first: str, second: str, *, length: int) -> tuple[list[int], list[int]]:
        """Return the parts of both texts."""
        return _joined(self.one(first, length=length), self.one(second, length=length), length=length)


@final
class ModelCoder(TextCoder):
    """The tokeniser of a published model, with the special tokens that it expects."""

    def __init__(self, tokenizer: Any, *, name: str) -> None:
        """Wrap transformers' ``tokenizer``."""
        self._tokenizer, self._name = tokenizer, name
        self.size = len(tokenizer)
        self.padding_id = tokenizer.pad_token_id or 0

    def one(self, text: str, *, length: int) -> list[int]:
        """Return the tokens of ``text``.

        Raises:
            DataError: There are none.
        """
        return self._checked(self._tokenizer(text, truncation=True, max_length=length)["input_ids"], text)

    def two(self, first: str, second: str, *, length: int) -> tuple[list[int], list[int]]:
        """Return the tokens of both; the longer text loses what is too long.

        Raises:
            DataError: There are none.
        """
        coded = self._tokenizer(first, second, truncation=True, max_length=length, return_token_type_ids=True)
        ids = self._checked(coded["input_ids"], first)
        return ids, list(coded.get("token_type_ids") or [0] * len(ids))

    def _checked(self, ids: list[int], text: str) -> list[int]:
        if not ids:
            raise DataError(
                f"the tokeniser {self._name} must give every text at least one id, but gives {text!r} none."
            )
        return list(ids)


def text_coder(name: str, texts: Iterable[str]) -> TextCoder:
    """Return a coder by name.

    Args:
        name: ``words`` (those of ``texts``), ``grams``, ``minilm``, or a model of the hub or a local folder.
        texts: For training.

    Raises:
        DataError: The tokeniser can't be had.
    """
    if name == "words":
        return WordCoder(texts)
    if name == "grams":
        return GramCoder(ids=8000)
    if name == "minilm":
        return ModelCoder(minilm_tokenizer(), name=name)
    try:
        return ModelCoder(load_tokenizer(name), name=name)
    except DataError as error:
        raise told_without_hub(error, "words, grams or minilm") from error


def split_words(text: str) -> list[str]:
    """Return the lower-cased words and numbers of ``text``."""
    return _WORD.findall(text.lower())


def word_parts(word: str) -> list[str]:
    """Return ``word`` and its parts of three and four characters, the marked ends included."""
    marked = f"<{word}>"
    return [word, *(marked[i : i + n] for n in _GRAM_LENGTHS for i in range(len(marked) - n + 1))]


def hashed(text: str, size: int) -> int:
    """Return a number below ``size`` that ``text`` decides, on every machine the same."""
    return zlib.crc32(text.encode()) % size


def _joined(first: list[int], second: list[int], *, length: int) -> tuple[list[int], list[int]]:
    """Put two rows of ids into one; what is too long is taken off the ends, from the longer one first."""
    room = max(length - min(len(first), len(second)), length - length // 2)
    first = first[: max(room if len(first) >= len(second) else length - length // 2, 1)]
    second = second[: length - len(first)]
    return [*first, *second], [0] * len(first) + [1] * len(second)
