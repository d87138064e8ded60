"""What a study says of the tools that are to show it, besides its own report."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator

from .locations import without_secrets
from .model import Model


class MLflow(Model):
    """Where MLflow keeps the runs; a folder beside the results when no ``tracking_uri`` is given."""

    tracking_uri: Annotated[str | None, AfterValidator(lambda uri: without_secrets(uri, variable="MLFLOW_URL"))] = None
    """A URL or a folder; ``${NAME}`` as in ``Loggers.optuna``."""
    experiment: str | None = None


class WandB(Model):
    """Weights & Biases; ``offline`` writes a folder beside the results and needs no account."""

    project: str | None = None
    mode: Literal["offline", "online"] = "offline"


class Loggers(Model):
    """Tools that are told of every trial, besides the study's own tables."""

    tensorboard: bool = False
    mlflow: MLflow | None = None
    wandb: WandB | None = None
    optuna: Annotated[str | None, AfterValidator(lambda url: without_secrets(url, variable="OPTUNA_URL"))] = None
    """URL of an Optuna storage (SQLite, PostgreSQL, ...), so that optuna-dashboard shows the study. ``${NAME}`` stands
    for a variable of the environment, in place of a password or of the whole; the file of a relative SQLite URL counts
    from the folder of the results."""

    @property
    def wanted(self) -> bool:
        """Whether there is any tool to tell."""
        return bool(self.tensorboard or self.mlflow or self.wandb or self.optuna)
