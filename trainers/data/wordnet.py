"""WordNet 3.0: sets of synonyms with their definition, examples and links to other sets (Fellbaum 1998)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..errors import DataError
from .archive import read_members
from .fetch import fetch
from .source import SOURCES

PREDICATES = {
    "@": "is_a", "@i": "instance_of", "#p": "part_of", "#m": "member_of", "#s": "substance_of", "%p": "has_part",
    "%m": "has_member", "%s": "has_substance", "!": "antonym_of", "&": "similar_to", "\\": "pertains_to",
    "=": "attribute", ";c": "in_topic", ";r": "in_region", "*": "entails", ">": "causes",
}  # fmt: skip
"""Symbol of a pointer (wninput(5)) to its name here, read from the set that holds it: wheel part_of car.

Left out are the inverses of is_a, instance_of, in_topic and in_region, and what links forms or entries rather than
meanings: derived forms, participles, usage, groups of verbs, see also.
"""

_PARTS_OF_SPEECH = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
_MARKER = re.compile(r"\((?:a|p|ip)\)$")  # where an adjective may stand in a sentence
_QUOTED = re.compile(r'"([^"]*)"')


@dataclass(frozen=True, slots=True)
class Synset:
    """Words that share a meaning.

    Attributes:
        key: Part of speech (n, v, a, r) and place in its file, such as ``n00001740``.
        lemmas: The words, with spaces where they are several, the most usual first.
        definition: What they mean.
        examples: Phrases that use one of them.
        pointers: Pairs of a value of ``PREDICATES`` and another set's key, once each, in the file's order.
    """

    key: str
    lemmas: tuple[str, ...]
    definition: str
    examples: tuple[str, ...]
    pointers: tuple[tuple[str, str], ...]


def synsets(*, cache: Path | None = None) -> tuple[Synset, ...]:
    """Return all 117,659 sets: nouns, verbs, adjectives, adverbs, each in the file's order.

    Definitions and examples are not unique. The result is kept in memory, about 100 MB.

    Args:
        cache: See ``fetch``.

    Raises:
        DataError: See ``fetch``; or the files are not WordNet's.
    """
    return _read(fetch("wordnet", cache=cache))


@lru_cache(maxsize=1)
def _read(path: Path) -> tuple[Synset, ...]:
    contents = read_members(path, SOURCES["wordnet"].members)
    return tuple(found for member, content in contents.items() for found in _synsets_of(member, content))


def _synsets_of(member: str, content: bytes) -> Iterator[Synset]:
    letter = _PARTS_OF_SPEECH[member.rpartition(".")[2]]
    for line in content.decode("latin-1").splitlines():
        if line.startswith(" "):  # the licence
            continue
        try:
            yield parse_synset(line, letter)
        except (ValueError, IndexError):
            raise DataError(f"{member} must hold sets of words as in wndb(5), but has {line[:60]!r}.") from None


def parse_synset(line: str, part_of_speech: str) -> Synset:
    """Return the set on one line of a data file (wndb(5)).

    The line is: place, file number, type, number of words (hexadecimal), then word and sense number for each, number of
    pointers (decimal), then symbol, place, part of speech and two word numbers for each, and after a bar the gloss.

    Args:
        line: The line.
        part_of_speech: The file's letter; satellites of adjectives count as adjectives.

    Raises:
        ValueError: The line has another form.
        IndexError: It ends too early.
    """
    head, bar, gloss = line.partition("| ")
    fields = head.split()
    if not bar or not re.fullmatch(r"\d{8}", fields[0]):
        raise ValueError(line)
    words = int(fields[3], 16)
    lemmas = tuple(_MARKER.sub("", word).replace("_", " ") for word in fields[4 : 4 + 2 * words : 2])
    start = 4 + 2 * words
    pointers = dict.fromkeys(
        (PREDICATES[symbol], fields[place + 2] + fields[place + 1])
        for place in range(start + 1, start + 1 + 4 * int(fields[start]), 4)
        if (symbol := fields[place]) in PREDICATES
    )
    return Synset(
        key=part_of_speech + fields[0],
        lemmas=lemmas,
        # Some hundred glosses have a comma, a colon or an odd quotation mark in the place of the semicolon.
        definition=gloss.partition('"')[0].strip().rstrip(";:, "),
        examples=tuple(example.strip() for example in _QUOTED.findall(gloss)),
        pointers=tuple(pointers),
    )
