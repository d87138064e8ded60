"""The bare PyTorch loop that engines are compared with, short ways to name a run, and what to do without data."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import nn

from trainers.batching import BatchPlan
from trainers.errors import DataError
from trainers.optimizers import build_optimizer
from trainers.settings import TrainSettings
from trainers.workload import Batch, LossModule, Workload
from trainers.workloads import load_workload


class BareEngine:
    """Forward, backward, step on the whole batch at once: what DeepSpeed must agree with."""

    def __init__(self, workload: Workload, settings: TrainSettings) -> None:
        self.plan = BatchPlan(batch_size=settings.batch_size, world_size=1, micro_batch_size=settings.batch_size)
        self.model: nn.Module = workload.build_model(seed=settings.seed)
        self._loss = workload.loss
        module = LossModule(workload, self.model)
        self._optimizer = build_optimizer(
            settings.optimizer,
            settings.optimizer_settings,
            module,
            learning_rate=settings.learning_rate,
            batch_size=settings.batch_size,
            rate_factors=module.rate_factors(settings.learning_rate),
        )
        self._peaks = [group["lr"] for group in self._optimizer.param_groups]

    def step(self, batch: Batch, *, rate_factor: float) -> torch.Tensor:
        for group, peak in zip(self._optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * rate_factor
        loss = self._loss(self.model, batch)
        loss.backward()
        self._optimizer.step()
        self._optimizer.zero_grad()
        return loss.detach()


def run_settings(**changes: Any) -> TrainSettings:
    """A short run of plain SGD, with ``changes`` to the trial's sections."""
    values: dict[str, Any] = {
        "batch_size": 8,
        "learning_rate": 0.05,
        "seed": 0,
        "optimizer": "sgd",
        "optimizer_settings": {},
        "schedule": {"name": "constant"},
        "budget": {"steps": 10},
        "target": None,
        "evaluation": {"points": 5},
        "engine": {},
    }
    return TrainSettings.from_dict(values | changes)


@contextlib.contextmanager
def data_or_skip() -> Iterator[None]:
    """Skip the test where the block's data can't be downloaded: the machine has no client for them, or no network."""
    try:
        yield
    except DataError as error:
        if "can't be downloaded" not in str(error):
            raise
        pytest.skip(str(error))


def prepared(name: str, settings: Mapping[str, Any]) -> Workload:
    """Return the workload with its data, or skip the test where they can't be downloaded."""
    workload = load_workload(name, settings)
    with data_or_skip():
        workload.prepare()
    return workload
