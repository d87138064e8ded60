"""Half-pointer half-tagging: one pass finds subjects, a second one, told a subject, its objects by predicate.

Su 2020, with the idea of CasRel (Wei et al. 2020) and subjects told through conditional layer normalisation.

Each position has the probability to start and that to end a span: as many spans as there are, overlapping ones
included. Most positions are neither, so probabilities are powers of sigmoids, which begin low.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

SUBJECT_POWER, OBJECT_POWER = 2, 4
_LEAST = 1e-30


class ConditionalLayerNorm(nn.Module):
    """LayerNorm whose gain and bias have a part that is linear in a condition, zero at first (Su 2020)."""

    def __init__(self, size: int, condition_size: int) -> None:
        """Build for states of ``size`` numbers and conditions of ``condition_size``."""
        super().__init__()
        self.norm = nn.LayerNorm(size)
        self.gain = nn.Linear(condition_size, size, bias=False)
        self.bias = nn.Linear(condition_size, size, bias=False)
        nn.init.zeros_(self.gain.weight)
        nn.init.zeros_(self.bias.weight)

    def forward(self, states: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Return states (texts, length, size), normalised as each text's condition (texts, condition_size) says."""
        normal = functional.layer_norm(states, self.norm.normalized_shape, eps=self.norm.eps)
        # The norm runs itself: where weights are sharded, a layer's are whole only while it runs.
        return self.norm(states) + normal * self.gain(condition).unsqueeze(1) + self.bias(condition).unsqueeze(1)


class PointerTagger(nn.Module):
    """An encoder with the two pairs of taggers; logits, to which the powers are still to be applied."""

    def __init__(self, encoder: Any, *, predicates: int) -> None:
        """Put taggers on ``encoder``, a transformers model without a pooler."""
        super().__init__()
        size = encoder.config.hidden_size
        self.encoder = encoder
        subjects = nn.Linear(size, 2)
        self.condition = ConditionalLayerNorm(size, 2 * size)
        # Under the name that optimisers know heads by.
        self.head = nn.ModuleDict({"subjects": subjects, "objects": nn.Linear(size, 2 * predicates)})

    def encode(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the states (texts, length, size) of ``tokens``, both (texts, length); ``mask`` is true at text."""
        return self.encoder(input_ids=tokens, attention_mask=mask.long()).last_hidden_state

    def subject_logits(self, states: torch.Tensor) -> torch.Tensor:
        """Return logits of start and end, (texts, length, 2)."""
        return self.head["subjects"](states)

    def object_logits(self, states: torch.Tensor, spans: torch.Tensor) -> torch.Tensor:
        """Return logits (texts, length, predicates, 2) given each text's subject, first and last token (texts, 2)."""
        places = spans.unsqueeze(-1).expand(-1, -1, states.shape[-1])
        told = self.condition(states, states.gather(1, places).flatten(1))
        return self.head["objects"](told).unflatten(-1, (-1, 2))


def power_cross_entropy(logits: torch.Tensor, labels: torch.Tensor, *, power: int) -> torch.Tensor:
    """Return the binary cross-entropy of the probability σ(logit)^power, elementwise, in nats.

    Both logarithms are taken of what is small: ln σ^n = −n softplus(−x) = −u, and ln(1 − σ^n) = ln(−expm1(−u)).
    """
    unlikely = power * functional.softplus(-logits)
    rest = (-torch.expm1(-unlikely)).clamp_min(_LEAST).log()
    return torch.where(labels, unlikely, -rest)


def tagging_loss(model: PointerTagger, batch: Any) -> torch.Tensor:
    """Return the cross-entropy of the subjects plus that of one subject's objects, a scalar in nats.

    Each is the mean over texts of the mean over a text's tokens; starts and ends are averaged, predicates summed.

    Args:
        model: The tagger.
        batch: ``tokens`` (texts, length) and ``mask``, true at text; ``subjects`` (texts, length, 2), true where one
            starts and ends; ``subject`` (texts, 2), first and last token of the one whose objects ``objects``
            (texts, length, predicates, 2) marks.
    """
    longest = batch["mask"].shape[1]
    if batch["mask"].device.type == "cpu":  # elsewhere, asking for the length would cost more than the padding
        longest = int(batch["mask"].sum(dim=1).max())
    tokens, mask = batch["tokens"][:, :longest], batch["mask"][:, :longest]
    states = model.encode(tokens, mask)
    weights = mask / mask.sum(dim=1, keepdim=True)
    subjects = power_cross_entropy(
        model.subject_logits(states).float(), batch["subjects"][:, :longest], power=SUBJECT_POWER
    )
    objects = power_cross_entropy(
        model.object_logits(states, batch["subject"]).float(), batch["objects"][:, :longest], power=OBJECT_POWER
    )
    of_tokens = subjects.mean(dim=-1) + objects.mean(dim=-1).sum(dim=-1)
    return (of_tokens * weights).sum(dim=1).mean()


def spans_above(starts: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
    """Return rows of indices (…, first, last): each start with the nearest end that is not before it.

    Args:
        starts: Boolean, (…, length).
        ends: The same shape.
    """
    length = ends.shape[-1]
    places = torch.arange(length, device=ends.device)
    # From the right: the lowest place of an end that has been seen.
    nearest = torch.where(ends, places, length).flip(-1).cummin(dim=-1).values.flip(-1)
    chosen = starts & (nearest < length)
    return torch.cat([chosen.nonzero(), nearest[chosen].unsqueeze(-1)], dim=-1)


def probabilities(logits: torch.Tensor, *, power: int) -> torch.Tensor:
    """Return σ(logit)^power."""
    return torch.sigmoid(logits.float()) ** power
