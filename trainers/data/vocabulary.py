"""Tokenisers: from a text to ids and back."""

from __future__ import annotations

import json
import string
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, ClassVar, final

from ..errors import DataError
from .archive import read_members
from .fetch import fetch
from .source import SOURCES


class Tokenizer(ABC):
    """From a text to ids and back.

    Attributes:
        size: Ids are below it.
        mask_id: Id that hides a token.
        separator_id: Id that stands between two texts.
        first_ordinary: Ids from here on stand for text.
    """

    size: int
    mask_id: int
    separator_id: int
    first_ordinary: int

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Return the ids of ``text``, without special ids around them."""

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ``ids`` as far as the vocabulary keeps it; special ids show as themselves."""


@final
class CharacterTokenizer(Tokenizer):
    """Lower-cased characters: a to z, space, full stop, comma, apostrophe and hyphen.

    Accents are taken off, typographic quotes and dashes become plain ones, and a run of anything else (digits, white
    space, other marks) becomes one space.
    """

    alphabet = string.ascii_lowercase + " .,'-"
    size = 2 + len(alphabet)
    mask_id = 0
    separator_id = 1
    first_ordinary = 2

    _ids: ClassVar = {character: id_ for id_, character in enumerate(alphabet, start=2)}
    _plain: ClassVar = str.maketrans({"’": "'", "‘": "'", "–": "-", "—": "-", "…": "."})

    def encode(self, text: str) -> list[int]:
        """Return one id a character that remains."""
        decomposed = unicodedata.normalize("NFKD", text.translate(self._plain).lower())
        without_accents = (character for character in decomposed if not unicodedata.combining(character))
        known = "".join(character if character in self._ids else " " for character in without_accents)
        return [self._ids[character] for character in " ".join(known.split())]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the characters; the mask shows as _ and the separator as |."""
        return "".join(("_|" + self.alphabet)[id_] for id_ in ids)


@final
class WordPieceTokenizer(Tokenizer):
    """BERT's uncased word pieces: lower-cased, accents off, the longest known piece first.

    Args:
        pieces: The vocabulary in the order of the ids, with [PAD], [UNK], [CLS], [SEP] and [MASK] before all others
            but further entries in brackets.
    """

    def __init__(self, pieces: Sequence[str]) -> None:
        """Index the pieces."""
        self.pieces = tuple(pieces)
        self.size = len(self.pieces)
        self.mask_id = self.pieces.index("[MASK]")
        self.separator_id = self.pieces.index("[SEP]")
        special = [id_ for id_, piece in enumerate(self.pieces) if len(piece) > 2 and piece[0] + piece[-1] == "[]"]
        self.first_ordinary = max(special) + 1

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import BertWordPieceTokenizer  # comes with transformers; needed for encoding alone

        return BertWordPieceTokenizer({piece: id_ for id_, piece in enumerate(self.pieces)}, lowercase=True)

    def encode(self, text: str) -> list[int]:
        """Return one id a word piece."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the pieces with a space before each that starts a word."""
        return " ".join(self.pieces[id_] for id_ in ids).replace(" ##", "")


CHARACTERS = CharacterTokenizer()


def wordpiece(*, cache: Path | None = None) -> WordPieceTokenizer:
    """Return the tokeniser of bert-base-uncased, 30,522 pieces.

    Args:
        cache: See ``fetch``.

    Raises:
        DataError: See ``fetch``.
    """
    return WordPieceTokenizer(_read_bert_pieces(fetch("bert-vocab", cache=cache)))


@lru_cache(maxsize=1)
def _read_bert_pieces(path: Path) -> tuple[str, ...]:
    (member,) = SOURCES["bert-vocab"].members
    pieces = json.loads(read_members(path, [member])[member])
    if not isinstance(pieces, list) or len(pieces) != 30_522:
        raise DataError(f"{path.name}: {member} must be a list of 30,522 pieces, but is not.")
    return tuple(from_sentencepiece(piece) for piece in pieces)


def from_sentencepiece(piece: str) -> str:
    """Return a piece as BERT writes it, given it as this package's vocabulary file does.

    The file marks the pieces that start a word (▁the) in place of those that continue one (##the), and has a lone
    mark in the place of [unused0].
    """
    if piece == "▁":
        return "[unused0]"
    if piece.startswith("▁"):
        return piece[1:]
    return piece if piece.startswith("[") and piece.endswith("]") and len(piece) > 2 else f"##{piece}"
