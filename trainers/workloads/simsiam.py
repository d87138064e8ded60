"""SimSiam: siamese representation learning without negatives (Chen and He 2020)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import torch
from pydantic import Field, model_validator
from torch import nn
from torch.nn import functional

from ..batching import chunks, example_order, rebatch
from ..data.pictures import PACKAGED, Pictures, load_pictures
from ..errors import SettingsError
from ..reading import Settings
from ..seeding import mix, seeded
from ..workload import Batch, Target, Workload
from .encoders import build_encoder

_AUGMENTATION_BLOCK = 512
_EVALUATION_BLOCK = 1024
_LABEL_DRAWS = 50
_UNTRAINED_ENCODERS = 5
_CALIBRATION_BLOCK = 2048
_PACKAGED_CLASSES = 10


class SimSiamSettings(Settings):
    """Data, encoder and heads.

    ``dataset`` is ``digits``, ``fashion-mnist`` or a hub data set; ``encoder`` is as in ``build_encoder``.
    ``stop_gradient=False`` is the ablation that collapses.
    """

    dataset: str = "digits"
    image_field: str = "image"
    label_field: str = "label"
    encoder: str = "conv"
    width: int = Field(default=16, gt=0)
    projection_size: int = Field(default=64, gt=0)
    predictor_size: int = Field(default=32, gt=0)
    projector_layers: int = Field(default=2, ge=1, le=4)
    stop_gradient: bool = True
    crop_scale_low: float = Field(default=0.7, gt=0, le=1)
    rotation_degrees: float = Field(default=10.0, ge=0)
    brightness: float = Field(default=0.4, ge=0)
    labels_per_class: int = Field(default=10, gt=0)
    neighbours: int = Field(default=1, gt=0)
    target_accuracy: float | None = Field(default=None, gt=0, le=1)

    @model_validator(mode="after")
    def _enough_labels(self) -> SimSiamSettings:
        labelled = self.labels_per_class * _PACKAGED_CLASSES
        if self.dataset in PACKAGED and self.neighbours > labelled:
            raise ValueError(
                f"neighbours must be at most the {labelled} labelled images (labels_per_class x {_PACKAGED_CLASSES} "
                f"classes), but is {self.neighbours}"
            )
        return self


class SimSiam(Workload):
    """Two augmented views of an image; each one's prediction must match the other's projection.

    The projector and predictor hold BatchNorm layers, so the examples of a micro-batch are coupled and the
    micro-batch is part of the problem. The outcome is the accuracy of a k-nearest-neighbour vote on the
    encoder's output with a few labels a class, averaged over draws of the labelled images.
    """

    name = "simsiam"
    summary = "self-supervised image representations, judged by k-NN with few labels"
    Settings = SimSiamSettings
    metrics = ("knn_accuracy", "embedding_spread")
    example_unit = "images"
    examples_are_independent = False

    def __init__(self, settings: SimSiamSettings) -> None:
        """Keep the settings; images are read on first use."""
        self.settings = settings
        self.target = Target(metric="knn_accuracy", mode="max", value=settings.target_accuracy)

    @cached_property
    def pictures(self) -> Pictures:
        """Training and test images in [0, 1], channels first, with labels."""
        s = self.settings
        return load_pictures(s.dataset, image_field=s.image_field, label_field=s.label_field)

    def prepare(self) -> None:
        """Read the images.

        Raises:
            SettingsError: the vote asks for more neighbours than there are labelled images.
        """
        self._check_neighbours(len(self._labelled[0]))

    def _check_neighbours(self, labelled: int) -> None:
        if self.settings.neighbours > labelled:
            raise SettingsError(
                f"workload_settings.neighbours must be at most the {labelled} labelled images "
                f"(labels_per_class x classes), but got {self.settings.neighbours}"
            )

    def build_model(self, *, seed: int) -> nn.Module:
        """Return encoder, projector and predictor, freshly initialised."""
        s = self.settings
        with seeded(seed, 6):
            return _Siamese(
                build_encoder(s.encoder, channels=self.pictures.train.shape[1], width=s.width),
                projection_size=s.projection_size,
                predictor_size=s.predictor_size,
                projector_layers=s.projector_layers,
            )

    def train_batches(self, *, batch_size: int, seed: int) -> Iterator[Batch]:
        """Yield two augmented views, each of shape (B, channels, height, width)."""
        return rebatch(self._blocks(seed), batch_size)

    def _blocks(self, seed: int) -> Iterator[Batch]:
        augment = self._augmentation
        train = self.pictures.train
        orders = example_order(len(train), seed=mix(seed, 7))
        for number, rows in enumerate(chunks(orders, min(_AUGMENTATION_BLOCK, len(train)))):
            images = train[torch.from_numpy(rows)]
            with seeded(seed, 8, number), torch.no_grad():  # kornia draws from the global generator
                views = augment(images), augment(images)
            yield views

    @cached_property
    def _augmentation(self) -> nn.Module:
        import kornia.augmentation as ka

        s = self.settings
        height, width = self.pictures.train.shape[-2:]
        return ka.AugmentationSequential(
            ka.RandomResizedCrop((height, width), scale=(s.crop_scale_low, 1.0), ratio=(0.8, 1.25)),
            ka.RandomRotation(s.rotation_degrees, p=1.0 if s.rotation_degrees else 0.0),
            ka.RandomBrightness((1.0 - min(s.brightness, 1.0), 1.0 + s.brightness), p=1.0 if s.brightness else 0.0),
        )

    def loss(self, model: Any, batch: Any) -> torch.Tensor:
        """Return the symmetrised negative cosine similarity, in [−1, 1] (SimSiam, equation 2 and 4)."""
        first, second = batch
        # BatchNorm sees each view by itself, as in the paper.
        z1, z2 = model.project(first), model.project(second)
        p1, p2 = model.predictor(z1), model.predictor(z2)
        if self.settings.stop_gradient:
            z1, z2 = z1.detach(), z2.detach()
        return -0.5 * (functional.cosine_similarity(p1, z2).mean() + functional.cosine_similarity(p2, z1).mean())

    def evaluate(self, model: Any) -> dict[str, float]:
        """Return the k-NN accuracy of the encoder's output and the spread of its normalised embeddings.

        The spread is the mean over dimensions of the std over images, times √d: 1 for embeddings spread over
        the sphere, 0 when all images map to one point (collapse).
        """
        train, test = (self._embed(model.encoder, images) for images in (self.pictures.train, self.pictures.test))
        z = functional.normalize(model.projector(test.to(next(model.parameters()))).float(), dim=1)
        spread = z.std(dim=0).mean() * z.shape[1] ** 0.5
        return {"knn_accuracy": self._knn_accuracy(train, test), "embedding_spread": float(spread)}

    def _embed(self, encoder: nn.Module, images: torch.Tensor) -> torch.Tensor:
        parameter = next(encoder.parameters())
        pieces = [
            encoder(images[first : first + _EVALUATION_BLOCK].to(parameter)).flatten(1).float().cpu()
            for first in range(0, len(images), _EVALUATION_BLOCK)
        ]
        return torch.cat(pieces)

    def _knn_accuracy(self, train: torch.Tensor, test: torch.Tensor) -> float:
        """Average, over fixed draws of labelled images, the accuracy of a vote among the nearest by cosine."""
        similarity = functional.normalize(test, dim=1) @ functional.normalize(train, dim=1).T
        correct = 0.0
        for rows in self._labelled:
            nearest = similarity[:, rows].topk(self.settings.neighbours, dim=1).indices
            votes = functional.one_hot(self.pictures.train_labels[rows][nearest], self.pictures.classes).sum(dim=1)
            correct += float((votes.argmax(dim=1) == self.pictures.test_labels).float().mean())
        return correct / len(self._labelled)

    @cached_property
    def _labelled(self) -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(0)
        labels = self.pictures.train_labels
        draws = []
        for _ in range(_LABEL_DRAWS):
            order = torch.randperm(len(labels), generator=generator)
            rows = [order[labels[order] == c][: self.settings.labels_per_class] for c in range(self.pictures.classes)]
            draws.append(torch.cat(rows))
        return draws

    def baselines(self) -> dict[str, float]:
        """Return the k-NN accuracy on raw pixels and on untrained encoders' output, a mean over five of them."""
        pixels = self._knn_accuracy(self.pictures.train.flatten(1), self.pictures.test.flatten(1))
        untrained = [self._untrained_accuracy(seed) for seed in range(_UNTRAINED_ENCODERS)]
        return {"raw pixels": pixels, "untrained encoder": sum(untrained) / len(untrained)}

    @torch.no_grad()
    def _untrained_accuracy(self, seed: int) -> float:
        model: Any = self.build_model(seed=seed)
        images = self.pictures.train
        calibrate(model.encoder, images.tensor_split(-(-len(images) // _CALIBRATION_BLOCK)))
        model.eval()
        train, test = (self._embed(model.encoder, images) for images in (self.pictures.train, self.pictures.test))
        return self._knn_accuracy(train, test)


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


class _Siamese(nn.Module):
    def __init__(self, encoder: Any, *, projection_size: int, predictor_size: int, projector_layers: int) -> None:
        super().__init__()
        self.encoder = encoder
        sizes: list[int] = [encoder.output_size, *[projection_size] * projector_layers]
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(sizes):
            layers += [nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU()]
        layers[-2:] = [nn.BatchNorm1d(projection_size, affine=False)]  # the last one without ReLU and affine part
        self.projector = nn.Sequential(*layers)
        self.predictor = nn.Sequential(
            nn.Linear(projection_size, predictor_size, bias=False),
            nn.BatchNorm1d(predictor_size),
            nn.ReLU(),
            nn.Linear(predictor_size, projection_size),
        )

    def project(self, images: torch.Tensor) -> torch.Tensor:
        return self.projector(self.encoder(images))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.predictor(self.project(images))
