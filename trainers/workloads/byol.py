"""BYOL: bootstrap your own latent, siamese learning against an averaged teacher (Grill et al. 2020)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from ..data.pictures import Pictures
from ..seeding import seeded
from ..workload import Batch, Target, Workload
from .batch_norm import float32_batch_norm
from .encoders import build_encoder
from .siamese import SiameseSettings, TwoViews, head, mean_over_groups, mutual_prediction
from .siamese_outcome import NeighbourVote, spread
from .siamese_teacher import Teacher


class ByolSettings(SiameseSettings):
    """Data, encoder, heads and teacher.

    ``teacher_decay`` is τ per step: a larger batch takes fewer steps, so the same τ makes a teacher that lags behind by
    more images. Unlike the paper's, which rises from 0.996 to 1 on a cosine over the run (section 3.1), it stays: what
    follows a step is not told how long the run is. ``predictor=False`` is the ablation that collapses (the paper's
    table 5b): what agrees with the teacher best is then a constant. ``predictor_rate_factor`` multiplies the
    predictor's peak rate.
    """

    hidden_size: int = Field(default=128, gt=0)
    projection_size: int = Field(default=32, gt=0)
    predictor: bool = True
    predictor_rate_factor: float = Field(default=1.0, ge=0)
    teacher_decay: float = Field(default=0.9, ge=0, le=1)


class Byol(Workload):
    """Two augmented views of an image; each one's prediction must match the teacher's projection of the other.

    Sibling of ``simsiam``, with the same views, encoders and outcome; BatchNorm couples the examples of a micro-batch.
    """

    name = "byol"
    summary = "self-supervised image representations with an averaged teacher, judged by k-NN with few labels"
    data_set, source, parameters = "digits", "Grill et al. 2020", 69_040
    Settings = ByolSettings
    metrics = ("knn_accuracy", "embedding_spread")
    example_unit = "images"
    examples_are_independent = False

    def __init__(self, settings: ByolSettings) -> None:
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
        """Return encoder, projector, predictor and a teacher equal to the first two, freshly initialised."""
        s = self.settings
        with seeded(seed, 6):
            encoder: Any = build_encoder(s.encoder, channels=self.pictures.train.shape[1], width=s.width)
            model = _ByolModel(
                encoder,
                projector=head([encoder.output_size, s.hidden_size, s.projection_size], output_norm=False),
                predictor=head([s.projection_size, s.hidden_size, s.projection_size], output_norm=False)
                if s.predictor
                else nn.Identity(),
            )
        return float32_batch_norm(model)

    def train_batches(self, *, batch_size: int, seed: int) -> Iterator[Batch]:
        """Yield two augmented views, each of shape (B, channels, height, width)."""
        return self._views.batches(batch_size=batch_size, seed=seed)

    def loss(self, model: Any, batch: Any) -> torch.Tensor:
        """Return the mean over both views of the squared distance, in [0, 4]: half of BYOL's sum (section 3.1)."""

        def of_group(views: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
            return mutual_prediction(
                views,
                project=model.student,
                predict=model.predictor,
                target=model.teacher,
                distance=unit_square_distance,
                stop_gradient=True,
            )

        return mean_over_groups(of_group, batch, self.settings.batch_norm_images)

    def peak_rate(self, parameter: str, learning_rate: float) -> float:
        """Return the study's rate; for the predictor, times its factor."""
        return learning_rate * (self.settings.predictor_rate_factor if parameter.startswith("predictor.") else 1.0)

    def after_step(self, model: Any, *, step: int) -> None:  # noqa: ARG002 - the decay is the same at every step
        """Let the teacher follow."""
        model.teacher.follow(model.student, decay=self.settings.teacher_decay)

    def evaluate(self, model: Any) -> dict[str, float]:
        """Return the k-NN accuracy of the encoder's output and the spread of its normalised embeddings."""
        accuracy, test = self.vote.of(model.student.encoder)
        projected = model.student.projector(test.to(next(model.parameters())))
        return {"knn_accuracy": accuracy, "embedding_spread": spread(projected)}

    def baselines(self) -> dict[str, float]:
        """Return the k-NN accuracy on raw pixels and on untrained encoders' output, a mean over five of them."""

        def build(seed: int) -> nn.Module:
            model: Any = self.build_model(seed=seed)
            return model.student.encoder

        return self.vote.baselines(build)


def unit_square_distance(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the mean over rows of ‖p/‖p‖ − t/‖t‖‖² = 2 − 2 cos(p, t)."""
    return 2.0 - 2.0 * functional.cosine_similarity(prediction.float(), target.float()).mean()


class _ByolModel(nn.Module):
    def __init__(self, encoder: nn.Module, *, projector: nn.Module, predictor: nn.Module) -> None:
        super().__init__()
        self.student = _Student(encoder, projector)
        self.predictor = predictor
        self.teacher = Teacher(self.student)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.predictor(self.student(images))


class _Student(nn.Module):
    def __init__(self, encoder: nn.Module, projector: nn.Module) -> None:
        super().__init__()
        self.encoder, self.projector = encoder, projector

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.projector(self.encoder(images))
