"""Text classification by a BERT-like encoder, from scratch or fine-tuned (Devlin et al. 2019)."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Iterator
from functools import cached_property
from typing import Any, ClassVar

import torch
from pydantic import Field, model_validator
from torch import nn
from torch.nn import functional

from ..batching import chunks, example_order, rebatch
from ..data.labelled_tokens import LabelledTokens, labelled_tokens
from ..errors import SettingsError
from ..seeding import mix, seeded
from ..workload import Batch, Target, Workload
from .bert_encoders import OUR_MODELS, EncoderSettings, apply_choices, encoder_configuration
from .layer_decay import layer_depths
from .pretrained import pretrained_configuration, pretrained_encoder
from .text_classifier import TextClassifier

_BLOCK = 512
_EVALUATION_BLOCK = 128
_HEAD_STD = 0.02
"""Of a head on published weights, as BERT's own fine-tuning has it."""


class BertClassifySettings(EncoderSettings):
    """Encoder, text, and how it is fine-tuned.

    ``model`` may also be ``minilm`` (all-MiniLM-L6-v2, a download of 83 MB) or a hub name: then training starts from
    the published weights. ``tokens`` is ``words`` (those of the training texts), ``characters``, ``wordpiece``,
    ``minilm`` or a hub tokeniser; published models have their own. ``layer_decay`` multiplies the rate once for each
    layer from the top down. With an ``average_decay`` above 0 an average of the weights is judged in place of them, in
    which those of a step ago weigh so much less.
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

    @model_validator(mode="before")
    @classmethod
    def _published_tokens(cls, values: Any) -> Any:
        published = isinstance(values, dict) and values.get("model", "roformer") not in OUR_MODELS
        return {"tokens": values["model"], **values} if published else values

    @model_validator(mode="after")
    def _std_of_fresh_weights(self) -> BertClassifySettings:
        if not self.is_ours and self.initial_std is not None:
            raise ValueError(f"initial_std must be left out where training starts from the weights of {self.model}")
        return self


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
            SettingsError: the published model has no embedding for some tokens.
        """
        known, needed = self._configuration.vocab_size, self.data.vocabulary_size
        if known < needed:
            raise SettingsError(
                f"workload_settings.tokens must have at most the {known} ids that {self.settings.model} knows, but "
                f"{self.settings.tokens} has {needed}; leave tokens out to take the model's own"
            )

    def build_model(self, *, seed: int) -> nn.Module:
        """Return encoder and head; the head, and what has no published weights, freshly initialised.

        Raises:
            SettingsError: the hub has no encoder of the name, or it takes shorter texts only.
        """
        s, configuration = self.settings, copy.deepcopy(self._configuration)
        with seeded(seed, 9):
            if s.is_ours:
                from transformers import AutoModel

                body = AutoModel.from_config(configuration, attn_implementation=s.attention)
                apply_choices(body, s, encoder=body)
            else:
                body = pretrained_encoder(s.model, configuration, attention=s.attention)
            return TextClassifier(
                body,
                classes=self._classes,
                head_std=s.initial_std or _HEAD_STD,
                dropout=s.dropout,
                averaged=s.average_decay > 0,
            )

    @cached_property
    def _configuration(self) -> Any:
        s = self.settings
        if s.is_ours:
            return encoder_configuration(
                s, vocabulary_size=self.data.vocabulary_size, sequence_length=s.sequence_length
            )
        return pretrained_configuration(s.model, sequence_length=s.sequence_length, dropout=s.dropout)

    def train_batches(self, *, batch_size: int, seed: int) -> Iterator[Batch]:
        """Yield ``tokens`` (B, length), ``lengths`` (B,) and ``labels`` (B,)."""
        return rebatch(self._blocks(seed), batch_size)

    def _blocks(self, seed: int) -> Iterator[Batch]:
        train = self.data.train
        for rows in chunks(example_order(len(train.labels), seed=mix(seed, 10)), min(_BLOCK, len(train.labels))):
            chosen = torch.from_numpy(rows)
            yield {
                "tokens": train.tokens[chosen],
                "lengths": train.lengths[chosen],
                "labels": train.labels[chosen],
            }

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
        from transformers import AutoModel

        with torch.device("meta"):
            body = AutoModel.from_config(self._configuration)
            model = TextClassifier(body, classes=self._classes, head_std=1.0, dropout=0.0, averaged=False)
            if self.settings.is_ours:
                apply_choices(body, self.settings, encoder=body)
        return layer_depths([name for name, _ in model.named_parameters()], head="classifier.")

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
