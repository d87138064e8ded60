"""Texts as words or pieces of words that know where in the text they stand, for tasks whose answers are spans."""

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

_LETTER = r"[^\W_\u2e80-\U0003ffff]"
_WORD = re.compile(rf"[\u2e80-\U0003ffff]|{_LETTER}+(?:['’.-]{_LETTER}+)*|[^\w\s]|_")
"""One character of a script without spaces, a word or number with what joins its parts, or one mark."""

_SUFFIX_IDS = 512
_SUFFIX_LENGTH = 3

Span = tuple[int, int]
"""The first and the one after the last for characters, the first and the last for tokens."""


class SpanTokenizer(ABC):
    """From a text to ids, each with its place.

    Attributes:
        size: Ids are below it.
        padding_id: Id of no text.
    """

    size: int
    padding_id: int

    @abstractmethod
    def encode(self, text: str) -> tuple[list[int], list[Span]]:
        """Return ids and their characters in ``text``, none (an empty span) for ids that stand for no text."""


@final
class WordSpanTokenizer(SpanTokenizer):
    """Lower-cased words; a rare one shares an id with those that end alike and are capitalised alike."""

    padding_id = 0

    def __init__(self, texts: Iterable[str], *, least: int) -> None:
        """Give an id of its own to every word that stands ``least`` times in ``texts``."""
        counts = Counter(match.group().lower() for text in texts for match in _WORD.finditer(text))
        known = sorted(word for word, count in counts.items() if count >= least)
        self._ids = {word: id_ for id_, word in enumerate(known, start=1 + _SUFFIX_IDS)}
        self.size = 1 + _SUFFIX_IDS + len(known)

    def encode(self, text: str) -> tuple[list[int], list[Span]]:
        """Return one id a word or mark."""
        matches = list(_WORD.finditer(text))
        return [self._id(match.group()) for match in matches], [match.span() for match in matches]

    def _id(self, word: str) -> int:
        known = self._ids.get(word.lower())
        if known is not None:
            return known
        kind = f"{word[:1].isupper()}{word.lower()[-_SUFFIX_LENGTH:]}"
        return 1 + zlib.crc32(kind.encode()) % _SUFFIX_IDS


@final
class HubSpanTokenizer(SpanTokenizer):
    """A fast tokeniser of the hub or of a local folder, with the special tokens that its model expects."""

    def __init__(self, name: str) -> None:
        """Load the tokeniser; ``minilm`` is the packaged one.

        Raises:
            DataError: It can't be had, or can't tell where its tokens stand.
        """
        try:
            self._tokenizer: Any = minilm_tokenizer() if name == "minilm" else load_tokenizer(name)
        except DataError as error:
            raise told_without_hub(error, "roformer, bert or minilm") from error
        if not self._tokenizer.is_fast:
            raise DataError(f"the tokeniser {name} must be a fast one, which knows places; name another model.")
        self.size = len(self._tokenizer)
        self.padding_id = self._tokenizer.pad_token_id or 0

    def encode(self, text: str) -> tuple[list[int], list[Span]]:
        """Return the ids of ``text`` with special ids around them."""
        encoded = self._tokenizer(text, return_offsets_mapping=True, verbose=False)
        return list(encoded["input_ids"]), [(int(start), int(end)) for start, end in encoded["offset_mapping"]]


def token_span(spans: list[Span], start: int, end: int) -> Span | None:
    """Return the first and the last token of the characters from ``start`` to before ``end``, or None for no token.

    Args:
        spans: Of the tokens, in the order of the text but for empty ones.
        start: First character.
        end: The one after the last.
    """
    inside = [place for place, (first, last) in enumerate(spans) if first < end and last > start and last > first]
    return (inside[0], inside[-1]) if inside else None
