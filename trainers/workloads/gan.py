"""Generative adversarial networks: two players, each with an objective of its own (Goodfellow et al. 2014)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import torch
from torch import nn

from ..batching import chunks, example_order, rebatch
from ..data.pictures import Pictures, load_pictures
from ..seeding import mix, seeded
from ..workload import Batch, Target, Workload
from .batch_norm import float32_batch_norm
from .gan_distances import class_coverage, frechet, sliced_wasserstein
from .gan_features import FeatureNet, feature_net
from .gan_networks import Discriminator, Generator, check_shape
from .gan_objectives import discriminator_loss, generator_loss, gradient_penalty
from .gan_settings import GanSettings
from .siamese_outcome import calibrate

_BLOCK = 512
_UNTRAINED_GENERATORS = 3
_CALIBRATION = 2048  # made pictures


class Gan(Workload):
    """A generator that makes pictures from noise, and a discriminator that tells them from real ones.

    Both take a step at once on the same B images, in one optimiser with a rate for each: the papers' two optimisers,
    but betas, decay and clipping are shared. Several discriminator steps for one of the generator (5 in WGAN-GP) are
    left out: the players would see different numbers of images a step, and B would be two things. A larger
    ``discriminator_rate_factor`` serves the same end (Heusel et al. 2017).

    The loss that is reported is the sum of theirs, but no common objective: each player's gradient is that of its own
    loss with the other's weights held, and the sum may rise while both learn. What a probe measures is of the two
    gradients side by side: noise and |g|² as for any gradient; H is block diagonal, each player's curvature against an
    opponent that stands still, without the terms by which one answers the other. A line search, which moves both,
    follows another function: leave it out.

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
    largest_zero_stage = 2
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
            players = _Players(
                Generator(latent_size=s.latent_size, width=s.generator_width, shape=shape, initial_std=s.initial_std),
                Discriminator(
                    width=s.discriminator_width,
                    shape=shape,
                    batch_norm=s.objective == "non-saturating",
                    spectral=s.objective == "hinge",
                    initial_std=s.initial_std,
                ),
            )
        return float32_batch_norm(players)

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
        """Return the sum of both players' losses, each with the other's weights held."""
        s = self.settings
        images, noise, shares = batch
        made = model.generator(noise)
        held = {name: weight.detach() for name, weight in model.discriminator.named_parameters()}
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
        untrained = [self._untrained(seed)[self.target.metric] for seed in range(_UNTRAINED_GENERATORS)]
        found = {"mean image": mean.expand(count, -1), "normal pixels": normal}
        shape = self.held_out.shape
        return {
            **{name: self._judge(made.float().reshape(shape))[self.target.metric] for name, made in found.items()},
            "untrained generator": sum(untrained) / len(untrained),
        }

    def _untrained(self, seed: int) -> dict[str, float]:
        model: Any = self.build_model(seed=seed)
        noise = torch.randn(
            _CALIBRATION, self.settings.latent_size, generator=torch.Generator().manual_seed(mix(seed, 12))
        )
        calibrate(model.generator, [noise])
        return self.evaluate(model.eval())


class _Players(nn.Module):
    def __init__(self, generator: nn.Module, discriminator: nn.Module) -> None:
        super().__init__()
        self.generator, self.discriminator = generator, discriminator

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        return self.generator(noise)
