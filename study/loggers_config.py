"""What a study says of the tools that are to show it, besides its own report."""

from __future__ import annotations

from typing import Literal

from .model import Model


class MLflow(Model):
    """Where MLflow keeps the runs; a folder beside the results when no ``tracking_uri`` is given."""

    tracking_uri: str | None = None
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
    optuna: str | None = None
    """URL of an Optuna storage (SQLite, PostgreSQL, ...), so that optuna-dashboard shows the study. ``${NAME}`` stands
    for a variable of the environment; passwords must."""
