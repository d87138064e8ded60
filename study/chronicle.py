"""The tools that a study tells of its trials: each alone, so that one that fails takes nothing with it."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .config import StudyConfig
from .locations import Location, locate
from .logged_trial import LoggedTrial, trial_key
from .loggers import TensorBoard, Tool, check_installed
from .loggers_config import Loggers
from .mlflow_logger import MLflow
from .optuna_mirror import MirroredSweep, OptunaMirror
from .wandb_logger import WandB

FOLDER = "loggers"
"""Beside the rows."""


def tools_of(loggers: Loggers, config: StudyConfig, folder: Path) -> list[Tool]:
    """Return the tools that ``loggers`` asks for; nothing is opened or imported.

    Args:
        loggers: usually those of ``config``.
        config: the resolved study.
        folder: the folder of its results.

    Raises:
        ConfigError: a variable of the environment is not set, or a tool's client is not installed.
    """
    tools: list[Tool] = []
    own = folder / FOLDER
    if loggers.tensorboard:
        check_installed("tensorboardX", where=TensorBoard.name)
        tools.append(TensorBoard(own / "tensorboard"))
    if loggers.mlflow:
        check_installed("mlflow", where=MLflow.name)
        uri = loggers.mlflow.tracking_uri
        place = (
            locate(uri, where=f"{MLflow.name}.tracking_uri", folder=folder)
            if uri
            else Location(url=str(own / "mlflow"))
        )
        experiment = loggers.mlflow.experiment or config.name
        tools.append(MLflow(place, experiment=experiment, study=config.name, folder=own / "mlflow-trials"))
    if loggers.wandb:
        check_installed("wandb", where=WandB.name)
        project = loggers.wandb.project or config.name
        tools.append(WandB(own / "wandb", project=project, study=config.name, mode=loggers.wandb.mode))
    if loggers.optuna:
        check_installed("optuna", where=OptunaMirror.name)
        place = locate(loggers.optuna, where=OptunaMirror.name, folder=folder)
        sweeps = {sweep.name: MirroredSweep.of(sweep) for sweep in config.sweeps}
        tools.append(OptunaMirror(place, study=config.name, sweeps=sweeps))
    return tools


@dataclasses.dataclass(kw_only=True)
class _Kept:
    """A tool and how it is."""

    tool: Tool
    held: set[str] = dataclasses.field(default_factory=set)
    """Keys of the trials that it holds, as far as is known."""
    is_open: bool = False
    resting_until: float = -math.inf
    troubled: bool = False


class Chronicle:
    """Tells every tool of every trial once, whoever told it before."""

    def __init__(
        self, tools: Iterable[Tool], *, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin with tools that are not open.

        Args:
            tools: what is told.
            say: takes lines for the user.
            clock: seconds.
        """
        self._kept = [_Kept(tool=tool) for tool in tools]
        self._say = say
        self._clock = clock

    def write(self, trial: LoggedTrial) -> None:
        """Tell of ``trial``. Nothing is raised: a tool that raises is left alone, for its ``patience``."""
        for kept in self._kept:
            self._write(kept, trial)

    def complete(
        self, rows: Sequence[Mapping[str, Any]], points: Callable[[str], Iterable[Mapping[str, Any]]]
    ) -> dict[str, int]:
        """Tell of all that is stored and not told yet.

        Args:
            rows: columns as in ``results.TRIAL_COLUMNS``.
            points: id of a trial -> points of its curves.

        Returns:
            Tool -> how many trials it still lacks.
        """
        for kept in self._kept:
            if math.isfinite(kept.tool.patience):
                kept.resting_until = -math.inf
            self._ready(kept)
            missing = self._missing(kept, rows)
            if kept.is_open and missing:
                self._say(f"{kept.tool.name}: {len(missing)} trials to write")
            for row in missing if kept.is_open else ():
                self._write(kept, LoggedTrial.of(row, points(row["trial_id"])))
        return {kept.tool.name: len(self._missing(kept, rows)) for kept in self._kept}

    def close(self) -> None:
        """Close all that is open."""
        for kept in self._kept:
            if kept.is_open:
                self._shut(kept)

    @staticmethod
    def _missing(kept: _Kept, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        return [row for row in rows if trial_key(row) not in kept.held]

    def _write(self, kept: _Kept, trial: LoggedTrial) -> None:
        if trial.key in kept.held or not self._ready(kept) or trial.key in kept.held:
            return
        try:
            kept.tool.write(trial)
        except Exception as error:  # whatever a client raises
            self._trouble(kept, error)
        else:
            kept.held.add(trial.key)

    def _ready(self, kept: _Kept) -> bool:
        """Return whether the tool is open, or could be opened now."""
        if not kept.is_open and self._clock() >= kept.resting_until:
            try:
                kept.held = kept.tool.open()
                kept.is_open, kept.troubled = True, False
            except Exception as error:
                self._trouble(kept, error)
        return kept.is_open

    def _trouble(self, kept: _Kept, error: Exception) -> None:
        tool = kept.tool
        self._shut(kept)
        kept.resting_until = self._clock() + tool.patience
        if kept.troubled:
            return
        kept.troubled = True
        left = "left alone from here on" if math.isinf(tool.patience) else f"tried again every {tool.patience:g} s"
        self._say(f"{tool.name}: {left}, and the results are not touched: {tool.explain(error)}")

    @staticmethod
    def _shut(kept: _Kept) -> None:
        kept.is_open = False
        with contextlib.suppress(Exception):
            kept.tool.close()
