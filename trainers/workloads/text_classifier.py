"""A text's class from the states of its tokens."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .averaging import WeightAverage
from .sentence_encoders import masked_mean, real_tokens


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
        self.body = body
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(body.config.hidden_size, classes)
        nn.init.normal_(self.classifier.weight, std=head_std)
        nn.init.zeros_(self.classifier.bias)
        self.average = WeightAverage(self) if averaged else None

    def forward(self, tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return logits (B, classes) of ``tokens`` (B, length), of which ``lengths`` (B,) are not padding."""
        tokens, mask = real_tokens(tokens, lengths)
        states = self.body(input_ids=tokens, attention_mask=mask.long()).last_hidden_state
        return self.classifier(self.dropout(masked_mean(states, mask)))
