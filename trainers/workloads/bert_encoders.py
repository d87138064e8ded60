"""BERT and RoFormer at sizes of our own: their settings, configuration, initial weights and place of the norms."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import nn

from ..reading import Settings, added

OUR_MODELS = ("roformer", "bert")
ONLY_OURS = "{name} is a choice for the models roformer and bert, but the model is {model}; leave it out"

_CUT = 2.0
"""Standard deviations at which the truncated normal distribution ends, as in BERT's own code."""
CUT_STD = math.sqrt(1.0 - 2.0 * _CUT * math.exp(-(_CUT**2) / 2.0) / math.sqrt(2.0 * math.pi) / math.erf(_CUT / 2**0.5))
"""The std that is left of a standard normal distribution cut at ±2: √(1 − 4φ(2)/(2Φ(2) − 1)) = 1/1.1368."""


class EncoderSettings(Settings):
    """The encoder of a workload on text.

    ``model`` is ``roformer`` (rotary positions) or ``bert`` (absolute ones) at the sizes given here; a subclass says
    what other names mean. ``initial_std`` is the std of the weights' initial distribution: ``normal``, or
    ``truncated_normal``, which ends at two stds of the normal one that it is cut from and has the std asked for after
    the cut. ``norm_placement`` is ``post``, behind each sum as published, or ``pre``, before attention and
    feed-forward layers (Xiong et al. 2020). ``attention`` is transformers' implementation.
    """

    own_defaults: ClassVar[dict[str, Any]]
    """What is left out of the settings of our models; other models bring their own."""

    model: str = "roformer"
    hidden_size: int | None = Field(default=None, gt=0)
    layers: int | None = Field(default=None, gt=0)
    heads: int | None = Field(default=None, gt=0)
    initial_std: float | None = Field(default=None, gt=0)
    initial_distribution: Literal["normal", "truncated_normal"] = added("normal")
    norm_placement: Literal["post", "pre"] = added("post")
    dropout: float = Field(default=0.0, ge=0, lt=1)
    attention: Literal["eager", "sdpa"] = "eager"

    @property
    def is_ours(self) -> bool:
        """Whether the sizes are given here."""
        return self.model in OUR_MODELS

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_our_sizes(cls, values: Any) -> Any:
        ours = isinstance(values, dict) and values.get("model", "roformer") in OUR_MODELS
        return {**cls.own_defaults, **values} if ours else values

    @model_validator(mode="after")
    def _sizes_fit(self) -> EncoderSettings:
        sizes = {"hidden_size": self.hidden_size, "layers": self.layers, "heads": self.heads}
        if not self.is_ours:
            given = ", ".join(name for name, size in sizes.items() if size is not None)
            if given:
                raise ValueError(f"{given} must be left out where the model {self.model} brings its own sizes")
            for name in ("initial_distribution", "norm_placement"):
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(ONLY_OURS.format(name=name, model=self.model))
            return self
        if self.hidden_size is None or self.layers is None or self.heads is None:
            raise ValueError(f"the model {self.model} needs hidden_size, layers and heads; leave out what is null")
        unit = self.heads * (2 if self.model == "roformer" else 1)  # rotary positions turn pairs
        if self.hidden_size % unit:
            below = self.hidden_size // unit * unit
            raise ValueError(
                f"hidden_size must be a multiple of {unit} with {self.heads} heads of the model {self.model}, but is "
                f"{self.hidden_size}; nearest: {f'{below} or ' if below else ''}{below + unit}"
            )
        if self.model == "roformer" and self.attention != "eager":
            raise ValueError(
                f"attention must be eager with the model roformer, but is {self.attention}; use it, or the model bert"
            )
        return self


def encoder_configuration(settings: EncoderSettings, *, vocabulary_size: int, sequence_length: int) -> Any:
    """Return transformers' configuration of one of our models, without a padding token.

    Args:
        settings: of one of ``OUR_MODELS``.
        vocabulary_size: ids are below it.
        sequence_length: the most tokens of a text.
    """
    from transformers import BertConfig, RoFormerConfig

    assert settings.hidden_size is not None  # as the settings have checked
    sizes: dict[str, Any] = {
        "vocab_size": vocabulary_size,
        "hidden_size": settings.hidden_size,
        "num_hidden_layers": settings.layers,
        "num_attention_heads": settings.heads,
        "intermediate_size": 4 * settings.hidden_size,
        "max_position_embeddings": sequence_length,
        "hidden_dropout_prob": settings.dropout,
        "attention_probs_dropout_prob": settings.dropout,
        "pad_token_id": None,
    }
    if settings.initial_std is not None:
        sizes["initializer_range"] = settings.initial_std
    if settings.model == "bert":
        return BertConfig(**sizes)
    return RoFormerConfig(**sizes, embedding_size=settings.hidden_size)


def apply_choices(model: nn.Module, settings: EncoderSettings, *, encoder: Any) -> None:
    """Give a fresh model what transformers' configuration can't say: the initial distribution, the norms' place.

    Draws from torch's global generator.

    Args:
        model: what has the initial distribution, built from ``encoder_configuration``: the encoder, or in
            pre-training the encoder and its head, which transformers draws alike. Other heads have their own.
        settings: that configuration's.
        encoder: the part of ``model`` with the layers.
    """
    if settings.initial_distribution == "truncated_normal":
        draw_truncated(model, std=encoder.config.initializer_range)
    if settings.norm_placement == "pre":
        place_norms_before(encoder)


@torch.no_grad()
def draw_truncated(model: nn.Module, *, std: float) -> None:
    """Draw the trained weights of linear layers and embeddings anew, from a truncated normal distribution.

    It ends at two stds of the normal distribution that it is cut from, whose std is larger by 1.1368 for that of the
    weights to be ``std``.
    """
    whole = std / CUT_STD
    drawn: set[int] = set()
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding) and module.weight.requires_grad:
            if id(module.weight) not in drawn:  # a decoder is the embedding once more
                nn.init.trunc_normal_(module.weight, std=whole, a=-_CUT * whole, b=_CUT * whole)
            drawn.add(id(module.weight))


def drop_pooler(encoder: Any) -> Any:
    """Return ``encoder`` without the layer behind the first token's state, if it has one: nothing here uses it."""
    if isinstance(getattr(encoder, "pooler", None), nn.Module):
        encoder.pooler = None
    return encoder


def place_norms_before(encoder: Any) -> None:
    """Turn the post-norm layers of a fresh BERT or RoFormer into pre-norm ones, in place.

    A layer is then x + A(N₁(x)), and x + F(N₂(x)) of that; a norm behind the last sum ends the stream. The norm behind
    the embeddings stays, as in transformers' RoBERTa-PreLayerNorm: one norm more than with post-norm layers.
    """
    layers = list(encoder.encoder.layer)
    for layer in layers:
        layer.attention.self = _Normed(layer.attention.output.LayerNorm, layer.attention.self)
        layer.attention.output.LayerNorm = nn.Identity()
        layer.intermediate = _Normed(layer.output.LayerNorm, layer.intermediate)
        layer.output.LayerNorm = nn.Identity()
    last = layers[-1].intermediate.norm
    layers[-1].output.LayerNorm = nn.LayerNorm(last.normalized_shape, eps=last.eps)


class _Normed(nn.Module):
    """A module behind a norm of its first input."""

    def __init__(self, norm: nn.Module, inner: nn.Module) -> None:
        super().__init__()
        self.norm = norm
        self.inner = inner

    def forward(self, states: torch.Tensor, *others: Any, **named: Any) -> Any:
        return self.inner(self.norm(states), *others, **named)
