"""Encoders that end in one vector a sentence."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field, model_validator
from torch import nn

from ..reading import Settings
from .pretrained import check_vocabulary, pretrained_configuration, pretrained_encoder

OUR_ENCODERS = {"bag": "grams", "gru": "words"}
"""Those of our sizes, with the tokens that suit them; any other name is a published model with its own."""


class SentenceSettings(Settings):
    """The encoder of a workload on sentences.

    ``model`` is ``bag`` or ``gru`` with vectors of ``width``, or a published one. ``tokens`` is ``grams``, ``words``,
    ``minilm`` or a hub tokeniser; left out, what suits the model.
    """

    model: str = "bag"
    width: int | None = Field(default=None, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    tokens: str = ""
    sequence_length: int = Field(default=256, gt=2)

    @model_validator(mode="before")
    @classmethod
    def _what_suits_the_model(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        model = values.get("model", cls.model_fields["model"].default)
        own = {"tokens": OUR_ENCODERS[model], "width": 128} if model in OUR_ENCODERS else {"tokens": model}
        return {**own, **{key: value for key, value in values.items() if value is not None and value != ""}}

    @model_validator(mode="after")
    def _published_width(self) -> SentenceSettings:
        if self.model not in OUR_ENCODERS and self.width is not None:
            raise ValueError(f"width must be left out where the model {self.model} brings its own")
        return self


def build_sentence_encoder(settings: SentenceSettings, *, vocabulary_size: int) -> nn.Module:
    """Return an encoder from ``tokens`` (B, length), ``lengths`` (B,) to vectors (B, ``output_size``).

    Args:
        settings: its ``model`` is ``bag`` (the mean of embeddings), ``gru`` (the mean of a GRU's states), or ``minilm``
            or a model of the hub: the mean of its states, from its published weights. ``dropout`` is of our models'
            embeddings, or everywhere in a published model's body.
        vocabulary_size: ids are below it.

    Raises:
        DataError: minilm can't be had.
        SettingsError: the hub has no encoder of the name, or it takes shorter texts or fewer tokens only.
    """
    s = settings
    if s.model not in OUR_ENCODERS:
        configuration = pretrained_configuration(
            s.model, sequence_length=s.sequence_length, dropout=s.dropout, own=tuple(OUR_ENCODERS)
        )
        check_vocabulary(configuration, s.model, vocabulary_size=vocabulary_size, tokens=s.tokens)
        return _Published(pretrained_encoder(s.model, configuration, attention="eager"))
    assert s.width is not None  # as the settings have checked
    return (_Bag if s.model == "bag" else _Gru)(vocabulary_size, s.width, s.dropout)


def real_tokens(tokens: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``tokens`` without columns that are padding in all rows, and where they are text, as a mask."""
    if tokens.device.type == "cpu":  # elsewhere, asking for the length would cost more than the padding
        tokens = tokens[:, : int(lengths.max())]
    return tokens, torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]


def masked_mean(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean of ``states`` (B, length, d) where ``mask`` (B, length) is true: somewhere in each row."""
    kept = mask[..., None].to(_summed(states))
    return ((states * kept).sum(dim=1) / kept.sum(dim=1)).to(states.dtype)


def _summed(states: torch.Tensor) -> torch.dtype:
    """Return the type to sum ``states`` in: bfloat16 does not even count beyond 256."""
    return torch.promote_types(states.dtype, torch.float32)


class _Bag(nn.Module):
    def __init__(self, vocabulary_size: int, width: int, dropout: float) -> None:
        super().__init__()
        self.embedding = _embedding(vocabulary_size, width)
        self.dropout = nn.Dropout(dropout)
        self.output_size = width

    def forward(self, tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        tokens, mask = real_tokens(tokens, lengths)
        if tokens.device.type != "cpu":  # there, picking tokens would wait for the device, and their sum have no order
            return masked_mean(self.dropout(self.embedding(tokens)), mask)
        # Padding, which is most of a batch of rows with a few long ones, is not looked up.
        states = self.dropout(self.embedding(tokens[mask]))
        total = torch.zeros(len(tokens), self.output_size, dtype=_summed(states))
        total = total.index_add(0, mask.nonzero()[:, 0], states.to(total.dtype))
        return (total / lengths[:, None]).to(states.dtype)


class _Gru(nn.Module):
    def __init__(self, vocabulary_size: int, width: int, dropout: float) -> None:
        super().__init__()
        self.embedding = _embedding(vocabulary_size, width)
        self.dropout = nn.Dropout(dropout)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.output_size = width

    def forward(self, tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        tokens, mask = real_tokens(tokens, lengths)
        states, _ = self.gru(self.dropout(self.embedding(tokens)))
        return masked_mean(states, mask)  # the last state alone forgets what a short text began with


def _embedding(size: int, width: int) -> nn.Embedding:
    embedding = nn.Embedding(size, width)
    nn.init.normal_(embedding.weight, std=width**-0.5)
    return embedding


class _Published(nn.Module):
    def __init__(self, body: Any) -> None:
        super().__init__()
        self.body = body
        self.output_size = int(body.config.hidden_size)

    def forward(self, tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        tokens, mask = real_tokens(tokens, lengths)
        return masked_mean(self.body(input_ids=tokens, attention_mask=mask.long()).last_hidden_state, mask)
