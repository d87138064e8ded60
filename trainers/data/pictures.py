"""Labelled images as tensors, whatever they come from."""

from __future__ import annotations

import dataclasses
from functools import lru_cache

import numpy as np
import torch

from .emoji import CATEGORIES, emoji32
from .hub import load_hub_images
from .images import CLOTHES, LabelledImages, digits, fashion_mnist

PACKAGED = {"digits": digits, "fashion-mnist": fashion_mnist, "emoji32": emoji32}
PACKAGED_CLASSES = {"digits": 10, "fashion-mnist": len(CLOTHES), "emoji32": len(CATEGORIES)}
"""How many classes a packaged data set has, known before it is read."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pictures:
    """Training and held-out images.

    Attributes:
        train, test: float32 in [0, 1], shape (examples, channels, height, width).
        train_labels, test_labels: int64 in [0, classes).
        classes: the number of classes.
    """

    train: torch.Tensor
    train_labels: torch.Tensor
    test: torch.Tensor
    test_labels: torch.Tensor
    classes: int


@lru_cache(maxsize=4)
def load_pictures(dataset: str, *, image_field: str = "image", label_field: str = "label") -> Pictures:
    """Return a data set by name, kept in memory for the next trials of the process.

    Those of ``PACKAGED`` are packaged; there, validation and test split together are held out (nothing is selected on
    them but the learning rate, and most are few). Any other name is a hub data set with the splits train and test.

    Raises:
        DataError: the data can't be had.
    """
    if dataset in PACKAGED:
        read = PACKAGED[dataset]
        train, held_out = read("train"), [read("validation"), read("test")]
    else:
        train, test = (
            load_hub_images(dataset, split, image_field=image_field, label_field=label_field)
            for split in ("train", "test")
        )
        held_out = [test]
    return Pictures(
        train=_images([train]),
        train_labels=_labels([train]),
        test=_images(held_out),
        test_labels=_labels(held_out),
        classes=len(train.label_names),
    )


def _images(parts: list[LabelledImages]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([part.as_float() for part in parts]))


def _labels(parts: list[LabelledImages]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([part.labels for part in parts]))
