"""A user's workload that loses its worker once it has a checkpoint, or runs out of memory, and learns the same."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from trainers.reading import Settings
from trainers.workload import Batch, Target, Workload


class FragileSettings(Settings):
    dies_beside: str = ""
    """The folder of the results: as soon as a new checkpoint lies there, the process is killed, once."""
    room: int = 1000
    """Examples that fit into memory."""


class Fragile(Workload):
    name = "fragile"
    summary = "a line through noisy points"
    Settings = FragileSettings
    metrics = ("loss",)

    def __init__(self, settings: FragileSettings) -> None:
        self.settings = settings
        self.target = Target(metric="loss", mode="min", value=None)
        self.loss_limit = 100.0

    def build_model(self, *, seed: int) -> nn.Module:
        torch.manual_seed(seed)
        self._before = self._checkpoints()
        return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 1))

    def train_batches(self, *, batch_size: int, seed: int) -> Iterator[Batch]:
        chance = torch.Generator().manual_seed(seed)
        while True:
            inputs = torch.randn(batch_size, 3, generator=chance)
            yield inputs, inputs.sum(1, keepdim=True) + torch.randn(batch_size, 1, generator=chance)

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        inputs, outputs = batch
        if len(inputs) > self.settings.room:
            raise torch.OutOfMemoryError(f"CUDA out of memory with {len(inputs)} examples")
        return ((model(inputs) - outputs) ** 2).mean()

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        model.eval()
        with torch.no_grad():
            inputs = torch.linspace(-1, 1, 48).reshape(16, 3)
            loss = float(((model(inputs) - inputs.sum(1, keepdim=True)) ** 2).mean())
        model.train()
        return {"loss": loss}

    def after_step(self, model: nn.Module, *, step: int) -> None:
        if self.settings.dies_beside and self._checkpoints() - self._before:
            died = Path(self.settings.dies_beside).with_name("died")
            if not died.exists():
                died.touch()
                os.kill(os.getpid(), signal.SIGKILL)

    def _checkpoints(self) -> set[Path]:
        folder = self.settings.dies_beside
        return set(Path(folder).glob("checkpoints/*/*/manifest.json")) if folder else set()
