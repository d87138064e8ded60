"""Texts with relations as tensors: tokens, and where the spans of subjects and objects lie among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from ..errors import DataError
from .relations import RelationFields, RelationText, find_words, load_hub_relations, wordnet_relations
from .span_tokens import HubSpanTokenizer, Span, SpanTokenizer, WordSpanTokenizer, token_span

PACKAGED = "wordnet"
_LEAST = 3
"""How often a word must stand in the training texts for an id of its own."""

Stated = tuple[int, Span]
"""Index of the predicate, and the object's first and last token."""
TextTriple = tuple[str, str, str]
"""As in ``RelationText``, but folded to one case, as answers are compared."""


@dataclass(frozen=True, kw_only=True)
class TaggedTexts:
    """Texts of one split.

    Attributes:
        texts: As written.
        tokens: int64, shape (texts, length), padded at the end.
        mask: bool, true at text, the same shape.
        places: The tokens' spans of characters, a list a text.
        subjects: For each text, each subject's first and last token with what is stated of it.
        triples: For each text all that is stated, also what the window of tokens does not hold.
    """

    texts: tuple[str, ...]
    tokens: torch.Tensor
    mask: torch.Tensor
    places: tuple[list[Span], ...]
    subjects: tuple[dict[Span, tuple[Stated, ...]], ...]
    triples: tuple[frozenset[TextTriple], ...]

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.texts)

    def take(self, rows: Sequence[int]) -> TaggedTexts:
        """Return some of the texts, by index."""
        return TaggedTexts(
            texts=tuple(self.texts[row] for row in rows),
            tokens=self.tokens[rows],
            mask=self.mask[rows],
            places=tuple(self.places[row] for row in rows),
            subjects=tuple(self.subjects[row] for row in rows),
            triples=tuple(self.triples[row] for row in rows),
        )

    def words(self, text: int, first: int, last: int) -> str:
        """Return what the tokens from ``first`` to ``last`` of a text say, folded to one case."""
        places = self.places[text]
        return self.texts[text][places[first][0] : places[last][1]].casefold()


def tag_texts(
    examples: Sequence[RelationText], tokenizer: SpanTokenizer, predicates: Sequence[str], *, length: int
) -> TaggedTexts:
    """Return ``examples`` as tensors; a subject or object whose place is not told is taken where it is first named.

    Args:
        examples: Texts with their triples.
        tokenizer: Gives ids with places.
        predicates: Those that can be learned; others are among ``triples`` alone.
        length: Tokens kept of each text.
    """
    number = {predicate: index for index, predicate in enumerate(predicates)}
    tokens = torch.full((len(examples), length), tokenizer.padding_id)
    mask = torch.zeros(len(examples), length, dtype=torch.bool)
    all_places, subjects = [], []
    for row, example in enumerate(examples):
        ids, places = tokenizer.encode(example.text)
        ids, places = ids[:length], places[:length]
        tokens[row, : len(ids)] = torch.tensor(ids)
        mask[row, : len(ids)] = True
        all_places.append(places)
        stated: dict[Span, tuple[Stated, ...]] = {}
        starts = example.starts or _first_named(example)
        for (subject, predicate, object_), (one, other) in zip(example.triples, starts, strict=True):
            first, second = _span(places, one, subject), _span(places, other, object_)
            if first and second and predicate in number:
                stated[first] = (*stated.get(first, ()), (number[predicate], second))
        subjects.append(stated)
    return TaggedTexts(
        texts=tuple(example.text for example in examples),
        tokens=tokens,
        mask=mask,
        places=tuple(all_places),
        subjects=tuple(subjects),
        triples=tuple(
            frozenset((s.casefold(), predicate, o.casefold()) for s, predicate, o in example.triples)
            for example in examples
        ),
    )


@dataclass(frozen=True, kw_only=True)
class TaggedData:
    """A data set.

    Attributes:
        train: Each text has a subject.
        validation: Each text states something, and some have a subject.
        predicates: Those of the training texts, in alphabetical order.
        vocabulary_size: Ids are below it.
    """

    train: TaggedTexts
    validation: TaggedTexts
    predicates: tuple[str, ...]
    vocabulary_size: int


