"""A text's class from the states of its tokens."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .averaging import WeightAverage


class TextClassifier(nn.Module):
    """An encoder, the mean of its states over a text's tokens, and a linear layer.

    Attributes:
        body: the encoder.
        classifier: the linear layer.
        average: of the weights of both, if there is one.
    """

    def __init__(self, body: Any, *, classes: int, head_std: float, dropout: float, averaged: bool) -> None:
        """Add a head to ``body``, an encoder of transformers; draws from torch's global generator."""
        super().__init__()
        if isinstance(getattr(body, "pooler", None), nn.Module):
            body.pooler = None  # a layer behind the first token's state, which nothing here uses
        self.body = body
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(body.config.hidden_size, classes)
        nn.init.normal_(self.classifier.weight, std=head_std)
        nn.init.zeros_(self.classifier.bias)
        self.average = WeightAverage(self) if averaged else None

    def forward(self, tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return logits (B, classes) of ``tokens`` (B, length), of which ``lengths`` (B,) are not padding."""
        if tokens.device.type == "cpu":  # elsewhere, asking for the length would cost more than the padding
            tokens = tokens[:, : int(lengths.max())]
        mask = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
        states = self.body(input_ids=tokens, attention_mask=mask.long()).last_hidden_state
        kept = mask[..., None].to(states.dtype)
        return self.classifier(self.dropout((states * kept).sum(dim=1) / kept.sum(dim=1)))
