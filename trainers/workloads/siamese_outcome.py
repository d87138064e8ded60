"""How good a representation is: a vote of neighbours with few labels, and how far its embeddings are apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ..data.pictures import Pictures
from ..errors import SettingsError

_EVALUATION_BLOCK = 1024
_LABEL_DRAWS = 50
_UNTRAINED_ENCODERS = 5
_CALIBRATION_BLOCK = 2048
_FEW_IMAGES = 5000


class NeighbourVote:
    """The accuracy of a k-nearest-neighbour vote with a few labels a class, averaged over draws of labelled images."""

    def __init__(self, pictures: Pictures, *, labels_per_class: int, neighbours: int) -> None:
        """Take the images and the vote's settings."""
        self._pictures = pictures
        self._labels_per_class, self._neighbours = labels_per_class, neighbours

    def check(self) -> None:
        """Check that there are as many labelled images as the vote asks for.

        Raises:
            SettingsError: there are fewer.
        """
        labelled = len(self.labelled[0])
        if self._neighbours > labelled:
            raise SettingsError(
                f"workload_settings.neighbours must be at most the {labelled} labelled images "
                f"(labels_per_class x classes), but got {self._neighbours}"
            )

    @cached_property
    def labelled(self) -> list[torch.Tensor]:
        """Rows of the training images that have a label, by draw."""
        generator = torch.Generator().manual_seed(0)
        labels = self._pictures.train_labels
        draws = []
        for _ in range(_LABEL_DRAWS):
            order = torch.randperm(len(labels), generator=generator)
            rows = [order[labels[order] == c][: self._labels_per_class] for c in range(self._pictures.classes)]
            draws.append(torch.cat(rows))
        return draws

    @cached_property
    def rows(self) -> torch.Tensor:
        """The training images whose vectors the vote takes, rising: all of few, else those that some draw labels."""
        count = len(self._pictures.train)
        return torch.arange(count) if count <= _FEW_IMAGES else torch.cat(self.labelled).unique()

    def accuracy(self, train: torch.Tensor, test: torch.Tensor) -> float:
        """Average, over fixed draws of labelled images, the accuracy of a vote among the nearest by cosine.

        Args:
            train: a vector for each of ``rows``, shape (images, features).
            test: the same for the held-out images.
        """
        similarity = functional.normalize(test, dim=1) @ functional.normalize(train, dim=1).T
        correct = 0.0
        for rows in self.labelled:
            nearest = similarity[:, torch.searchsorted(self.rows, rows)].topk(self._neighbours, dim=1).indices
            voted = _majority(self._pictures.train_labels[rows][nearest], self._pictures.classes)
            correct += float((voted == self._pictures.test_labels).float().mean())
        return correct / len(self.labelled)

    def of(self, encoder: nn.Module) -> tuple[float, torch.Tensor]:
        """Return the vote's accuracy on the encoder's output, and that output for the held-out images."""
        train, test = (embed(encoder, images) for images in (self._pictures.train[self.rows], self._pictures.test))
        return self.accuracy(train, test), test

    def baselines(self, build_encoder: Callable[[int], nn.Module]) -> dict[str, float]:
        """Return the accuracy on raw pixels and on untrained encoders' output, a mean over five of them.

        Args:
            build_encoder: returns a fresh one, given a seed.
        """
        pixels = self.accuracy(self._pictures.train[self.rows].flatten(1), self._pictures.test.flatten(1))
        untrained = [self.untrained(build_encoder(seed)) for seed in range(_UNTRAINED_ENCODERS)]
        return {"raw pixels": pixels, "untrained encoder": sum(untrained) / len(untrained)}

    @torch.no_grad()
    def untrained(self, encoder: nn.Module) -> float:
        """Return the vote's accuracy on the output of ``encoder``, its BatchNorm calibrated on the training images."""
        images = self._pictures.train
        calibrate(encoder, images.tensor_split(-(-len(images) // _CALIBRATION_BLOCK)))
        encoder.eval()
        return self.of(encoder)[0]


def _majority(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Return the most frequent label of each row; of equally frequent ones that of the nearest neighbour.

    Args:
        labels: of the neighbours, the nearest first, shape (images, neighbours).
        classes: how many labels there are.
    """
    votes = functional.one_hot(labels, classes).sum(dim=1)
    wins = votes.gather(1, labels) == votes.amax(dim=1, keepdim=True)
    nearest = wins.int().argmax(dim=1, keepdim=True)  # the first of equals
    return labels.gather(1, nearest).squeeze(1)


def embed(network: Any, images: torch.Tensor) -> torch.Tensor:
    """Return the network's output for each image as a float32 vector, shape (images, features)."""
    parameter = next(network.parameters())
    pieces = [
        network(images[first : first + _EVALUATION_BLOCK].to(parameter)).flatten(1).float().cpu()
        for first in range(0, len(images), _EVALUATION_BLOCK)
    ]
    return torch.cat(pieces)


def spread(embeddings: torch.Tensor) -> float:
    """Return the mean over dimensions of the std over images of normalised ``embeddings``, times √d.

    1 for embeddings spread over the sphere, 0 when all images map to one point (collapse).
    """
    unit = functional.normalize(embeddings.float(), dim=1)
    return float(unit.std(dim=0).mean() * unit.shape[1] ** 0.5)


def calibrate(module: nn.Module, blocks: Iterable[torch.Tensor]) -> None:
    """Set the running statistics of BatchNorm layers to the mean over ``blocks``, with the weights as they are.

    One block gives exactly its own statistics in every layer. ``module`` is left in training mode.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a mean over all that is seen, not one that forgets
    module.train()
    parameter = next(module.parameters())
    for block in blocks:
        module(block.to(parameter))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
