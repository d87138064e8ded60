"""Relation extraction: which subject stands in which relation to which object, said by a text (Su 2020)."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn

from ..batching import chunks, example_order, rebatch
from ..data.relations import RelationFields
from ..data.tagged import PACKAGED, TaggedData, load_tagged, tag_batch
from ..reading import Settings
from ..seeding import mix, seeded
from ..workload import Batch, Target, Workload
from .averaging import WeightAverage
from .fine_tuning import FineTuningSettings, fine_tuning_configuration, fine_tuning_encoder
from .pointer_tagging import PointerTagger, tagging_loss
from .triple_scores import extract, score

_BLOCK = 256
_EVALUATION_BLOCK = 128
_IS_A = "is_a"
"""The packaged texts' predicate that a subject of several words often states of its last one: a black hole, a hole."""


class HubFields(Settings):
    """What a hub data set calls its columns, and the keys of a triple."""

    text: str = "text"
    triples: str = "triples"
    subject: str = "subject"
    predicate: str = "predicate"
    object: str = "object"


class TriplesSettings(FineTuningSettings):
    """Encoder, texts and thresholds.

    ``model`` is as in ``FineTuningSettings``; tokens are words, or a published model's own. ``dataset`` is ``wordnet``,
    of whose sentences, each with one subject, ``sentences_per_text`` are joined, or a hub data set with the splits
    train and validation, whose columns ``fields`` names. A span counts as found where its start and its end are more
    probable than the threshold. ``average_decay`` is that of the moving average of the weights, which is what is
    judged; 0 judges the weights themselves.
    """

    own_defaults: ClassVar = {"hidden_size": 64, "layers": 2, "heads": 4, "initial_std": 0.125}

    dataset: str = PACKAGED
    fields: HubFields = HubFields()
    sentences_per_text: int = Field(default=1, gt=0)
    sequence_length: int = Field(default=40, gt=1)
    subject_threshold: float = Field(default=0.5, gt=0, lt=1)
    object_threshold: float = Field(default=0.4, gt=0, lt=1)
    average_decay: float = Field(default=0.99, ge=0, lt=1)
    validation_texts: int = Field(default=512, gt=0)
    target_f1: float | None = Field(default=None, gt=0, le=1)


