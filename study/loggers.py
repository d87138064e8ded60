"""What tells a tool of trials by Ray Tune's own callbacks, and TensorBoard.

Every trial is told as a whole once it is stored, so an attempt that was lost leaves no second curve.
"""

from __future__ import annotations

import importlib.util
import math
import os
import re
import shutil
from pathlib import Path
from typing import Any, Protocol

from .errors import ConfigError, first_line
from .logged_trial import LoggedTrial, StandIn

_WRITING = ".writing"
_KEY = re.compile(r"-([0-9a-f]{16}(?:-failed)?)$")


class Tool(Protocol):
    """Something that keeps logged trials. Opening and writing may raise anything; see ``Chronicle``."""

    name: str
    """The setting that asks for it."""
    patience: float
    """Seconds after which it is tried again when it raised; infinite for one that is then left alone."""

    def open(self) -> set[str]:
        """Connect, and return the keys of the trials that it holds."""

    def write(self, trial: LoggedTrial) -> None:
        """Keep ``trial``."""

    def close(self) -> None:
        """Let go; ``open`` may follow."""

    def explain(self, error: BaseException) -> str:
        """Return one line about what it raised, with nothing secret."""


class Shelf:
    """A folder of finished folders: each is made aside and then put in its place as a whole."""

    def __init__(self, folder: Path) -> None:
        """Point at ``folder``; nothing is made yet."""
        self.folder = folder
        self.writing = folder / _WRITING

    def clear(self) -> None:
        """Remove what was not finished."""
        shutil.rmtree(self.writing, ignore_errors=True)

    def keys(self) -> set[str]:
        """Return the keys at the end of the names of what is in place, at any depth of two."""
        names = [path.name for pattern in ("*", "*/*") for path in self.folder.glob(pattern) if path.is_dir()]
        return {found[1] for found in map(_KEY.search, names) if found}

    def put(self, made: Path, name: str) -> None:
        """Move ``made`` to ``name``, which holds nothing or the same."""
        place = self.folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists():
            shutil.rmtree(place)
        os.replace(made, place)


class TensorBoard:
    """Event files, a folder for each trial: ``<folder>/<sweep>/<trial>``."""

    name = "loggers.tensorboard"
    patience = math.inf

    def __init__(self, folder: Path) -> None:
        """Write under ``folder``."""
        self._shelf = Shelf(folder)
        self._callback: Any = None

    def open(self) -> set[str]:
        """Look what is there."""
        from ray.tune.logger import TBXLoggerCallback

        self._shelf.clear()
        self._callback = TBXLoggerCallback()
        return self._shelf.keys()

    def write(self, trial: LoggedTrial) -> None:
        """Write the trial's event file."""
        made = self._shelf.writing / trial.name
        play(self._callback, trial, made)
        self._shelf.put(made, f"{trial.row['sweep']}/{trial.name}")

    def close(self) -> None:
        """Remove what was not finished."""
        self._shelf.clear()

    def explain(self, error: BaseException) -> str:
        """Return the error's first line."""
        return first_line(error)


def play(callback: Any, trial: LoggedTrial, folder: Path) -> None:
    """Tell ``callback`` of a whole trial, as Ray Tune would have told it bit by bit."""
    stand_in = StandIn.of(trial, folder)
    stand_in.init_local_path()
    callback.log_trial_start(stand_in)
    for number, result in enumerate(trial.results(), start=1):
        callback.log_trial_result(number, stand_in, result)
    # Of a run that diverged nothing but the status says that its last loss is no loss at the end of training.
    callback.log_trial_end(stand_in, failed=trial.row["status"] in ("failed", "diverged"))


NEEDS = {"tensorboardX": "train", "mlflow": "mlflow", "wandb": "wandb", "optuna": "optuna"}
"""Package -> our extra that brings it."""


def check_installed(package: str, *, where: str) -> None:
    """Raise ``ConfigError`` unless a tool's client can be imported."""
    if importlib.util.find_spec(package) is None or importlib.util.find_spec("ray") is None:
        raise ConfigError(
            f"{where}: needs {package}, which is not installed: pip install 'batchlaw[train,{NEEDS[package]}]'"
        )
