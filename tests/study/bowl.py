"""A user's workload, as a user would write one: a bowl without noise, whose trials are known by hand.

θ starts at 1 and the loss is θ²/2, so plain SGD gives a loss of (1 − η)^(2n)/2 after n steps, and diverges for η > 2.
"""

from collections.abc import Iterator

import torch
from pydantic import Field
from torch import nn

from trainers.reading import Settings
from trainers.workload import Batch, Target, Workload


class BowlSettings(Settings):
    explode_at: int | None = Field(default=None)
    """The batch size whose data raise."""
    announce_seed: int | None = None
    """A trial of this seed writes a line to the pipe, and so waits for a reader."""
    pipe: str = ""


class Point(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.ones(1))


class Bowl(Workload):
    name = "bowl"
    summary = "a bowl without noise"
    Settings = BowlSettings
    metrics = ("loss",)

    def __init__(self, settings: BowlSettings) -> None:
        self.settings = settings
        self.target = Target(metric="loss", mode="min", value=0.005)
        self.loss_limit = 100.0

    def build_model(self, *, seed: int) -> nn.Module:
        return Point()

    def train_batches(self, *, batch_size: int, seed: int) -> Iterator[Batch]:
        if batch_size == self.settings.explode_at:
            raise RuntimeError("no such data\nsecond line")
        if seed == self.settings.announce_seed:
            with open(self.settings.pipe, "w") as pipe:
                pipe.write("begun\n")
        while True:
            yield torch.zeros(batch_size, 1)

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        return 0.5 * (model.theta**2).sum() + 0.0 * batch.sum()

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        return {"loss": float(0.5 * (model.theta**2).sum())}
