"""A user's whole training script as a workload: started with a trial's values, heard through its report call."""

from __future__ import annotations

import os
import string
from collections.abc import Iterator
from typing import Any, NoReturn

import torch
from pydantic import Field, field_validator, model_validator
from torch import nn

from .errors import SettingsError
from .reading import Settings
from .settings import TrainSettings
from .workload import Batch, Target, Workload

PLACEHOLDERS = ("batch_size", "learning_rate", "seed", "steps", "optimizer")
"""What arguments may hold in braces."""
LOSS = "loss"
"""The metric that is known to fall; of any other a study must say whether it falls or rises."""

_ARGUMENTS = [
    "--batch-size", "{batch_size}", "--learning-rate", "{learning_rate}", "--seed", "{seed}", "--steps", "{steps}",
]  # fmt: skip


class ScriptSettings(Settings):
    """How a script is called and what it reports.

    ``arguments`` follow the script; ``{batch_size}``, ``{learning_rate}``, ``{seed}``, ``{steps}`` (of the budget) and
    ``{optimizer}`` stand for the trial's. ``launcher`` comes before it, such as ``[torchrun, --nproc-per-node, "4"]``;
    by default the Python that runs the study. ``metrics`` are the names that the script reports; the first is the
    study's unless it names another. A value of any of them that is not finite is divergence, and so is a value of the
    metric ``loss`` above ``loss_limit``. A script that takes more than ``timeout_seconds`` to report the last step is
    stopped and has failed.
    """

    arguments: list[str] = Field(default=_ARGUMENTS)
    launcher: list[str] = Field(default=[])
    metrics: list[str] = Field(default=[LOSS], min_length=1)
    loss_limit: float | None = Field(default=None, allow_inf_nan=False)
    timeout_seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    @field_validator("arguments")
    @classmethod
    def _known_placeholders(cls, arguments: list[str]) -> list[str]:
        named = set()
        for argument in arguments:
            try:
                named |= {name for _, name, _, _ in string.Formatter().parse(argument) if name is not None}
            except ValueError as error:
                raise ValueError(f"{error} in {argument!r}; a brace that is meant is written twice") from None
        if unknown := sorted(named - set(PLACEHOLDERS)):
            known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
            raise ValueError(f"arguments may hold {known}, but one holds {{{unknown[0]}}}")
        if lacking := [name for name in ("batch_size", "learning_rate") if name not in named]:
            raise ValueError(f"the script must be told {{{lacking[0]}}}, but no argument holds it")
        return arguments

    @model_validator(mode="after")
    def _metrics_have_names(self) -> ScriptSettings:
        if len(set(self.metrics)) < len(self.metrics):
            raise ValueError("each of metrics must be named once")
        if self.loss_limit is not None and LOSS not in self.metrics:
            raise ValueError(
                f"loss_limit is for the metric {LOSS}, but metrics are {', '.join(self.metrics)}; report {LOSS} too "
                "and name it there, or leave loss_limit out"
            )
        return self


class Script(Workload):
    """A script that trains by itself: it has a target and metrics, and nothing that could be looked into.

    The optimiser, schedule and engine of its sweep say what the script does; nothing makes it do so.
    """

    summary = "a training script of your own"
    Settings = ScriptSettings

    def __init__(self, settings: ScriptSettings, *, path: str) -> None:
        """Keep the settings.

        Raises:
            SettingsError: there is no such file.
        """
        if not os.path.isfile(path):
            raise SettingsError(f"workload {path!r}: there is no file {path!r} (seen from {os.getcwd()})")
        self.settings = settings
        self.path = os.path.abspath(path)
        self.target = Target(metric=settings.metrics[0], mode="min", value=None)

    @property
    def name(self) -> str:  # type: ignore[override]
        """The file's name."""
        return os.path.basename(self.path)

    @property
    def metrics(self) -> tuple[str, ...]:  # type: ignore[override]
        """What the script reports."""
        return tuple(self.settings.metrics)

    def command(self, python: str, settings: TrainSettings) -> list[str]:
        """Return the command line of one trial; ``python`` is the default launcher."""
        values = {
            "batch_size": settings.batch_size,
            "learning_rate": repr(settings.learning_rate),
            "seed": settings.seed,
            "steps": settings.total_steps,
            "optimizer": settings.optimizer,
        }
        arguments = [argument.format(**values) for argument in self.settings.arguments]
        return [*(self.settings.launcher or [python]), self.path, *arguments]

    def build_model(self, *, seed: int) -> nn.Module:  # noqa: ARG002
        """Raise SettingsError, as all that follow: the script keeps its model, data and loss to itself."""
        self._refuse()

    def train_batches(self, *, batch_size: int, seed: int) -> Iterator[Batch]:  # noqa: ARG002
        """Raise SettingsError."""
        self._refuse()

    def loss(self, model: Any, batch: Any) -> torch.Tensor:  # noqa: ARG002
        """Raise SettingsError."""
        self._refuse()

    def evaluate(self, model: Any) -> dict[str, float]:  # noqa: ARG002
        """Raise SettingsError."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise SettingsError(
            f"the script {self.name} trains by itself, so it can't be probed or trained here; "
            "write a class, as path/to/file.py:ClassName"
        )
