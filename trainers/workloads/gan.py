"""Generative adversarial networks: two players, each with an objective of its own (Goodfellow et al. 2014)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import nn

from ..batching import chunks, example_order, rebatch
from ..data.pictures import Pictures, load_pictures
from ..errors import SettingsError
from ..reading import Settings
from ..seeding import mix, seeded
from ..workload import Batch, Target, Workload
from .gan_distances import class_coverage, frechet, sliced_wasserstein
from .gan_features import VERSION, FeatureNet, feature_net
from .gan_networks import Discriminator, Generator, check_shape
from .gan_objectives import Objective, discriminator_loss, generator_loss, gradient_penalty

_BLOCK = 512
_UNTRAINED_GENERATORS = 3


class GanSettings(Settings):
    """Data, players and rates.

    ``dataset`` is ``digits``, ``fashion-mnist``, ``emoji32`` or a hub data set with labels. ``objective`` brings the
    discriminator's normalisation that it was published with: BatchNorm, none with a gradient penalty, or spectral.
    A player's ``rate_factor`` multiplies the study's rate; a ``rate`` replaces it, so that the study's rate is the
    other player's alone. ``feature_net`` is the version of the net in whose features the outcome is measured.
    """

    dataset: str = "digits"
    image_field: str = "image"
    label_field: str = "label"
    objective: Objective = "non-saturating"
    latent_size: int = Field(default=16, gt=0)
    generator_width: int = Field(default=32, gt=0)
    discriminator_width: int = Field(default=32, gt=0)
    penalty_weight: float = Field(default=10.0, ge=0)
    generator_rate: float | None = Field(default=None, ge=0)
    generator_rate_factor: float = Field(default=1.0, ge=0)
    discriminator_rate: float | None = Field(default=None, ge=0)
    discriminator_rate_factor: float = Field(default=1.0, ge=0)
    evaluation_images: int = Field(default=1000, ge=100)
    feature_net: Literal[1] = VERSION
    target_frechet: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _one_rate_is_the_studys(self) -> GanSettings:
        if self.generator_rate is not None and self.discriminator_rate is not None:
            raise ValueError(
                "one player at least must follow the study's rate, but generator_rate is "
                f"{self.generator_rate:g} and discriminator_rate {self.discriminator_rate:g}"
            )
        return self


class Gan(Workload):
    """A generator that makes pictures from noise, and a discriminator that tells them from real ones.

    Both take a step at once, in one optimiser. The loss that is reported is the sum of theirs, but no common objective:
    each player's gradient is that of its own loss with the other's weights held, and the sum may rise while both learn.
    What a probe measures is of the two gradients side by side: noise and |g|² as for any gradient; H is block
    diagonal, each player's curvature against an opponent that stands still, without the terms by which one answers the
    other. A line search, which moves both, follows another function: leave it out.

    BatchNorm in the generator couples the examples of a micro-batch. The outcome is measured on as many made pictures
    as held-out ones, from fixed noise. ``class_coverage`` says whether all classes are made (1) or one (mode collapse).
    """

    name = "gan"
    summary = "adversarial pictures, judged by their Fréchet distance to held-out ones in a classifier's features"
    data_set, source, parameters = "digits", "Radford et al. 2015", 71_266
    Settings = GanSettings
    metrics = ("frechet_distance", "sliced_wasserstein", "class_coverage")
    example_unit = "images"
    examples_are_independent = False
    loss_limit = 1e4

    def __init__(self, settings: GanSettings) -> None:
        """Keep the settings; images are read on first use."""
        self.settings = settings
        self.target = Target(metric="frechet_distance", mode="min", value=settings.target_frechet)

    @cached_property
    def pictures(self) -> Pictures:
        """Training and test images in [0, 1], channels first, with labels."""
        s = self.settings
        return load_pictures(s.dataset, image_field=s.image_field, label_field=s.label_field)

    @cached_property
    def held_out(self) -> torch.Tensor:
        """The held-out images that made ones are compared with, in [0, 1]."""
        generator = torch.Generator().manual_seed(0)
        rows = torch.randperm(len(self.pictures.test), generator=generator)
        return self.pictures.test[rows[: self.settings.evaluation_images]]

    @cached_property
    def _net(self) -> FeatureNet:
        s = self.settings
        return feature_net(s.dataset, image_field=s.image_field, label_field=s.label_field)

    @cached_property
    def _held_out_features(self) -> torch.Tensor:
        return self._net.describe(self.held_out)[0]

    def prepare(self) -> None:
        """Read the images and train the feature net.

        Raises:
            SettingsError: the networks can't make pictures of their size.
        """
        check_shape(self.pictures.train.shape[1:])
        _ = self._held_out_features

    def build_model(self, *, seed: int) -> nn.Module:
        """Return both players, freshly initialised."""
        s = self.settings
        shape = self.pictures.train.shape[1:]
        with seeded(seed, 9):
            return _Players(
                Generator(latent_size=s.latent_size, width=s.generator_width, shape=shape),
                Discriminator(
                    width=s.discriminator_width,
                    shape=shape,
                    batch_norm=s.objective == "non-saturating",
                    spectral=s.objective == "hinge",
                ),
            )

    def train_batches(self, *, batch_size: int, seed: int) -> Iterator[Batch]:
        """Yield images in [−1, 1], noise of shape (B, latent_size), and shares in [0, 1] of shape (B, 1, 1, 1)."""
        return rebatch(self._blocks(seed), batch_size)

    def _blocks(self, seed: int) -> Iterator[Batch]:
        train = self.pictures.train
        orders = example_order(len(train), seed=mix(seed, 10))
        for number, rows in enumerate(chunks(orders, min(_BLOCK, len(train)))):
            generator = torch.Generator().manual_seed(mix(seed, 11, number))
            noise = torch.randn(len(rows), self.settings.latent_size, generator=generator)
            shares = torch.rand(len(rows), 1, 1, 1, generator=generator)
            yield 2.0 * train[torch.from_numpy(rows)] - 1.0, noise, shares

    def loss(self, model: Any, batch: Any) -> torch.Tensor:
        """Return the sum of both players' losses, each with the other's weights held.

        Raises:
            SettingsError: the weights are in pieces (ZeRO stage 3), and can't be held.
        """
        s = self.settings
        images, noise, shares = batch
        made = model.generator(noise)
        held = {name: weight.detach() for name, weight in model.discriminator.named_parameters()}
        if any(hasattr(weight, "ds_id") for weight in model.discriminator.parameters()):
            raise SettingsError("gan needs engine.zero_stage 0 to 2, but it is 3; its weights are small")
        generator = generator_loss(s.objective, torch.func.functional_call(model.discriminator, held, (made,)))
        made = made.detach()
        discriminator = discriminator_loss(s.objective, model.discriminator(images), model.discriminator(made))
        if s.objective == "wgan-gp":
            penalty = gradient_penalty(model.discriminator, images, made, shares)
            discriminator = discriminator + s.penalty_weight * penalty
        return generator + discriminator

    def peak_rate(self, parameter: str, learning_rate: float) -> float:
        """Return the player's own rate, or the study's times the player's factor."""
        s = self.settings
        if parameter.startswith("generator."):
            return learning_rate * s.generator_rate_factor if s.generator_rate is None else s.generator_rate
        return learning_rate * s.discriminator_rate_factor if s.discriminator_rate is None else s.discriminator_rate

    def evaluate(self, model: Any) -> dict[str, float]:
        """Return how far made pictures are from held-out ones, and how many of the classes they cover."""
        parameter = next(model.parameters())
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(len(self.held_out), self.settings.latent_size, generator=generator).to(parameter)
        return self._judge((model.generator(noise).float().cpu() + 1.0) / 2.0)

    def _judge(self, made: torch.Tensor) -> dict[str, float]:
        if not torch.isfinite(made).all():
            return dict.fromkeys(self.metrics, math.nan)
        features, labels = self._net.describe(made)
        return {
            "frechet_distance": frechet(features, self._held_out_features),
            "sliced_wasserstein": sliced_wasserstein(made.flatten(1), self.held_out.flatten(1)),
            "class_coverage": class_coverage(labels, self.pictures.classes),
        }

    @torch.no_grad()
    def baselines(self) -> dict[str, float]:
        """Return the distance of the mean image, of normally distributed pixels, and of untrained generators."""
        count = len(self.held_out)
        train = self.pictures.train.flatten(1).double()
        mean, covariance = train.mean(dim=0), torch.cov(train.T)
        values, vectors = torch.linalg.eigh(covariance)
        noise = torch.randn(count, len(mean), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        normal = (mean + noise * values.clamp_min(0.0).sqrt() @ vectors.T).clamp(0.0, 1.0)
        models = [self.build_model(seed=seed).eval() for seed in range(_UNTRAINED_GENERATORS)]
        untrained = [self.evaluate(model)[self.target.metric] for model in models]
        found = {"mean image": mean.expand(count, -1), "normal pixels": normal}
        shape = self.held_out.shape
        return {
            **{name: self._judge(made.float().reshape(shape))[self.target.metric] for name, made in found.items()},
            "untrained generator": sum(untrained) / len(untrained),
        }


class _Players(nn.Module):
    def __init__(self, generator: nn.Module, discriminator: nn.Module) -> None:
        super().__init__()
        self.generator, self.discriminator = generator, discriminator

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        return self.generator(noise)
