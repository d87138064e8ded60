"""SimSiam: siamese representation learning without negatives (Chen and He 2020)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from ..data.pictures import Pictures
from ..reading import added
from ..seeding import seeded
from ..workload import Batch, Target, Workload
from .batch_norm import float32_batch_norm
from .encoders import build_encoder
from .siamese import SiameseSettings, TwoViews, head, mean_over_groups, mutual_prediction
from .siamese_outcome import NeighbourVote, spread


class SimSiamSettings(SiameseSettings):
    """Data, encoder and heads.

    ``stop_gradient=False`` is the ablation that collapses; with ``projector_output_norm=False`` it does so to a point,
    since nothing then holds the embeddings apart. ``predictor_rate_factor`` multiplies the predictor's peak rate.
    """

    projection_size: int = Field(default=64, gt=0)
    predictor_size: int = Field(default=32, gt=0)
    projector_layers: int = Field(default=2, ge=1, le=4)
    stop_gradient: bool = True
    projector_output_norm: bool = added(True)
    predictor_rate_factor: float = added(1.0, ge=0)


class SimSiam(Workload):
    """Two augmented views of an image; each one's prediction must match the other's projection.

    The projector and predictor hold BatchNorm layers, so the examples of a micro-batch are coupled and the
    micro-batch is part of the problem. The outcome is the accuracy of a k-nearest-neighbour vote on the
    encoder's output with a few labels a class, averaged over draws of the labelled images.
    """

    name = "simsiam"
    summary = "self-supervised image representations, judged by k-NN with few labels"
    data_set, source, parameters = "digits", "Chen and He 2020", 48_240
    Settings = SimSiamSettings
    metrics = ("knn_accuracy", "embedding_spread")
    example_unit = "images"
    examples_are_independent = False

    def __init__(self, settings: SimSiamSettings) -> None:
        """Keep the settings; images are read on first use."""
        self.settings = settings
        self.target = Target(metric="knn_accuracy", mode="max", value=settings.target_accuracy)
        self.coupled_examples = settings.batch_norm_images
        self._views = TwoViews(settings)

    @property
    def pictures(self) -> Pictures:
        """Training and test images in [0, 1], channels first, with labels."""
        return self._views.pictures

    @cached_property
    def vote(self) -> NeighbourVote:
        """The outcome."""
        s = self.settings
        return NeighbourVote(self.pictures, labels_per_class=s.labels_per_class, neighbours=s.neighbours)

    def prepare(self) -> None:
        """Read the images.

        Raises:
            SettingsError: the vote asks for more neighbours than there are labelled images.
        """
        self.vote.check()

    def build_model(self, *, seed: int) -> nn.Module:
        """Return encoder, projector and predictor, freshly initialised."""
        s = self.settings
        with seeded(seed, 6):
            model = _SimSiamModel(
                build_encoder(s.encoder, channels=self.pictures.train.shape[1], width=s.width),
                projection_size=s.projection_size,
                predictor_size=s.predictor_size,
                projector_layers=s.projector_layers,
                output_norm=s.projector_output_norm,
            )
        return float32_batch_norm(model)

    def train_batches(self, *, batch_size: int, seed: int) -> Iterator[Batch]:
        """Yield two augmented views, each of shape (B, channels, height, width)."""
        return self._views.batches(batch_size=batch_size, seed=seed)

    def loss(self, model: Any, batch: Any) -> torch.Tensor:
        """Return the symmetrised negative cosine similarity, in [−1, 1] (SimSiam, equation 2 and 4)."""

        def of_group(views: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
            return mutual_prediction(
                views,
                project=model.project,
                predict=model.predictor,
                target=None,
                distance=negative_cosine,
                stop_gradient=self.settings.stop_gradient,
            )

        return mean_over_groups(of_group, batch, self.settings.batch_norm_images)

    def peak_rate(self, parameter: str, learning_rate: float) -> float:
        """Return the study's rate; for the predictor, times its factor."""
        return learning_rate * (self.settings.predictor_rate_factor if parameter.startswith("predictor.") else 1.0)

    def evaluate(self, model: Any) -> dict[str, float]:
        """Return the k-NN accuracy of the encoder's output and the spread of its normalised embeddings."""
        accuracy, test = self.vote.of(model.encoder)
        projected = model.projector(test.to(next(model.parameters())))
        return {"knn_accuracy": accuracy, "embedding_spread": spread(projected)}

    def baselines(self) -> dict[str, float]:
        """Return the k-NN accuracy on raw pixels and on untrained encoders' output, a mean over five of them."""

        def build(seed: int) -> nn.Module:
            model: Any = self.build_model(seed=seed)
            return model.encoder

        return self.vote.baselines(build)


def negative_cosine(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the mean over rows of −cos(prediction, target)."""
    return -functional.cosine_similarity(prediction.float(), target.float()).mean()


class _SimSiamModel(nn.Module):
    def __init__(
        self, encoder: Any, *, projection_size: int, predictor_size: int, projector_layers: int, output_norm: bool
    ) -> None:
        super().__init__()
        self.encoder = encoder
        sizes = [encoder.output_size, *[projection_size] * projector_layers]
        self.projector = head(sizes, output_norm=output_norm)
        self.predictor = head([projection_size, predictor_size, projection_size], output_norm=False)

    def project(self, images: torch.Tensor) -> torch.Tensor:
        return self.projector(self.encoder(images))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.predictor(self.project(images))
