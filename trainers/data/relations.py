"""Texts with the relations they state, as triples (subject, predicate, object).

The packaged ones are distantly supervised: no person has read them. A definition of WordNet stands beside its
headword in one of several templates, and a triple is taken for stated where a word that WordNet links to the headword
occurs in the definition. A score on them is agreement with WordNet, not extraction as people would judge it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from .fetch import fetch
from .hub import load_hub_rows
from .splits import SPLITS, assign_splits, check_split
from .wordnet import Synset, synsets

Triple = tuple[str, str, str]
"""Subject, predicate, object; subject and object as they stand in the text."""
Stated = tuple[str, str]
"""Predicate and object."""

TEMPLATES = (
    "{head}: {definition}",
    "{head} is {definition}",
    "{head} means {definition}",
    "{definition}: {head}",
    "{definition} is called {head}",
    "by {head} is meant {definition}",
)
_BETWEEN = "; "
_IS_A_KEPT = 0.1
"""Share that is kept of the sentences that state is_a and nothing else, which are over half of all."""


@dataclass(frozen=True, slots=True)
class RelationText:
    """One text and what it states.

    Attributes:
        text: As written.
        triples: At least one, each once.
        starts: For each triple the first character of its subject and of its object; empty where only the words are
            known.
    """

    text: str
    triples: tuple[Triple, ...]
    starts: tuple[tuple[int, int], ...] = ()


def wordnet_relations(
    split: str, *, sentences_per_text: int = 1, cache: Path | None = None
) -> tuple[RelationText, ...]:
    """Return the texts of one split: about 80 % train, 10 % validation, 10 % test, in a fixed mixed order.

    A definition is in one split only, whatever its headwords, and a sentence counts once.

    Args:
        split: train, validation or test.
        sentences_per_text: How many sentences of the split are joined; with several, a text has several subjects.
        cache: See ``fetch``.

    Raises:
        DataError: See ``fetch``; or the split has another name.
    """
    check_split(split)
    path = fetch("wordnet", cache=cache)
    sentences = _read(path)[split]
    whole = len(sentences) // sentences_per_text * sentences_per_text
    return tuple(
        _joined(sentences[first : first + sentences_per_text]) for first in range(0, whole, sentences_per_text)
    )


def _joined(sentences: Sequence[RelationText]) -> RelationText:
    starts: dict[Triple, tuple[int, int]] = {}
    text = ""
    for sentence in sentences:
        text += _BETWEEN if text else ""
        for triple, (subject, object_) in zip(sentence.triples, sentence.starts, strict=True):
            starts.setdefault(triple, (len(text) + subject, len(text) + object_))
        text += sentence.text
    return RelationText(text=text, triples=tuple(starts), starts=tuple(starts.values()))


@lru_cache(maxsize=1)
def _read(path: Path) -> Mapping[str, tuple[RelationText, ...]]:
    all_sets = synsets(cache=path.parent)
    by_key = {synset.key: synset for synset in all_sets}
    sentences: dict[str, tuple[str, RelationText]] = {}
    for synset in all_sets:
        stated = dict(_stated(synset, by_key))
        if stated and (any(predicate != "is_a" for predicate, _ in stated) or _place(synset.definition) < _IS_A_KEPT):
            template = TEMPLATES[int(_place(synset.key) * len(TEMPLATES))]
            sentence = _sentence(template, synset.lemmas[0], synset.definition, stated)
            sentences.setdefault(sentence.text.casefold(), (synset.definition, sentence))
    values = list(sentences.values())
    splits = assign_splits(definition.casefold().encode() for definition, _ in values)
    order = np.random.default_rng(0).permutation(len(values))  # neighbours in the file are alike
    return {split: tuple(values[i][1] for i in order if splits[i] == split) for split in SPLITS}


def _sentence(template: str, head: str, definition: str, stated: Mapping[Stated, int]) -> RelationText:
    """Return the sentence; each object is that of the definition, also where the head holds the word too."""
    parts = {"head": head, "definition": definition}
    subject, before = (len(template[: template.index(f"{{{part}}}")].format(**parts)) for part in parts)
    return RelationText(
        text=template.format(**parts),
        triples=tuple((head, *found) for found in stated),
        starts=tuple((subject, before + start) for start in stated.values()),
    )


def _stated(synset: Synset, by_key: Mapping[str, Synset]) -> Iterator[tuple[Stated, int]]:
    """Yield predicate and object of each link whose other end the definition names: as it writes it, and where."""
    definition, head = synset.definition, synset.lemmas[0].lower()
    if find_words(definition, head) is not None:
        return
    for predicate, key in synset.pointers:
        # The longest name says most: ocean current rather than current.
        for lemma in sorted(by_key[key].lemmas, key=len, reverse=True):
            start = find_words(definition, lemma)
            if start is not None:
                yield (predicate, definition[start : start + len(lemma)]), start
                break


def find_words(text: str, words: str) -> int | None:
    """Return where ``words`` first stand in ``text`` as whole words, in upper or lower case, or None."""
    lowered, sought = text.lower(), words.lower()
    start = lowered.find(sought)
    while start >= 0:
        end = start + len(sought)
        if not (_joins(lowered[start - 1 : start], sought[:1]) or _joins(sought[-1:], lowered[end : end + 1])):
            return start
        start = lowered.find(sought, start + 1)
    return None


def _joins(left: str, right: str) -> bool:
    """Whether two neighbouring characters belong to one word; scripts without spaces have words everywhere."""
    return all(character.isalnum() and character < "\u2e80" for character in (left, right) if character) and bool(
        left and right
    )


def _place(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[8:16], "big") / 2**64


@dataclass(frozen=True, kw_only=True)
class RelationFields:
    """What a data set calls its columns, and the parts of a triple.

    Attributes:
        text: Column of the texts.
        triples: Column of the lists of triples.
        subject, predicate, object: Keys of a triple; where triples are lists of three, they are not asked for.
    """

    text: str = "text"
    triples: str = "triples"
    subject: str = "subject"
    predicate: str = "predicate"
    object: str = "object"


def load_hub_relations(dataset: str, split: str, fields: RelationFields) -> tuple[RelationText, ...]:
    """Return the texts of one split of a hub data set, each once; those that state nothing are left out.

    Args:
        dataset: See ``load_hub_text``.
        split: A split as the data set names it.
        fields: Where its texts and triples are.

    Raises:
        DataError: See ``load_hub_text``; or a triple has another form.
    """
    rows = load_hub_rows(dataset, split, (fields.text, fields.triples))
    texts: dict[str, RelationText] = {}
    for text, triples in zip(rows[fields.text], rows[fields.triples], strict=True):
        try:
            read = tuple(dict.fromkeys(_triple(triple, fields) for triple in triples or ()))
        except (KeyError, TypeError, ValueError):
            keys = ", ".join((fields.subject, fields.predicate, fields.object))
            raise DataError(
                f"{dataset} ({split}): {fields.triples} must hold mappings with the texts {keys}, or lists of three "
                f"texts, but has {str(triples)[:80]}; name the keys in workload_settings.fields."
            ) from None
        if text and read:
            texts.setdefault(text, RelationText(text=text, triples=read))
    return tuple(texts.values())


def _triple(values: Any, fields: RelationFields) -> Triple:
    parts = values
    if isinstance(values, Mapping):
        parts = values[fields.subject], values[fields.predicate], values[fields.object]
    subject, predicate, object_ = parts
    if not all(isinstance(part, str) and part for part in (subject, predicate, object_)):
        raise TypeError(parts)
    return subject, predicate, object_