class Triples(Workload):
    """Tag a text's subjects, then the objects of one of them by predicate.

    Training shows one subject of each text at a time, drawn anew each epoch; evaluation goes through all that it finds.
    A triple is right where all three parts agree in words. On the packaged texts, what is agreed with is WordNet.
    """

    name = "triples"
    summary = "relation extraction by half-pointer half-tagging"
    data_set, source, parameters = "wordnet", "Su 2020", 776_162
    Settings = TriplesSettings
    metrics = ("f1", "precision", "recall", "found_per_true", "validation_loss")
    example_unit = "texts"

    def __init__(self, settings: TriplesSettings) -> None:
        """Keep the settings; texts are read on first use."""
        self.settings = settings
        self.target = Target(metric="f1", mode="max", value=settings.target_f1)
        self.loss_limit = 100.0

    @cached_property
    def texts(self) -> TaggedData:
        """Training and validation texts as tensors."""
        s = self.settings
        return load_tagged(
            dataset=s.dataset,
            fields=RelationFields(**s.fields.model_dump()),
            sentences_per_text=s.sentences_per_text,
            tokenizer_name=None if s.is_ours else s.model,
            length=s.sequence_length,
            validation_texts=s.validation_texts,
        )

    def prepare(self) -> None:
        """Read the texts and, of a published model, the configuration.

        Raises:
            SettingsError: see ``fine_tuning_configuration``.
        """
        _ = self._configuration

    def build_model(self, *, seed: int) -> nn.Module:
        """Return an encoder with fresh taggers, and the average of its weights as its part ``average``.

        Raises:
            SettingsError: see ``fine_tuning_configuration`` and ``fine_tuning_encoder``.
        """
        with seeded(seed, 11):
            encoder = fine_tuning_encoder(self.settings, self._configuration)
            model = PointerTagger(encoder, predicates=len(self.texts.predicates))
        if self.settings.average_decay > 0:
            model.average = WeightAverage(model)
        return model

    @cached_property
    def _configuration(self) -> Any:
        s = self.settings
        return fine_tuning_configuration(
            s, vocabulary_size=self.texts.vocabulary_size, sequence_length=s.sequence_length, tokens=s.model
        )

    def train_batches(self, *, batch_size: int, seed: int) -> Iterator[Batch]:
        """Yield what ``tag_batch`` returns, for B texts."""
        return rebatch(self._blocks(seed), batch_size)

    def _blocks(self, seed: int) -> Iterator[Batch]:
        texts, rng = self.texts.train, np.random.default_rng(mix(seed, 12))
        for rows in chunks(example_order(len(texts), seed=mix(seed, 13)), min(_BLOCK, len(texts))):
            yield tag_batch(texts, rows, rng.random(len(rows)), predicates=len(self.texts.predicates))

    def loss(self, model: Any, batch: Any) -> torch.Tensor:
        """Return the cross-entropies of subjects and objects in nats, each a mean over texts of that over tokens."""
        return tagging_loss(model, batch)

    def after_step(self, model: Any, *, step: int) -> None:
        """Take the weights into their average."""
        if self.settings.average_decay > 0:
            model.average.update(model, decay=self.settings.average_decay, step=step)

    def evaluate(self, model: Any) -> dict[str, float]:
        """Return exact-match scores of the triples found in the validation texts, and the loss there.

        ``found_per_true`` is the number of triples found over that of those stated: 0 for a model that has collapsed
        to finding none, far above 1 for one that tags everything.
        """
        s, texts = self.settings, self.texts.validation
        averaged = model.average.in_place(model) if s.average_decay > 0 else contextlib.nullcontext()
        with averaged:
            found = extract(
                model,
                texts,
                self.texts.predicates,
                subject_threshold=s.subject_threshold,
                object_threshold=s.object_threshold,
            )
            loss = self._validation_loss(model)
        return {**score(found, texts.triples), "validation_loss": loss}

    def _validation_loss(self, model: Any) -> float:
        device, count = next(model.parameters()).device, len(self._validation["tokens"])
        total = 0.0
        for first in range(0, count, _EVALUATION_BLOCK):
            last = min(first + _EVALUATION_BLOCK, count)
            block = {key: value[first:last].to(device) for key, value in self._validation.items()}
            total += float(tagging_loss(model, block)) * (last - first)
        return total / count

    @cached_property
    def _validation(self) -> dict[str, torch.Tensor]:
        texts = self.texts.validation
        rows = np.array([row for row, subjects in enumerate(texts.subjects) if subjects], dtype=np.int64)
        choice = np.random.default_rng(0).random(len(rows))
        return tag_batch(texts, rows, choice, predicates=len(self.texts.predicates))

    def baselines(self) -> dict[str, float]:
        """Return F1 of guesses that are told the subjects.

        Two guesses name for each subject one triple with the most frequent predicate of the training texts. The object
        is the word after the subject; or, of the words in the text, that which was most often an object in training,
        as a share of the texts that have it. On texts with is_a, a third says of each subject of several words that it
        is_a its last one, without a look at the rest of the text.
        """
        train, validation = self.texts.train, self.texts.validation
        predicate = Counter(p for triples in train.triples for _, p, _ in triples).most_common(1)[0][0]
        named: Counter[str] = Counter(o for triples in train.triples for _, _, o in triples)
        present: Counter[str] = Counter(
            word
            for row in range(len(train))
            for word in {train.words(row, place, place) for place in range(len(train.places[row]))}
        )
        next_word, likeliest, last_word = [], [], []
        for row in range(len(validation)):
            words = [validation.words(row, place, place) for place in range(len(validation.places[row]))]
            best = max(words, key=lambda word: named[word] / (present[word] + 1.0))
            spans = validation.subjects[row]
            next_word.append(
                {
                    (validation.words(row, *span), predicate, words[span[1] + 1])
                    for span in spans
                    if span[1] + 1 < len(words)
                }
            )
            likeliest.append({(validation.words(row, *span), predicate, best) for span in spans})
            last_word.append(
                {(validation.words(row, *span), _IS_A, words[span[1]]) for span in spans if span[1] > span[0]}
            )
        guesses = {"subjects given, next word": next_word, "subjects given, likeliest object word": likeliest}
        if _IS_A in self.texts.predicates:
            guesses["subjects given, is_a their last word"] = last_word
        return {"none found": 0.0, **{name: score(own, validation.triples)["f1"] for name, own in guesses.items()}}
