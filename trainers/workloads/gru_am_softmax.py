"""Sentence similarity from classes: a GRU trained by AM-Softmax (Wang et al. 2018), judged by retrieval."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from ..batching import example_blocks, rebatch
from ..data.class_tokens import ClassData, load_classes
from ..data.text_codes import split_words
from ..seeding import mix, seeded
from ..workload import Batch, Target, Workload
from .margin_softmax import a_softmax_loss, am_softmax_loss
from .sentence_encoders import SentenceSettings, build_sentence_encoder
from .siamese_outcome import spread

_EVALUATION_BLOCK = 256
_UNTRAINED_ENCODERS = 3
_NEAREST = (1, 5, 10)


class GruAmSoftmaxSettings(SentenceSettings):
    """Loss, model and texts.

    ``loss`` is ``am_softmax`` with ``scale`` s and ``margin`` m, ``a_softmax`` with ``scale`` and ``angle_multiple``,
    or ``softmax`` on plain products. ``model`` is ``gru``, ``bag``, ``minilm`` (a download of 83 MB) or a hub name, the
    last two with published weights. ``tokens`` is ``words``, ``grams``, ``minilm`` or a hub tokeniser; each model has
    its own. ``dataset`` is ``wordnet``, whose sets of synonyms with three texts or more are the classes, or a hub data
    set of texts with classes; ``classes`` bounds their number.
    """

    loss: Literal["am_softmax", "a_softmax", "softmax"] = "am_softmax"
    scale: float = Field(default=30.0, gt=0)
    margin: float = Field(default=0.35, ge=0)
    angle_multiple: int = Field(default=4, ge=1)
    model: str = "gru"
    sequence_length: int = Field(default=32, gt=2)
    dataset: str = "wordnet"
    text_field: str = "text"
    label_field: str = "label"
    classes: int = Field(default=300, ge=2)
    target_top_1: float | None = Field(default=None, gt=0, le=1)


class GruAmSoftmax(Workload):
    """Classify texts by the angle of their vector to a class's, so that texts of a class come to lie together.

    The outcome is retrieval: the share of held-out texts with a training text of their own class among the 1, 5 and 10
    that are nearest by cosine. The classes' vectors serve training alone.
    """

    name = "gru-am-softmax"
    summary = "sentence similarity from WordNet's sets of synonyms as classes: GRU and AM-Softmax; retrieval"
    data_set, source, parameters = "wordnet", "Wang et al. 2018", 421_632
    Settings = GruAmSoftmaxSettings
    metrics = ("top_1", "top_5", "top_10", "embedding_spread")
    example_unit = "texts"

    def __init__(self, settings: GruAmSoftmaxSettings) -> None:
        """Keep the settings; texts are read on first use."""
        self.settings = settings
        self.target = Target(metric="top_1", mode="max", value=settings.target_top_1)

    @cached_property
    def data(self) -> ClassData:
        """Training and held-out texts."""
        s = self.settings
        return load_classes(
            dataset=s.dataset,
            text_field=s.text_field,
            label_field=s.label_field,
            classes=s.classes,
            tokens=s.tokens,
            length=s.sequence_length,
        )

    def prepare(self) -> None:
        """Read the texts and, of a published model, the weights."""
        self.build_model(seed=0)

    def build_model(self, *, seed: int) -> nn.Module:
        """Return the encoder, freshly initialised or published, and a vector for each class.

        Raises:
            SettingsError: the hub has no encoder of the name, or it takes shorter texts only.
        """
        s = self.settings
        with seeded(seed, 16):
            encoder = build_sentence_encoder(s, vocabulary_size=self.data.vocabulary_size)
            head = nn.Linear if s.loss == "softmax" else _Cosines
            return _Classes(encoder, head, classes=self.data.classes)

    def train_batches(self, *, batch_size: int, seed: int) -> Iterator[Batch]:
        """Yield ``tokens`` (B, length), ``lengths`` (B,) and ``labels`` (B,)."""
        return rebatch(example_blocks(self.data.train.tensors, seed=mix(seed, 17)), batch_size)

    def loss(self, model: Any, batch: Any) -> torch.Tensor:
        """Return the mean loss over the texts, in nats."""
        s, labels = self.settings, batch["labels"]
        logits = model.head(model.encoder(batch["tokens"], batch["lengths"])).float()
        if s.loss == "softmax":
            return functional.cross_entropy(logits, labels)
        if s.loss == "am_softmax":
            return am_softmax_loss(logits, labels, scale=s.scale, margin=s.margin)
        return a_softmax_loss(logits, labels, scale=s.scale, multiple=s.angle_multiple)

    def evaluate(self, model: Any) -> dict[str, float]:
        """Return the shares of held-out texts that find their class, and how far the texts' directions are apart."""
        known, asked = (self._vectors(model, rows) for rows in (self.data.train, self.data.held_out))
        similarities = functional.normalize(asked, dim=1) @ functional.normalize(known, dim=1).T
        return {**self._retrieval(similarities), "embedding_spread": spread(asked)}

    def _vectors(self, model: Any, rows: Any) -> torch.Tensor:
        device = next(model.parameters()).device
        blocks = zip(rows.tokens.split(_EVALUATION_BLOCK), rows.lengths.split(_EVALUATION_BLOCK), strict=True)
        return torch.cat([model.encoder(ids.to(device), n.to(device)).float().cpu() for ids, n in blocks])

    def _retrieval(self, similarities: torch.Tensor) -> dict[str, float]:
        """Return how often the class is among the nearest; ``similarities`` is (held-out texts, training texts)."""
        count = min(max(_NEAREST), similarities.shape[1])
        nearest = self.data.train.labels[similarities.topk(count, dim=1).indices]
        right = nearest == self.data.held_out.labels[:, None]
        return {f"top_{k}": float(right[:, :k].any(dim=1).float().mean()) for k in _NEAREST}

    def baselines(self) -> dict[str, float]:
        """Return top-1 by chance, by TF-IDF of words, and by the encoder before training, a mean over three."""
        data = self.data
        shares = torch.bincount(data.train.labels, minlength=data.classes) / len(data.train.labels)
        untrained = [self._untrained(seed) for seed in range(_UNTRAINED_ENCODERS)]
        return {
            "chance": float(shares[data.held_out.labels].mean()),
            "TF-IDF cosine": self._retrieval(self._lexical())["top_1"],
            "untrained encoder": sum(untrained) / len(untrained),
        }

    def _lexical(self) -> torch.Tensor:
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(analyzer=split_words).fit(self.data.train.texts)
        asked, known = (vectorizer.transform(rows.texts) for rows in (self.data.held_out, self.data.train))
        return torch.from_numpy(np.asarray((asked @ known.T).todense()))

    @torch.no_grad()
    def _untrained(self, seed: int) -> float:
        return self.evaluate(self.build_model(seed=seed).eval())["top_1"]


class _Cosines(nn.Linear):
    """A linear layer of cosines in place of products."""

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        return functional.linear(functional.normalize(vectors, dim=1), functional.normalize(self.weight, dim=1))


class _Classes(nn.Module):
    """An encoder, and a head whose rows are the classes' vectors."""

    def __init__(self, encoder: Any, head: type[nn.Linear], *, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.utils.skip_init(head, encoder.output_size, classes, bias=False)
        nn.init.normal_(self.head.weight, std=encoder.output_size**-0.5)
