"""What siamese workloads share: pairs of augmented views, heads, and the loss between a prediction and a target."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import torch
from pydantic import Field, model_validator
from torch import nn

from ..batching import chunks, example_order, rebatch
from ..data.pictures import PACKAGED_CLASSES, Pictures, load_pictures
from ..errors import SettingsError
from ..reading import Settings, added
from ..seeding import mix, seeded
from ..workload import Batch

_AUGMENTATION_BLOCK = 512


class SiameseSettings(Settings):
    """Data, encoder, views, outcome and what BatchNorm sees.

    ``dataset`` is ``digits``, ``fashion-mnist``, ``emoji32`` or a hub data set; ``encoder`` is as in ``build_encoder``.
    ``batch_norm_images`` is the number of images over which BatchNorm takes its statistics, as a device does over its
    share of the batch in a published recipe; it must divide what a forward pass sees. None takes all of a forward pass:
    that is the global batch on one worker without ``micro_batch_size``, but a worker's share or a micro-batch
    elsewhere, as statistics are never gathered from several passes or workers.
    ``evaluation_images`` is how many held-out images are evaluated, always the same; None takes all.
    """

    dataset: str = "digits"
    image_field: str = "image"
    label_field: str = "label"
    encoder: str = "conv"
    width: int = Field(default=16, gt=0)
    crop_scale_low: float = Field(default=0.7, gt=0, le=1)
    rotation_degrees: float = Field(default=10.0, ge=0)
    brightness: float = Field(default=0.4, ge=0)
    labels_per_class: int = Field(default=10, gt=0)
    neighbours: int = Field(default=1, gt=0)
    target_accuracy: float | None = Field(default=None, gt=0, le=1)
    batch_norm_images: int | None = added(None, ge=2)
    evaluation_images: int | None = added(None, gt=0)

    @model_validator(mode="after")
    def _enough_labels(self) -> SiameseSettings:
        classes = PACKAGED_CLASSES.get(self.dataset)
        if classes is not None and self.neighbours > self.labels_per_class * classes:
            raise ValueError(
                f"neighbours must be at most the {self.labels_per_class * classes} labelled images (labels_per_class x "
                f"{classes} classes), but is {self.neighbours}"
            )
        return self


class TwoViews:
    """The pictures of a data set, and endless pairs of augmented views of them."""

    def __init__(self, settings: SiameseSettings) -> None:
        """Keep the settings; pictures are read on first use."""
        self._settings = settings

    @cached_property
    def pictures(self) -> Pictures:
        """Training and test images in [0, 1], channels first, with labels."""
        s = self._settings
        found = load_pictures(s.dataset, image_field=s.image_field, label_field=s.label_field)
        if s.evaluation_images is None or s.evaluation_images >= len(found.test):
            return found
        rows = torch.randperm(len(found.test), generator=torch.Generator().manual_seed(0))[: s.evaluation_images]
        return dataclasses.replace(found, test=found.test[rows], test_labels=found.test_labels[rows])

    def batches(self, *, batch_size: int, seed: int) -> Iterator[Batch]:
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

        s = self._settings
        height, width = self.pictures.train.shape[-2:]
        return ka.AugmentationSequential(
            ka.RandomResizedCrop((height, width), scale=(s.crop_scale_low, 1.0), ratio=(0.8, 1.25)),
            ka.RandomRotation(s.rotation_degrees, p=1.0 if s.rotation_degrees else 0.0),
            ka.RandomBrightness((1.0 - min(s.brightness, 1.0), 1.0 + s.brightness), p=1.0 if s.brightness else 0.0),
        )


def head(sizes: Sequence[int], *, output_norm: bool) -> nn.Sequential:
    """Return linear layers with BatchNorm and ReLU between them.

    Args:
        sizes: of the input and of each layer's output.
        output_norm: whether the last layer ends in BatchNorm without affine part; else it has a bias.
    """
    *hidden, last = itertools.pairwise(sizes)
    layers: list[nn.Module] = []
    for inputs, outputs in hidden:
        layers += [nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU()]
    layers.append(nn.Linear(*last, bias=not output_norm))
    if output_norm:
        layers.append(nn.BatchNorm1d(last[1], affine=False))
    return nn.Sequential(*layers)


Branch = Callable[[torch.Tensor], torch.Tensor]


def mutual_prediction(
    views: tuple[torch.Tensor, torch.Tensor],
    *,
    project: Branch,
    predict: Branch,
    target: Branch | None,
    distance: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    stop_gradient: bool,
) -> torch.Tensor:
    """Return ½ D(predict(project(x₁)), target(x₂)) + ½ D(predict(project(x₂)), target(x₁)).

    Args:
        views: x₁ and x₂; BatchNorm sees each by itself, as in the papers.
        project: encoder and projector.
        predict: the predictor.
        target: a teacher; None takes ``project`` itself.
        distance: D(prediction, target), a scalar.
        stop_gradient: whether targets are constants to the gradient.
    """
    first, second = views
    z1, z2 = project(first), project(second)
    p1, p2 = predict(z1), predict(z2)
    t1, t2 = (z1, z2) if target is None else (target(first), target(second))
    if stop_gradient:
        t1, t2 = t1.detach(), t2.detach()
    return 0.5 * (distance(p1, t2) + distance(p2, t1))


def mean_over_groups(
    loss: Callable[[tuple[torch.Tensor, torch.Tensor]], torch.Tensor],
    views: tuple[torch.Tensor, torch.Tensor],
    size: int | None,
) -> torch.Tensor:
    """Return the mean of ``loss`` over groups of ``size`` images, as devices of that share would compute it.

    Args:
        loss: of a pair of views.
        views: two views of the images of a forward pass.
        size: images of a group; None makes one group of all.

    Raises:
        SettingsError: the groups don't come out even. Plans of runs and probes are checked for it before.
    """
    count = len(views[0])
    if size is None or size == count:
        return loss(views)
    if count % size:
        raise SettingsError(
            f"workload_settings.batch_norm_images must divide the images of a forward pass, but got {size} with "
            f"{count}; change it, batch_size or micro_batch_size"
        )
    return torch.stack([loss((a, b)) for a, b in zip(*(view.split(size) for view in views), strict=True)]).mean()
