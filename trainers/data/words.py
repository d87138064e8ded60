"""Whole words as tokens: the vocabulary of a data set's own training texts, which needs no download."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import final

from .vocabulary import CHARACTERS, Tokenizer

_WORD = re.compile(r"[a-z']+|[.,-]")
LEAST_COUNT = 3
"""A word that the training texts have less often is unknown: too few examples to learn from."""


@final
class WordTokenizer(Tokenizer):
    """Lower-cased words and marks, as the character vocabulary leaves them; all others share one id.

    Args:
        words: the known ones.
    """

    def __init__(self, words: Sequence[str]) -> None:
        """Index the words."""
        self.words = tuple(words)
        self.mask_id, self.separator_id, self.unknown_id, self.first_ordinary = 0, 1, 2, 3
        self.size = self.first_ordinary + len(self.words)
        self._ids = {word: id_ for id_, word in enumerate(self.words, start=self.first_ordinary)}

    @classmethod
    def of(cls, texts: Iterable[str], *, least_count: int = LEAST_COUNT) -> WordTokenizer:
        """Return the tokeniser of the words that ``texts`` have ``least_count`` times or more, by the alphabet."""
        counts = Counter(word for text in texts for word in _split(text))
        return cls(sorted(word for word, count in counts.items() if count >= least_count))

    def encode(self, text: str) -> list[int]:
        """Return one id a word or mark."""
        return [self._ids.get(word, self.unknown_id) for word in _split(text)]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the words with spaces between; the mask shows as _, the separator as | and unknown words as ?."""
        return " ".join(("_", "|", "?", *self.words)[id_] for id_ in ids)


def _split(text: str) -> list[str]:
    return _WORD.findall(CHARACTERS.decode(CHARACTERS.encode(text)))
