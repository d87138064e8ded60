"""Reading triples off a tagger, and counting those that are right."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch

from ..data.tagged import TaggedTexts, TextTriple
from .pointer_tagging import OBJECT_POWER, SUBJECT_POWER, PointerTagger, probabilities, spans_above

_BLOCK = 256
_MOST_SUBJECTS, _MOST_TRIPLES = 8, 32
"""Taken of one text, from its beginning: a model in ruins may tag everything."""


def extract(
    model: PointerTagger,
    texts: TaggedTexts,
    predicates: Sequence[str],
    *,
    subject_threshold: float,
    object_threshold: float,
) -> list[set[TextTriple]]:
    """Return for each text the triples that ``model`` finds in it, at most 32, of at most 8 subjects.

    Args:
        model: Without gradients, in evaluation mode.
        texts: The texts.
        predicates: Names, in the order of the model's outputs.
        subject_threshold: Above which a start and an end of a subject count.
        object_threshold: The same for objects.
    """
    found: list[set[TextTriple]] = [set() for _ in texts.texts]
    device = next(model.parameters()).device
    for block in range(0, len(texts), _BLOCK):
        mask = texts.mask[block : block + _BLOCK]
        longest = int(mask.sum(dim=1).max())
        mask = mask[:, :longest].to(device)
        states = model.encode(texts.tokens[block : block + _BLOCK, :longest].to(device), mask)
        likely = _above(model.subject_logits(states), SUBJECT_POWER, subject_threshold) & mask.unsqueeze(-1)
        subjects = _first(spans_above(likely[..., 0], likely[..., 1]), _MOST_SUBJECTS)
        for some in subjects.split(_BLOCK):
            told = model.object_logits(states[some[:, 0]], some[:, 1:])
            likely = _above(told, OBJECT_POWER, object_threshold) & mask[some[:, 0]][:, :, None, None]
            tags = likely.transpose(1, 2)  # (subjects, predicates, length, 2)
            objects = _first(spans_above(tags[..., 0], tags[..., 1]), _MOST_TRIPLES)
            for number, predicate, first, last in objects.tolist():
                text, *span = some[number].tolist()
                answers = found[block + text]
                if len(answers) < _MOST_TRIPLES:
                    words = texts.words(block + text, *span), texts.words(block + text, first, last)
                    answers.add((words[0], predicates[predicate], words[1]))
    return found


def _above(logits: torch.Tensor, power: int, threshold: float) -> torch.Tensor:
    return probabilities(logits, power=power) > threshold


def _first(spans: torch.Tensor, most: int) -> torch.Tensor:
    """Return the first ``most`` rows of each group, where the first column says the group and is sorted."""
    if not len(spans):
        return spans
    groups = spans[:, 0].contiguous()
    begins = torch.searchsorted(groups, groups)
    return spans[torch.arange(len(spans), device=spans.device) - begins < most]


def score(found: Sequence[Collection[TextTriple]], true: Sequence[Collection[TextTriple]]) -> dict[str, float]:
    """Return precision, recall and F1 over all texts together (micro-averaged), and the ratio of found to true.

    Where nothing is found, precision, 0/0, is 0 by the field's convention. Recall and F1 are always defined.

    Args:
        found: One collection a text.
        true: The same, with a triple in some text.
    """
    right = sum(len(set(mine) & set(theirs)) for mine, theirs in zip(found, true, strict=True))
    named, stated = sum(map(len, found)), sum(map(len, true))
    return {
        "f1": 2.0 * right / (named + stated),
        "precision": right / named if named else 0.0,
        "recall": right / stated,
        "found_per_true": named / stated,
    }
