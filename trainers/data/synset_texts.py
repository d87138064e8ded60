"""WordNet's sets of synonyms as classes of texts: a definition and examples that mean, or use, the same words."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from .rotten_tomatoes import LabelledTexts
from .wordnet import Synset, synsets

LEAST_TEXTS = 3


def synset_texts(*, classes: int, cache: Path | None = None) -> tuple[LabelledTexts, LabelledTexts]:
    """Return training and held-out texts of at most ``classes`` sets of synonyms, as ``class_texts`` does.

    Args:
        classes: At most so many.
        cache: See ``fetch``.

    Raises:
        DataError: See ``fetch``.
    """
    return class_texts(synsets(cache=cache), classes=classes)


def class_texts(found: Iterable[Synset], *, classes: int) -> tuple[LabelledTexts, LabelledTexts]:
    """Return training and held-out texts: the sets with the most texts, of those with three or more.

    A set's texts are its definition and its examples. Texts that are equal but for case and white space count once, in
    the first set that has them. Of each class one text is held out, the one with the lowest sha256.

    Args:
        found: The sets.
        classes: At most so many are kept; of sets with as many texts, those with the lowest sha256 of their key.
    """
    seen: set[str] = set()
    groups: list[tuple[str, list[str]]] = []
    for synset in found:
        texts = []
        for text in (" ".join(text.split()) for text in (synset.definition, *synset.examples)):
            if text and text.casefold() not in seen:
                seen.add(text.casefold())
                texts.append(text)
        if len(texts) >= LEAST_TEXTS:
            groups.append((f"{synset.lemmas[0]} ({synset.key})", texts))
    groups.sort(key=lambda group: (-len(group[1]), _place(group[0])))
    chosen = groups[:classes]
    names = tuple(name for name, _ in chosen)
    train: list[tuple[str, int]] = []
    held_out: list[tuple[str, int]] = []
    for label, (_, texts) in enumerate(chosen):
        first, *others = sorted(texts, key=lambda text: _place(text.casefold()))
        held_out.append((first, label))
        train += [(text, label) for text in others]
    return _labelled(train, names), _labelled(held_out, names)


def _place(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _labelled(rows: Sequence[tuple[str, int]], names: tuple[str, ...]) -> LabelledTexts:
    return LabelledTexts(
        texts=tuple(text for text, _ in rows),
        labels=np.array([label for _, label in rows], dtype=np.int64),
        label_names=names,
    )
