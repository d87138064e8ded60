"""Text classification by a BERT-like encoder, from scratch or fine-tuned (Devlin et al. 2019)."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from functools import cached_property
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from ..batching import example_blocks, rebatch
from ..data.labelled_tokens import LabelledTokens, labelled_tokens
from ..seeding import mix, seeded
from ..workload import Batch, Target, Workload
from .fine_tuning import (
    HEAD_STD,
    FineTuningSettings,
    fine_tuning_configuration,
    fine_tuning_encoder,
    untrained_encoder,
)
from .layer_decay import layer_depths
from .text_classifier import TextClassifier

_EVALUATION_BLOCK = 128


class BertClassifySettings(FineTuningSettings):
    """Encoder, text, and how it is fine-tuned.

    ``model`` is as in ``FineTuningSettings``. ``tokens`` is ``words`` (those of the training texts), ``characters``,
    ``wordpiece``, ``minilm`` or a hub tokeniser; published models have their own. ``layer_decay`` multiplies the rate
    once for each layer from the top down. With an ``average_decay`` above 0 an average of the weights is judged in
    place of them, in which those of a step ago weigh so much less.
    """

    own_defaults: ClassVar = {"hidden_size": 64, "layers": 2, "heads": 2, "initial_std": 0.125}

    dataset: str = "rotten-tomatoes"
    text_field: str = "text"
    label_field: str = "label"
    tokens: str = "words"
    sequence_length: int = Field(default=48, gt=2)
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    average_decay: float = Field(default=0.0, ge=0, lt=1)
    validation_examples: int = Field(default=1024, gt=0)
    target_accuracy: float | None = Field(default=None, gt=0, le=1)


class BertClassify(Workload):
    """Say the class of a text: the mean of an encoder's states over the text's tokens, and a linear layer."""

    name = "bert-classify"
    summary = "fine-tuning for text classification on review texts: fresh or rotten"
    data_set, source, parameters = "rotten-tomatoes", "Devlin et al. 2019", 543_298
    Settings = BertClassifySettings
    metrics = ("accuracy", "validation_loss", "largest_predicted_share")
    example_unit = "texts"

    def __init__(self, settings: BertClassifySettings) -> None:
        """Keep the settings; texts are read on first use."""
        self.settings = settings
        self.target = Target(metric="accuracy", mode="max", value=settings.target_accuracy)

    @property
    def loss_limit(self) -> float:  # type: ignore[override]
        """Ten times the loss of a uniform guess: beyond what confident mistakes cost a run that learns."""
        return 10.0 * math.log(self._classes)

    @cached_property
    def data(self) -> LabelledTokens:
        """The texts as tokens: training and validation."""
        s = self.settings
        return labelled_tokens(
            dataset=s.dataset,
            text_field=s.text_field,
            label_field=s.label_field,
            tokens=s.tokens,
            length=s.sequence_length,
        )

    @property
    def _classes(self) -> int:
        return len(self.data.label_names)

    def prepare(self) -> None:
        """Read the texts and, of a published model, the configuration.

        Raises:
            SettingsError: see ``fine_tuning_configuration`` and, with rates by layer, ``layer_depths``.
        """
        _ = self._configuration
        if self.settings.layer_decay != 1.0:
            _ = self._depths

    def build_model(self, *, seed: int) -> nn.Module:
        """Return encoder and head; the head, and what has no published weights, freshly initialised.

        Raises:
            SettingsError: see ``fine_tuning_configuration`` and ``fine_tuning_encoder``.
        """
        s = self.settings
        with seeded(seed, 9):
            return TextClassifier(
                fine_tuning_encoder(s, self._configuration),
                classes=self._classes,
                head_std=s.initial_std or HEAD_STD,
                dropout=s.dropout,
                averaged=s.average_decay > 0,
            )

    @cached_property
    def _configuration(self) -> Any:
        s = self.settings
        return fine_tuning_configuration(
            s, vocabulary_size=self.data.vocabulary_size, sequence_length=s.sequence_length, tokens=s.tokens
        )

    def train_batches(self, *, batch_size: int, seed: int) -> Iterator[Batch]:
        """Yield ``tokens`` (B, length), ``lengths`` (B,) and ``labels`` (B,)."""
        return rebatch(example_blocks(self.data.train.tensors, seed=mix(seed, 10)), batch_size)

    def loss(self, model: Any, batch: Any) -> torch.Tensor:
        """Return the mean cross-entropy in nats."""
        return functional.cross_entropy(model(batch["tokens"], batch["lengths"]).float(), batch["labels"])

    def peak_rate(self, parameter: str, learning_rate: float) -> float:
        """Return the rate times layer_decay to the power of the parameter's depth from the top."""
        if self.settings.layer_decay == 1.0:
            return learning_rate
        return learning_rate * self.settings.layer_decay ** self._depths[parameter]

    @cached_property
    def _depths(self) -> dict[str, int]:
        s = self.settings
        with torch.device("meta"):
            body = untrained_encoder(s, self._configuration)
            model = TextClassifier(body, classes=self._classes, head_std=1.0, dropout=0.0, averaged=False)
        above = ["classifier."]
        if s.norm_placement == "pre":  # of our models alone, whose last norm stands in the last layer's place
            above.append(f"body.encoder.layer.{self._configuration.num_hidden_layers - 1}.output.LayerNorm.")
        return layer_depths([name for name, _ in model.named_parameters()], head=tuple(above))

    def after_step(self, model: Any, *, step: int) -> None:
        """Take the new weights into their average, where there is one."""
        if self.settings.average_decay > 0:
            model.average.update(model, decay=self.settings.average_decay, step=step)

    def evaluate(self, model: Any) -> dict[str, float]:
        """Return accuracy, loss (nats), and the share of the class predicted most: 1 says that the text is ignored."""
        n = self._validation_size
        rows, device = self.data.validation, next(model.parameters()).device
        averaged = model.average.in_place(model) if self.settings.average_decay > 0 else contextlib.nullcontext()
        with averaged:
            logits = torch.cat(
                [
                    model(rows.tokens[first:last].to(device), rows.lengths[first:last].to(device)).float().cpu()
                    for first in range(0, n, _EVALUATION_BLOCK)
                    for last in [min(first + _EVALUATION_BLOCK, n)]
                ]
            )
        labels, predicted = rows.labels[:n], logits.argmax(dim=1)
        return {
            "accuracy": float((predicted == labels).float().mean()),
            "validation_loss": float(functional.cross_entropy(logits, labels)),
            "largest_predicted_share": float(torch.bincount(predicted).max()) / n,
        }

    @property
    def _validation_size(self) -> int:
        return min(self.settings.validation_examples, len(self.data.validation.labels))

    def baselines(self) -> dict[str, float]:
        """Return the accuracy of the commonest training class, and of logistic regression on TF-IDF of words."""
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        n, train = self._validation_size, self.data.train
        texts, labels = self.data.validation.texts[:n], self.data.validation.labels[:n].numpy()
        commonest = int(torch.bincount(train.labels).argmax())
        regression = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000))
        regression.fit(train.texts, train.labels.numpy())
        return {
            "majority": float((labels == commonest).mean()),
            "TF-IDF and logistic regression": float(regression.score(texts, labels)),
        }
