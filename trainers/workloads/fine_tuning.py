"""Encoders that are trained further for a task: with weights of our own making, or with published ones."""

from __future__ import annotations

import copy
from typing import Any

from pydantic import model_validator
from torch import nn

from .bert_encoders import OUR_MODELS, EncoderSettings, apply_choices, drop_pooler, encoder_configuration
from .pretrained import check_vocabulary, pretrained_configuration, pretrained_encoder

HEAD_STD = 0.02
"""Of a head on published weights, as BERT's own fine-tuning has it."""


class FineTuningSettings(EncoderSettings):
    """The encoder of a task on text.

    ``model`` may also be ``minilm`` (all-MiniLM-L6-v2, a download of 83 MB) or a hub name: then training starts from
    the published weights, with the tokens that they know. ``initial_std`` and ``initial_distribution`` are the
    encoder's; a head has its own.
    """

    @model_validator(mode="before")
    @classmethod
    def _published_tokens(cls, values: Any) -> Any:
        published = isinstance(values, dict) and values.get("model", OUR_MODELS[0]) not in OUR_MODELS
        return {"tokens": values["model"], **values} if published and "tokens" in cls.model_fields else values

    @model_validator(mode="after")
    def _std_of_fresh_weights(self) -> FineTuningSettings:
        if not self.is_ours and self.initial_std is not None:
            raise ValueError(f"initial_std must be left out where training starts from the weights of {self.model}")
        return self


def fine_tuning_configuration(
    settings: FineTuningSettings, *, vocabulary_size: int, sequence_length: int, tokens: str
) -> Any:
    """Return transformers' configuration of an encoder, of our sizes or published.

    Args:
        settings: those of the encoder.
        vocabulary_size: ids are below it.
        sequence_length: the most tokens of a text.
        tokens: what they are called.

    Raises:
        DataError: minilm can't be had.
        SettingsError: the hub has no encoder of the name, or it takes shorter texts or fewer tokens only.
    """
    s = settings
    if s.is_ours:
        return encoder_configuration(s, vocabulary_size=vocabulary_size, sequence_length=sequence_length)
    configuration = pretrained_configuration(s.model, sequence_length=sequence_length, dropout=s.dropout)
    check_vocabulary(configuration, s.model, vocabulary_size=vocabulary_size, tokens=tokens)
    return configuration


def fine_tuning_encoder(settings: FineTuningSettings, configuration: Any) -> Any:
    """Return an encoder that gives one state a token, freshly initialised or with its published weights.

    Draws from torch's global generator.

    Args:
        settings: those of the encoder.
        configuration: from ``fine_tuning_configuration``; it is left as it is.

    Raises:
        SettingsError: the hub has no weights of this architecture under the name.
    """
    if settings.is_ours:
        return untrained_encoder(settings, configuration)
    return pretrained_encoder(settings.model, copy.deepcopy(configuration), attention=settings.attention)


def untrained_encoder(settings: FineTuningSettings, configuration: Any) -> nn.Module:
    """Return the encoder with fresh weights, also where there are published ones; arguments as above."""
    from transformers import AutoModel

    own = copy.deepcopy(configuration)  # transformers writes into it
    encoder = drop_pooler(AutoModel.from_config(own, attn_implementation=settings.attention))
    if settings.is_ours:
        apply_choices(encoder, settings, encoder=encoder)
    return encoder
