"""The features in which made pictures are compared with real ones: a small classifier of the same data."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ..batching import chunks, example_order
from ..data.pictures import Pictures, load_pictures
from ..seeding import seeded
from .gan_feature_store import read_weights, weights_file, write_weights

VERSION: Literal[1] = 1
"""Raised whenever anything below changes, since distances in other features are other numbers."""
_FEATURES, _WIDTH = 32, 8
_STEPS, _BATCH_SIZE, _RATE = 500, 64, 3e-3
_EVALUATION_BLOCK = 1024


class FeatureNet(nn.Module):
    """Two strided convolutions, a layer of 32 features, and the classes' logits."""

    def __init__(self, *, shape: torch.Size, classes: int) -> None:
        """Build it for pictures of ``shape`` (channels, height, width)."""
        super().__init__()
        channels, height, breadth = shape
        self.features = nn.Sequential(
            nn.Conv2d(channels, _WIDTH, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(_WIDTH, 2 * _WIDTH, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2 * _WIDTH * -(-height // 4) * -(-breadth // 4), _FEATURES),
            nn.ReLU(),
        )
        self.classes = nn.Linear(_FEATURES, classes)

    @torch.no_grad()
    def describe(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return each picture's features, float64 of shape (examples, 32), and its most probable class.

        Args:
            pictures: in [0, 1], shape (examples, channels, height, width).
        """
        features = torch.cat([self.features(block.double()) for block in pictures.split(_EVALUATION_BLOCK)])
        return features, self.classes(features).argmax(dim=1)


@lru_cache(maxsize=4)
def feature_net(dataset: str, *, image_field: str, label_field: str) -> FeatureNet:
    """Return the net of a data set, trained on its training images at first use and kept in the data cache.

    Weights, batches and steps follow from a fixed seed. All is done in float64: rounding differs between machines, and
    in float32 training would carry it to the digits that are reported.
    """
    pictures = load_pictures(dataset, image_field=image_field, label_field=label_field)
    path = weights_file(pictures, version=VERSION, recipe=(_FEATURES, _WIDTH, _STEPS, _BATCH_SIZE, _RATE))
    net = _empty_net(pictures)
    if not read_weights(path, net):
        net = train_feature_net(pictures)
        write_weights(path, net)
    return net.requires_grad_(False)


def train_feature_net(pictures: Pictures) -> FeatureNet:
    """Return a net that has seen 500 batches of 64 training images."""
    net = _empty_net(pictures)
    rng = np.random.default_rng(VERSION)
    for parameter in net.parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 0
        values = rng.normal(size=parameter.shape) * np.sqrt(2.0 / fan_in) if fan_in else np.zeros(parameter.shape)
        parameter.data = torch.from_numpy(values)
    optimizer = torch.optim.Adam(net.parameters())
    batches = chunks(example_order(len(pictures.train), seed=VERSION), _BATCH_SIZE)
    with torch.enable_grad():  # an evaluation may be what asks first
        for step in range(_STEPS):
            optimizer.param_groups[0]["lr"] = _RATE * (1.0 - step / _STEPS)
            rows = torch.from_numpy(next(batches))
            logits = net.classes(net.features(pictures.train[rows].double()))
            loss = functional.cross_entropy(logits, pictures.train_labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return net.requires_grad_(False)


def _empty_net(pictures: Pictures) -> FeatureNet:
    with seeded(0):  # torch fills it from its global generator, with weights that are all replaced
        return FeatureNet(shape=pictures.train.shape[1:], classes=pictures.classes).double()
