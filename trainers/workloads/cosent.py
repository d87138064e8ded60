"""Sentence vectors trained by the ranking of their cosines (CoSENT: Su 2022; Huang et al. 2024), or as SBERT is."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from ..batching import example_blocks, rebatch
from ..data.sentence_pairs import PairData, PairFields, load_pairs
from ..seeding import mix, seeded
from ..workload import Batch, Target, Workload
from .pair_scores import lexical_similarities, spearman
from .sentence_encoders import SentenceSettings, build_sentence_encoder
from .siamese_outcome import spread

_EVALUATION_BLOCK = 256
_UNTRAINED_ENCODERS = 3


class CosentSettings(SentenceSettings):
    """Objective, model and pairs.

    ``objective`` is ``cosent``, with ``scale`` λ, or ``sbert``: the cross-entropy of a linear layer on |u − v|, or on
    [u, v, |u − v|] (``sbert_features: all``), whose ``sbert_classes`` are the scores, rounded. ``model`` is ``bag``,
    ``gru``, or ``minilm`` (a download of 83 MB) or a hub name: then training starts from the published weights.
    ``tokens`` is ``grams``, ``words``, ``minilm`` or a hub tokeniser; each model has its own. ``dataset`` is
    ``sts-b`` or a hub data set with scores from 0 to ``highest_score``.
    """

    objective: Literal["cosent", "sbert"] = "cosent"
    scale: float = Field(default=20.0, gt=0)
    sbert_features: Literal["difference", "all"] = "difference"
    sbert_classes: int = Field(default=6, ge=2)
    dataset: str = "sts-b"
    first_field: str = "sentence1"
    second_field: str = "sentence2"
    score_field: str = "score"
    highest_score: float = Field(default=5.0, gt=0)
    held_out: Literal["validation", "test"] = "validation"
    target_spearman: float | None = Field(default=None, gt=0, lt=1)


class Cosent(Workload):
    """Rank pairs of sentences by the cosine of their vectors.

    With ``cosent`` every two pairs of a micro-batch are compared, so the micro-batch is part of the problem. The loss
    is no mean over examples: it grows with the logarithm of the micro-batch's square, and micro-batches of two sizes
    have two losses. A noise scale means little here, as it is had from gradients at two sizes as if one loss were
    behind both; with ``sbert`` it means what it does elsewhere.
    """

    name = "cosent"
    summary = "sentence vectors on STS-B: CoSENT's ranking loss, or SBERT's cross-entropy; rank correlation"
    data_set, source, parameters = "sts-b", "Su 2022", 1_024_128
    Settings = CosentSettings
    metrics = ("spearman", "embedding_spread")
    example_unit = "pairs"

    def __init__(self, settings: CosentSettings) -> None:
        """Keep the settings; pairs are read on first use."""
        self.settings = settings
        self.target = Target(metric="spearman", mode="max", value=settings.target_spearman)

    @property
    def examples_are_independent(self) -> bool:  # type: ignore[override]
        """Whether the objective takes each pair by itself."""
        return self.settings.objective == "sbert"

    @cached_property
    def data(self) -> PairData:
        """Training and held-out pairs."""
        s = self.settings
        return load_pairs(
            dataset=s.dataset,
            fields=PairFields(first=s.first_field, second=s.second_field, score=s.score_field),
            highest_score=s.highest_score,
            held_out=s.held_out,
            tokens=s.tokens,
            length=s.sequence_length,
            together=False,
        )

    def prepare(self) -> None:
        """Read the pairs and, of a published model, the weights."""
        self.build_model(seed=0)

    def build_model(self, *, seed: int) -> nn.Module:
        """Return the encoder, freshly initialised or published, and SBERT's layer where there is one.

        Raises:
            SettingsError: the hub has no encoder of the name, or it takes shorter texts only.
        """
        s = self.settings
        with seeded(seed, 12):
            encoder = build_sentence_encoder(s, vocabulary_size=self.data.vocabulary_size)
            features = 1 if s.sbert_features == "difference" else 3
            return _Sentences(encoder, head_size=features if s.objective == "sbert" else 0, classes=s.sbert_classes)

    def train_batches(self, *, batch_size: int, seed: int) -> Iterator[Batch]:
        """Yield ``first``, ``second`` (B, length), ``first_lengths``, ``second_lengths``, ``scores``, ``targets`` (B,).

        ``targets`` are integers, so that no rounding of an engine changes them: with ``cosent`` the scores' ranks, of
        which equal scores share one, and with ``sbert`` their classes.
        """
        return rebatch(example_blocks(self._examples, seed=mix(seed, 13)), batch_size)

    @cached_property
    def _examples(self) -> dict[str, torch.Tensor]:
        tensors = self.data.train.tensors
        if self.settings.objective == "cosent":
            targets = tensors["scores"].unique(return_inverse=True)[1]
        else:
            targets = (tensors["scores"] * (self.settings.sbert_classes - 1)).round().long()
        return {**tensors, "targets": targets}

    def loss(self, model: Any, batch: Any) -> torch.Tensor:
        """Return the objective, in nats."""
        u = model.encoder(batch["first"], batch["first_lengths"])
        v = model.encoder(batch["second"], batch["second_lengths"])
        if self.settings.objective == "cosent":
            cosines = functional.cosine_similarity(u.float(), v.float())
            return cosent_loss(cosines, batch["targets"], scale=self.settings.scale)
        difference = (u - v).abs()
        features = difference if self.settings.sbert_features == "difference" else torch.cat([u, v, difference], dim=1)
        return functional.cross_entropy(model.head(features).float(), batch["targets"])

    def evaluate(self, model: Any) -> dict[str, float]:
        """Return the rank correlation of cosines and scores, and how far the sentences' directions are apart."""
        tensors, device = self.data.held_out.tensors, next(model.parameters()).device
        u, v = (
            torch.cat(
                [
                    model.encoder(ids.to(device), lengths.to(device)).float().cpu()
                    for ids, lengths in zip(
                        tensors[name].split(_EVALUATION_BLOCK),
                        tensors[f"{name}_lengths"].split(_EVALUATION_BLOCK),
                        strict=True,
                    )
                ]
            )
            for name in ("first", "second")
        )
        return {
            "spearman": spearman(functional.cosine_similarity(u, v).numpy(), tensors["scores"].numpy()),
            "embedding_spread": spread(torch.cat([u, v])),
        }

    def baselines(self) -> dict[str, float]:
        """Return the rank correlation of the words' cosines, and of the encoder before training, a mean over three."""
        data = self.data
        lexical = lexical_similarities(data.train.pairs, data.held_out.pairs)
        found = {name: spearman(values, data.held_out.pairs.scores) for name, values in lexical.items()}
        untrained = [self._untrained(seed) for seed in range(_UNTRAINED_ENCODERS)]
        return {**found, "untrained encoder": sum(untrained) / len(untrained)}

    @torch.no_grad()
    def _untrained(self, seed: int) -> float:
        return self.evaluate(self.build_model(seed=seed).eval())["spearman"]


def cosent_loss(cosines: torch.Tensor, scores: torch.Tensor, *, scale: float) -> torch.Tensor:
    """Return log(1 + Σ exp(λ(cos_k − cos_i))) over all i, k with score_i > score_k; 0 where there are none.

    Args:
        cosines: shape (pairs,).
        scores: the same shape; their ranks serve as well.
        scale: λ.
    """
    differences = scale * (cosines[None, :] - cosines[:, None])
    ranked = scores[:, None] > scores[None, :]
    terms = differences.masked_fill(~ranked, -torch.inf).flatten()
    return torch.logsumexp(torch.cat([terms.new_zeros(1), terms]), dim=0)


class _Sentences(nn.Module):
    def __init__(self, encoder: Any, *, head_size: int, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(head_size * encoder.output_size, classes) if head_size else None
