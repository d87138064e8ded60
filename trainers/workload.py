"""A workload: a problem and its target, with nothing about optimisation in it."""

from __future__ import annotations

import abc
import math
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from .errors import SettingsError
from .reading import Settings

Batch = torch.Tensor | tuple[Any, ...] | dict[str, Any]
"""Tensors whose first dimension counts examples, alone or nested in tuples and dictionaries."""


class Target(Settings):
    """What a run tries to reach. ``value=None`` means no target: only the metric at the budget counts."""

    metric: str
    mode: Literal["min", "max"]
    value: float | None = None

    def met_by(self, value: float) -> bool:
        """Return whether ``value`` is at the target or beyond it."""
        if self.value is None:
            return False
        return value <= self.value if self.mode == "min" else value >= self.value


class Workload(abc.ABC):
    """A model, its data, its loss and the metric that says how far training has come.

    A subclass is final: it implements the abstract methods, ``prepare`` and ``baselines`` where it has data,
    ``peak_rate`` and ``after_step`` where training asks for them, and overrides nothing else. Its constructor
    takes the ``settings`` object alone and must be cheap; data are loaded on first use. Adding one needs
    its file and a line in ``trainers/workloads/__init__.py``; a user's own is named as
    ``path/to/file.py:ClassName``.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    """One line: what it trains."""
    data_set: ClassVar[str] = ""
    """What it trains on by default: a packaged data set's name."""
    source: ClassVar[str] = ""
    """Where it comes from: authors and year."""
    parameters: ClassVar[int] = 0
    """Trained numbers of the model at default settings. A user's own workload may leave these three out."""
    Settings: ClassVar[type[Settings]]
    """The settings the constructor takes."""
    metrics: ClassVar[tuple[str, ...]]
    """The names that ``evaluate`` reports."""
    example_unit: ClassVar[str] = "examples"
    examples_are_independent: ClassVar[bool] = True
    """False where the loss couples the examples of a batch (BatchNorm, contrastive losses): then the
    micro-batch is part of the problem and is never changed silently."""

    largest_zero_stage: ClassVar[Literal[2, 3]] = 3
    """2 where the loss takes weights out of their modules, which stage 3 of ZeRO keeps in pieces."""

    settings: Any
    target: Target
    """The default target; a study may set another."""
    coupled_examples: int | None = None
    """Where the loss is the mean over consecutive groups of so many examples, and couples nothing else: the size of a
    group. A forward pass must hold whole groups; how many is a matter of memory alone. None where all that a forward
    pass holds is coupled, or nothing is."""
    loss_limit: float = float("inf")
    """A training loss above this is divergence."""

    @abc.abstractmethod
    def build_model(self, *, seed: int) -> nn.Module:
        """Return a freshly initialised model; the same seed gives the same weights."""

    @abc.abstractmethod
    def train_batches(self, *, batch_size: int, seed: int) -> Iterator[Batch]:
        """Yield global batches of exactly ``batch_size`` examples, for ever.

        The stream of examples depends on the seed alone: every batch size cuts the same stream.
        """

    @abc.abstractmethod
    def loss(self, model: Any, batch: Any) -> torch.Tensor:
        """Return the scalar mean over the examples of ``batch``."""

    @abc.abstractmethod
    def evaluate(self, model: Any) -> dict[str, float]:
        """Return ``metrics`` on held-out data. The model is in evaluation mode, without gradients.

        The result depends on the model alone: same weights, same numbers.
        """

    def prepare(self) -> None:  # noqa: B027 - a workload that makes its data has nothing to do here
        """Fetch and read the data, so that what is wrong with them shows before a study begins.

        Raises:
            DataError: they can't be had.
            SettingsError: the settings don't fit them.
        """

    def peak_rate(self, parameter: str, learning_rate: float) -> float:  # noqa: ARG002
        """Return the peak rate of one parameter, given that of the study.

        For rates that differ inside a model: layer by layer, a predictor's own multiplier, a part whose rate stays.

        Args:
            parameter: its name in the model of ``build_model``.
            learning_rate: the study's.
        """
        return learning_rate

    def after_step(self, model: Any, *, step: int) -> None:  # noqa: B027 - most have nothing to do here
        """Change what is not trained after an optimiser step, such as a teacher that averages the weights.

        What it changes must be buffers of the model, so that copies of it are complete. Probes never call it.

        Args:
            model: in training mode; with ZeRO stage 3 its weights are in pieces.
            step: optimiser steps taken, from 1.
        """

    def baselines(self) -> dict[str, float]:
        """Return what trivial methods reach on the target's metric, by name; empty where none is meaningful."""
        return {}


class LossModule(nn.Module):
    """Model and loss as one module, the form in which an engine runs them."""

    def __init__(self, workload: Workload, model: nn.Module) -> None:
        """Wrap ``model``; ``workload`` supplies the loss."""
        super().__init__()
        self.model = model
        self._workload = workload

    def rate_factors(self, learning_rate: float) -> dict[str, float]:
        """Return each trained parameter's peak rate over ``learning_rate``, by its name in this module.

        Raises:
            SettingsError: the workload gives a parameter a rate that is none.
        """
        factors = {}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                rate = self._workload.peak_rate(name, learning_rate)
                if not (math.isfinite(rate) and rate >= 0.0):
                    raise SettingsError(
                        f"{self._workload.name}: the peak rate of a parameter must be finite and not negative, but "
                        f"{name} has {rate}"
                    )
                factors[f"model.{name}"] = rate / learning_rate
        return factors

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return the mean loss over the examples of ``batch``."""
        return self._workload.loss(self.model, batch)
