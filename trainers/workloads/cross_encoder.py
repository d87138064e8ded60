"""Similarity by interaction: both sentences in one encoder (Devlin et al. 2019, STS-B), as a number and as a class."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import nn
from torch.nn import functional

from ..batching import example_blocks, rebatch
from ..data.sentence_pairs import PairData, PairFields, PairRows, load_pairs
from ..seeding import mix, seeded
from ..workload import Batch, Target, Workload
from .fine_tuning import HEAD_STD, FineTuningSettings, fine_tuning_configuration, fine_tuning_encoder
from .pair_scores import lexical_similarities, spearman
from .sentence_encoders import masked_mean, real_tokens
from .thresholds import classify, judge_classes

_EVALUATION_BLOCK = 128
_TYPES = 4

Cuts = Annotated[tuple[float, ...], Field(strict=False, min_length=1)]  # JSON has lists only


class CrossEncoderSettings(FineTuningSettings):
    """Encoder, pairs and objective.

    ``model`` is as in ``FineTuningSettings``. ``objective`` is ``regression``, the squared error on scores scaled to
    [0, 1], or ``binary``, the cross-entropy on scores above a single one of ``class_cuts``. The classes that accuracy
    and F1 are about lie between ``class_cuts``, in units of the scores. ``shared_words`` tells our models which tokens
    are in both sentences (Chen et al. 2017), which attention finds only from many more pairs. ``tokens`` is ``words``,
    ``grams``, ``minilm`` or a hub tokeniser; published models have their own. ``dataset`` is ``sts-b`` or a hub data
    set with scores from 0 to ``highest_score``.
    """

    own_defaults: ClassVar = {"hidden_size": 64, "layers": 1, "heads": 2, "initial_std": 0.05}

    objective: Literal["regression", "binary"] = "regression"
    class_cuts: Cuts = (3.0,)
    shared_words: bool = True
    tokens: str = "words"
    sequence_length: int = Field(default=64, gt=4)
    dataset: str = "sts-b"
    first_field: str = "sentence1"
    second_field: str = "sentence2"
    score_field: str = "score"
    highest_score: float = Field(default=5.0, gt=0)
    held_out: Literal["validation", "test"] = "validation"
    target_spearman: float | None = Field(default=None, gt=0, lt=1)

    @model_validator(mode="after")
    def _cuts_fit(self) -> CrossEncoderSettings:
        cuts = (0.0, *self.class_cuts, self.highest_score)
        if any(low >= high for low, high in itertools.pairwise(cuts)):
            raise ValueError(
                f"class_cuts must increase, above 0 and below highest_score {self.highest_score:g}, but are "
                f"{', '.join(f'{cut:g}' for cut in self.class_cuts)}"
            )
        if self.objective == "binary" and len(self.class_cuts) != 1:
            raise ValueError(
                f"class_cuts must be one with the objective binary, but are {len(self.class_cuts)}; use regression"
            )
        return self


class CrossEncoder(Workload):
    """Say how similar two sentences are: the mean of an encoder's states over both, and a linear layer.

    Accuracy and F1 come from thresholds on that number which are found on one half of the held-out pairs and judged on
    the other: exactly for two classes, by a smooth search for several (F1 is then the mean over classes). Their own
    baselines, ``class_baselines``, stand apart from those of the target, and no run reports them.
    """

    name = "cross-encoder"
    summary = "similarity of two sentences in one encoder on STS-B: rank correlation, and classes by threshold"
    data_set, source, parameters = "sts-b", "Devlin et al. 2019", 598_785
    Settings = CrossEncoderSettings
    metrics = ("spearman", "accuracy", "f1", "validation_loss", "prediction_std")
    example_unit = "pairs"

    def __init__(self, settings: CrossEncoderSettings) -> None:
        """Keep the settings; pairs are read on first use."""
        self.settings = settings
        self.target = Target(metric="spearman", mode="max", value=settings.target_spearman)
        self.loss_limit = 100.0  # nats, or squared scores scaled to [0, 1]: no run comes back from there

    @cached_property
    def data(self) -> PairData:
        """Training and held-out pairs, both sentences in one row."""
        s = self.settings
        return load_pairs(
            dataset=s.dataset,
            fields=PairFields(first=s.first_field, second=s.second_field, score=s.score_field),
            highest_score=s.highest_score,
            held_out=s.held_out,
            tokens=s.tokens,
            length=s.sequence_length,
            together=True,
            shared_words=s.is_ours and s.shared_words,
        )

    def prepare(self) -> None:
        """Read the pairs and, of a published model, the configuration.

        Raises:
            SettingsError: see ``fine_tuning_configuration``.
        """
        _ = self._configuration

    def build_model(self, *, seed: int) -> nn.Module:
        """Return encoder and head; the head, and what has no published weights, freshly initialised.

        Raises:
            SettingsError: see ``fine_tuning_configuration`` and ``fine_tuning_encoder``.
        """
        with seeded(seed, 14):
            body = fine_tuning_encoder(self.settings, self._configuration)
            return _Pairs(body, head_std=self.settings.initial_std or HEAD_STD)

    @cached_property
    def _configuration(self) -> Any:
        s = self.settings
        configuration = fine_tuning_configuration(
            s, vocabulary_size=self.data.vocabulary_size, sequence_length=s.sequence_length, tokens=s.tokens
        )
        if s.is_ours:
            configuration.type_vocab_size = _TYPES
        return configuration

    def train_batches(self, *, batch_size: int, seed: int) -> Iterator[Batch]:
        """Yield ``tokens``, ``types`` (B, length), ``lengths``, ``scores`` and, as integers, ``classes`` (B,)."""
        return rebatch(example_blocks(self._examples, seed=mix(seed, 15)), batch_size)

    @cached_property
    def _examples(self) -> dict[str, torch.Tensor]:
        return {**self.data.train.tensors, "classes": torch.from_numpy(self._classes_of(self.data.train))}

    def loss(self, model: Any, batch: Any) -> torch.Tensor:
        """Return the mean squared error, or the mean cross-entropy in nats."""
        return self._loss(model(batch["tokens"], batch["types"], batch["lengths"]).float(), batch)

    def _loss(self, predicted: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        if self.settings.objective == "regression":
            return functional.mse_loss(predicted, batch["scores"].float())
        # Not from the scores, which engines round: 0.6 lies above 0.6 in bfloat16.
        return functional.binary_cross_entropy_with_logits(predicted, batch["classes"].float())

    def evaluate(self, model: Any) -> dict[str, float]:
        """Return how the predictions rank and classify the held-out pairs, their loss and their std: 0 is collapse."""
        tensors, device = self.data.held_out.tensors, next(model.parameters()).device
        split = {name: tensor.split(_EVALUATION_BLOCK) for name, tensor in tensors.items()}
        predicted = torch.cat(
            [
                model(tokens.to(device), types.to(device), lengths.to(device)).float().cpu()
                for tokens, types, lengths in zip(split["tokens"], split["types"], split["lengths"], strict=True)
            ]
        )
        values = predicted.double().numpy()
        return {
            "spearman": spearman(values, tensors["scores"].numpy()),
            **self._as_classes(values),
            "validation_loss": float(
                self._loss(predicted, {"scores": tensors["scores"], "classes": torch.from_numpy(self._classes)})
            ),
            "prediction_std": float(values.std()),
        }

    def _as_classes(self, values: np.ndarray) -> dict[str, float]:
        return judge_classes(values, self._classes, self._known_half, count=len(self.settings.class_cuts) + 1)

    @cached_property
    def _known_half(self) -> np.ndarray:
        return self.data.held_out.halves().numpy()

    @cached_property
    def _classes(self) -> np.ndarray:
        return self._classes_of(self.data.held_out)

    def _classes_of(self, rows: PairRows) -> np.ndarray:
        # In the scores' own type, or a score would lie beside a cut of the same name.
        return classify(rows.pairs.scores, np.array(self.settings.class_cuts, dtype=rows.pairs.scores.dtype))

    def baselines(self) -> dict[str, float]:
        """Return the rank correlation of the cosines of the sentences' words."""
        data = self.data
        lexical = lexical_similarities(data.train.pairs, data.held_out.pairs)
        return {name: spearman(values, data.held_out.pairs.scores) for name, values in lexical.items()}

    def class_baselines(self) -> dict[str, float]:
        """Return the accuracy of the commonest class of the known half, and of thresholds on the words' cosines."""
        data = self.data
        lexical = lexical_similarities(data.train.pairs, data.held_out.pairs)
        commonest = int(np.bincount(self._classes[self._known_half]).argmax())
        return {
            "majority": float((self._classes[~self._known_half] == commonest).mean()),
            **{name: self._as_classes(values)["accuracy"] for name, values in lexical.items()},
        }


class _Pairs(nn.Module):
    """An encoder, the mean of its states over both texts' tokens, and a linear layer with one output."""

    def __init__(self, body: Any, *, head_std: float) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Linear(body.config.hidden_size, 1)
        self._types = int(getattr(body.config, "type_vocab_size", 0) or 0)
        nn.init.normal_(self.head.weight, std=head_std)
        nn.init.zeros_(self.head.bias)

    def forward(self, tokens: torch.Tensor, types: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        tokens, mask = real_tokens(tokens, lengths)
        known = {"token_type_ids": types[:, : tokens.shape[1]].clamp(max=self._types - 1)} if self._types else {}
        states = self.body(input_ids=tokens, attention_mask=mask.long(), **known).last_hidden_state
        return self.head(masked_mean(states, mask)).squeeze(1)