@lru_cache(maxsize=4)
def load_tagged(
    *,
    dataset: str,
    fields: RelationFields,
    sentences_per_text: int,
    tokenizer_name: str | None,
    length: int,
    validation_texts: int,
) -> TaggedData:
    """Return a data set by name, kept in memory for the next trials of the process.

    Args:
        dataset: ``wordnet`` (packaged), or a hub data set with the splits train and validation.
        fields: Where a hub data set has its texts and triples.
        sentences_per_text: See ``wordnet_relations``; of no meaning for others.
        tokenizer_name: On the hub, or a folder; none takes words, those of the training texts.
        length: Tokens kept of each text.
        validation_texts: At most so many are kept of that split.

    Raises:
        DataError: The data can't be had, or no text names both ends of a triple.
    """
    train, validation = (
        wordnet_relations(split, sentences_per_text=sentences_per_text)
        if dataset == PACKAGED
        else load_hub_relations(dataset, split, fields)
        for split in ("train", "validation")
    )
    predicates = tuple(sorted({predicate for example in train for _, predicate, _ in example.triples}))
    tokenizer: SpanTokenizer = (
        HubSpanTokenizer(tokenizer_name)
        if tokenizer_name
        else WordSpanTokenizer((example.text for example in train), least=_LEAST)
    )
    tagged = tag_texts(train, tokenizer, predicates, length=length)
    usable = [row for row, subjects in enumerate(tagged.subjects) if subjects]
    judged = tag_texts(validation[:validation_texts], tokenizer, predicates, length=length)
    for split, subjects in (("train", tagged.subjects), ("validation", judged.subjects)):
        if not any(subjects):
            raise DataError(
                f"{dataset} ({split}): the texts must name subject and object of a triple in their first {length} "
                f"tokens, but none of {len(subjects)} does."
            )
    return TaggedData(
        train=tagged.take(usable),
        validation=judged,
        predicates=predicates,
        vocabulary_size=tokenizer.size,
    )


def _first_named(example: RelationText) -> list[tuple[int | None, int | None]]:
    return [(find_words(example.text, s), find_words(example.text, o)) for s, _, o in example.triples]


def _span(places: list[Span], start: int | None, words: str) -> Span | None:
    return None if start is None else token_span(places, start, start + len(words))


def tag_batch(tagged: TaggedTexts, rows: np.ndarray, choice: np.ndarray, *, predicates: int) -> dict[str, torch.Tensor]:
    """Return the tensors that the loss takes for some texts, each with the objects of one of its subjects.

    Args:
        tagged: Texts, each of ``rows`` with a subject.
        rows: Which texts, shape (examples,).
        choice: In [0, 1), the same shape: which subject, as a share of those the text has.
        predicates: How many there are.

    Returns:
        ``tokens`` and ``mask`` (examples, length), ``subjects`` (examples, length, 2), ``subject`` (examples, 2) and
        ``objects`` (examples, length, predicates, 2), as ``tagging_loss`` describes them.
    """
    chosen = torch.from_numpy(rows)
    length = tagged.tokens.shape[1]
    starts_ends = np.zeros((len(rows), length, 2), dtype=bool)
    objects = np.zeros((len(rows), length, predicates, 2), dtype=bool)
    told = np.zeros((len(rows), 2), dtype=np.int64)
    for place, (row, share) in enumerate(zip(rows, choice, strict=True)):
        spans = list(tagged.subjects[row])
        for first, last in spans:
            starts_ends[place, first, 0] = starts_ends[place, last, 1] = True
        told[place] = spans[int(share * len(spans))]
        for predicate, (first, last) in tagged.subjects[row][tuple(told[place])]:
            objects[place, first, predicate, 0] = objects[place, last, predicate, 1] = True
    return {
        "tokens": tagged.tokens[chosen],
        "mask": tagged.mask[chosen],
        "subjects": torch.from_numpy(starts_ends),
        "subject": torch.from_numpy(told),
        "objects": torch.from_numpy(objects),
    }
