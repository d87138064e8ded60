"""Masked-language-model pre-training of BERT-like encoders (Devlin et al. 2019; RoFormer: Su et al. 2021)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, ClassVar

import torch
from pydantic import Field, model_validator
from torch import nn
from torch.nn import functional

from ..batching import chunks, example_order, rebatch
from ..data.tokens import TokenWindows, token_windows
from ..reading import added
from ..seeding import mix, seeded
from ..workload import Batch, Target, Workload
from .bert_encoders import ONLY_OURS, EncoderSettings, apply_choices, encoder_configuration
from .hub_models import hub_configuration

_BLOCK = 512
_EVALUATION_BLOCK = 256


class BertMlmSettings(EncoderSettings):
    """Model, text and masking.

    ``model`` may also be a hub name, whose configuration, sizes included, is loaded and freshly initialised. Its
    ``initial_std`` of ``None`` keeps the architecture's own (0.02), which at small width stays on the unigram plateau
    for long; 1/√hidden_size, as by default here, does not. ``head_transform=False`` leaves the dense layer and the norm
    out that stand before the product with the embeddings. ``dataset`` is ``rotten-tomatoes`` or a hub data set;
    ``tokens`` is ``characters``, ``wordpiece`` or a hub tokeniser's name.
    """

    own_defaults: ClassVar = {"hidden_size": 64, "layers": 2, "heads": 2, "initial_std": 0.125}

    head_transform: bool = added(True)
    dataset: str = "rotten-tomatoes"
    text_field: str = "text"
    tokens: str = "characters"
    sequence_length: int = Field(default=32, gt=1)
    mask_fraction: float = Field(default=0.15, gt=0, lt=1)
    validation_examples: int = Field(default=512, gt=0)
    target_loss: float = Field(default=2.3, gt=0)

    @model_validator(mode="after")
    def _head_is_ours(self) -> BertMlmSettings:
        if not (self.is_ours or self.head_transform):
            raise ValueError(ONLY_OURS.format(name="head_transform", model=self.model))
        return self


class BertMaskedLM(Workload):
    """Predict the hidden tokens of fixed-length windows of text.

    Each window hides the same number of tokens, so that an example's loss is the mean over its hidden tokens
    and the batch's loss the mean over its examples, however the batch is split.
    """

    name = "bert-mlm"
    summary = "masked-LM pre-training of BERT or RoFormer on review texts"
    data_set, source, parameters = "rotten-tomatoes", "Devlin et al. 2019", 106_657
    Settings = BertMlmSettings
    metrics = ("validation_loss", "masked_accuracy")
    example_unit = "sequences"

    def __init__(self, settings: BertMlmSettings) -> None:
        """Keep the settings; texts are read on first use."""
        self.settings = settings
        self.target = Target(metric="validation_loss", mode="min", value=settings.target_loss)
        self.masked_tokens = max(1, round(settings.mask_fraction * settings.sequence_length))

    @property
    def loss_limit(self) -> float:  # type: ignore[override]
        """Three times the loss of a uniform guess: no run comes back from there within a budget."""
        return 3.0 * float(torch.tensor(self.windows.vocabulary_size).log())

    @cached_property
    def windows(self) -> TokenWindows:
        """The tokenised text, cut into windows: training and validation."""
        s = self.settings
        return token_windows(dataset=s.dataset, text_field=s.text_field, tokens=s.tokens, length=s.sequence_length)

    def prepare(self) -> None:
        """Read the texts and, of a hub model, the configuration."""
        _ = self.windows
        if not self.settings.is_ours:
            self._configuration()

    def build_model(self, *, seed: int) -> nn.Module:
        """Return a freshly initialised transformers model with a masked-LM head.

        Raises:
            SettingsError: the hub has no masked language model of the name, or it takes shorter windows only.
        """
        from transformers import AutoModelForMaskedLM

        s = self.settings
        with seeded(seed, 3):
            model = AutoModelForMaskedLM.from_config(self._configuration(), attn_implementation=s.attention)
            if s.is_ours:
                if not s.head_transform:
                    model.cls.predictions.transform = nn.Identity()
                apply_choices(model, s, encoder=model.base_model)
            return model

    def _configuration(self) -> object:
        s = self.settings
        sizes = {"vocabulary_size": self.windows.vocabulary_size, "sequence_length": s.sequence_length}
        if s.is_ours:
            return encoder_configuration(s, **sizes)
        std = {} if s.initial_std is None else {"initializer_range": s.initial_std}
        return hub_configuration(s.model, dropout=s.dropout, **sizes, **std)

    def train_batches(self, *, batch_size: int, seed: int) -> Iterator[Batch]:
        """Yield ``tokens`` (B, length) with hidden places, ``places`` and ``answers`` (B, masked tokens)."""
        return rebatch(self._blocks(seed), batch_size)

    def _blocks(self, seed: int) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(mix(seed, 4))
        windows = self.windows.train
        for rows in chunks(example_order(len(windows), seed=mix(seed, 5)), min(_BLOCK, len(windows))):
            yield self._hide(windows[torch.from_numpy(rows)], generator)

    def _hide(self, windows: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Hide as many places in each window: 80 % by the mask token, 10 % by a random one, 10 % left (BERT)."""
        count = len(windows)
        places = torch.rand(windows.shape, generator=generator).topk(self.masked_tokens, dim=1).indices
        answers = windows.gather(1, places)
        draw = torch.rand(places.shape, generator=generator)
        noise = torch.randint(
            self.windows.first_ordinary, self.windows.vocabulary_size, (count, self.masked_tokens), generator=generator
        )
        shown = torch.where(draw < 0.8, self.windows.mask_id, torch.where(draw < 0.9, noise, answers))
        return {"tokens": windows.scatter(1, places, shown), "places": places, "answers": answers}

    def loss(self, model: Any, batch: Any) -> torch.Tensor:
        """Return the mean cross-entropy over the hidden tokens, in nats."""
        logits = self._logits(model, batch)
        return functional.cross_entropy(logits.flatten(0, 1).float(), batch["answers"].flatten())

    def _logits(self, model: Any, batch: Any) -> torch.Tensor:
        tokens, places = batch["tokens"], batch["places"].unsqueeze(-1)
        if self.settings.is_ours:
            # The head runs on the hidden places alone: the others carry no loss, and it is the widest product.
            states = model.base_model(input_ids=tokens).last_hidden_state
            return model.cls(states.gather(1, places.expand(-1, -1, states.shape[-1])))
        # Other architectures have other heads. Places are said, because some count them from the padding, of which
        # there is none here.
        positions = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
        logits = model(input_ids=tokens, position_ids=positions).logits
        return logits.gather(1, places.expand(-1, -1, logits.shape[-1]))

    @cached_property
    def _validation(self) -> dict[str, torch.Tensor]:
        windows = self.windows.validation[: self.settings.validation_examples]
        return self._hide(windows, torch.Generator().manual_seed(0))

    def evaluate(self, model: Any) -> dict[str, float]:
        """Return loss (nats) and accuracy over the hidden tokens of the fixed validation windows."""
        device = next(model.parameters()).device
        loss = correct = 0.0
        data = self._validation
        for first in range(0, len(data["tokens"]), _EVALUATION_BLOCK):
            block = {key: value[first : first + _EVALUATION_BLOCK].to(device) for key, value in data.items()}
            logits = self._logits(model, block).flatten(0, 1).float()
            answers = block["answers"].flatten()
            loss += float(functional.cross_entropy(logits, answers, reduction="sum"))
            correct += float((logits.argmax(dim=-1) == answers).sum())
        return {"validation_loss": loss / data["answers"].numel(), "masked_accuracy": correct / data["answers"].numel()}

    def baselines(self) -> dict[str, float]:
        """Return the validation loss of the uniform guess and of the training text's token frequencies."""
        size = self.windows.vocabulary_size
        counts = torch.bincount(self.windows.train.flatten(), minlength=size).double() + 1.0
        log_frequency = (counts / counts.sum()).log()
        unigram = -log_frequency[self._validation["answers"].flatten()].mean()
        return {"uniform guess": float(torch.tensor(float(size)).log()), "token frequencies": float(unigram)}
