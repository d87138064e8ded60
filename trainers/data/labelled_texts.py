"""Texts with classes: the packaged reviews, or a data set of the Hugging Face hub."""

from __future__ import annotations

import numpy as np

from ..errors import DataError
from .hub import load_hub_rows
from .rotten_tomatoes import LabelledTexts, reviews


def labelled_texts(dataset: str, split: str, *, text_field: str, label_field: str) -> LabelledTexts:
    """Return one split of ``rotten-tomatoes`` or, by the names of its columns, of a hub data set.

    Raises:
        DataError: See ``rotten_tomatoes.reviews`` and ``load_hub_labelled_text``.
    """
    if dataset == "rotten-tomatoes":
        return reviews(split)
    return load_hub_labelled_text(dataset, split, field=text_field, label_field=label_field)


def load_hub_labelled_text(
    dataset: str, split: str, *, field: str = "text", label_field: str = "label"
) -> LabelledTexts:
    """Return the texts of one split with their classes, in their order; empty ones and exact copies are left out.

    Args:
        dataset: See ``hub.load_hub_text``.
        split: A split as the data set names it.
        field: The column of the texts.
        label_field: The column of the classes' indices.

    Raises:
        DataError: See ``hub.load_hub_text``; or the column of the classes holds something else.
    """
    rows = load_hub_rows(dataset, split, (field, label_field))
    labels = rows[label_field]
    if wrong := [label for label in labels if not isinstance(label, int) or label < 0]:
        raise DataError(
            f"{dataset} ({split}): the column {label_field} must hold indices of classes from 0, but has {wrong[0]!r}; "
            "datasets' class_encode_column makes them, and rows without a class must go."
        )
    unique: dict[str, int] = {}
    for value, label in zip(rows[field], labels, strict=True):
        if value and (text := str(value).strip()):
            unique.setdefault(text, label)
    if not unique:
        raise DataError(f"{dataset} ({split}): the column {field} must hold texts, but all are empty.")
    names = getattr(rows.features[label_field], "names", None) or [str(i) for i in range(max(unique.values()) + 1)]
    return LabelledTexts(
        texts=tuple(unique), labels=np.array(list(unique.values()), dtype=np.int64), label_names=tuple(names)
    )
