"""Texts with classes as rows of token ids."""

from __future__ import annotations

import dataclasses

import torch


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenRows:
    """One split of a data set of texts with classes.

    Attributes:
        tokens: int64, shape (texts, length), padded at the end.
        lengths: int64, shape (texts,): ids that are not padding, at least 1.
        labels: int64, shape (texts,).
        texts: As they were.
    """

    tokens: torch.Tensor
    lengths: torch.Tensor
    labels: torch.Tensor
    texts: tuple[str, ...]

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """What a batch takes, by name."""
        return {"tokens": self.tokens, "lengths": self.lengths, "labels": self.labels}


def padded(rows: list[list[int]], *, length: int, padding: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return rows of at most ``length`` ids as one int64 tensor (rows, length), and how long they were (rows,)."""
    tensor = torch.full((len(rows), length), padding)
    for place, own in zip(tensor, rows, strict=True):
        place[: len(own)] = torch.tensor(own)
    return tensor, torch.tensor([len(own) for own in rows])
