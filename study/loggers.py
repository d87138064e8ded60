"""TensorBoard, MLflow and Weights & Biases, told of trials by Ray Tune's own callbacks.

Every trial is told as a whole once it is stored, so an attempt that was lost leaves no second curve.
"""

from __future__ import annotations

import functools
import importlib.util
import math
import os
import queue
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from .errors import ConfigError, first_line
from .locations import Location
from .logged_trial import LoggedTrial, StandIn, trial_key

_WRITING = ".writing"
_KEY = re.compile(r"-([0-9a-f]{16}(?:-failed)?)$")
_PAGE = 1000
_BATCH = 1000
"""Values that MLflow takes in one request."""


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
        _play(self._callback, trial, made)
        self._shelf.put(made, f"{trial.row['sweep']}/{trial.name}")

    def close(self) -> None:
        """Remove what was not finished."""
        self._shelf.clear()

    def explain(self, error: BaseException) -> str:
        """Return the error's first line."""
        return first_line(error)


class MLflow:
    """A run for each trial in one experiment; what is already tracked is known by the tags of its run."""

    name = "loggers.mlflow"
    patience = math.inf

    def __init__(self, place: Location, *, experiment: str, study: str, folder: Path) -> None:
        """Track at ``place``; ``folder`` is for what Ray's callback takes as the trial's folder."""
        self._place = place
        self._experiment = experiment
        self._study = study
        self._folder = folder
        self._callback: Any = None

    def open(self) -> set[str]:
        """Connect, and find the runs that are finished; one that was cut off stays as it is, and is not counted."""
        # A folder is refused by MLflow 3 unless asked for; nobody is told of a study.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        self._callback = _mlflow_callback()(tracking_uri=self._place.url, experiment_name=self._experiment)
        self._callback.setup()
        return {trial_key(tags) for tags in self._finished() if {"trial_id", "status"} <= tags.keys()}

    def _finished(self) -> Iterator[dict[str, str]]:
        from mlflow.tracking import MlflowClient

        client, token = MlflowClient(tracking_uri=self._place.url), None
        while True:
            page = client.search_runs(
                [self._callback.mlflow_util.experiment_id],
                filter_string=f"tags.study = '{self._study}' and attributes.status != 'RUNNING'",
                max_results=_PAGE,
                page_token=token,
            )
            yield from (run.data.tags for run in page)
            token = page.token
            if not token:
                return

    def write(self, trial: LoggedTrial) -> None:
        """Track a run."""
        row = trial.row
        shown = ("study", "sweep", "batch_size", "learning_rate", "seed", "trial_id", "status")
        self._callback.tags = {name: str(row[name]) for name in shown}
        _play(self._callback, trial, self._folder)

    def close(self) -> None:
        """Nothing is held."""

    def explain(self, error: BaseException) -> str:
        """Return the error's first line without secrets."""
        return self._place.explain(error)


class WandB:
    """A run for each trial; offline, its folder is what ``wandb sync`` takes."""

    name = "loggers.wandb"
    patience = math.inf

    def __init__(self, folder: Path, *, project: str, study: str, mode: str) -> None:
        """Keep the runs' folders under ``folder``, online too: they say what was told."""
        self._shelf = Shelf(folder)
        self._project = project
        self._study = study
        self._mode = mode
        self._callback: Any = None

    def open(self) -> set[str]:
        """Look what is there."""
        os.environ["WANDB_MODE"] = self._mode
        os.environ.setdefault("WANDB_SILENT", "true")
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        os.environ.setdefault("WANDB_CACHE_DIR", str(self._shelf.writing))
        import wandb

        self._shelf.clear()
        self._shelf.writing.mkdir(parents=True)
        settings = wandb.Settings(
            console="off",
            disable_git=True,
            save_code=False,
            silent=True,
            x_disable_machine_info=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
        )
        self._callback = _wandb_callback()(
            project=self._project,
            mode=self._mode,
            dir=str(self._shelf.writing),
            reinit="finish_previous",
            settings=settings,
        )
        self._callback.setup()
        return self._shelf.keys()

    def write(self, trial: LoggedTrial) -> None:
        """Log a run, to its end."""
        self._callback.group = f"{self._study}/{trial.row['sweep']}"
        _play(self._callback, trial, self._shelf.writing)
        (made,) = self._shelf.writing.glob(f"wandb/*run-*-{trial.key}")
        self._shelf.put(made, made.name)

    def close(self) -> None:
        """End W&B's own process, and remove what was not finished."""
        import wandb

        os.chdir("/")  # the actor's class goes into the folder that is removed
        wandb.teardown()
        self._shelf.clear()

    def explain(self, error: BaseException) -> str:
        """Return the error's first line."""
        return first_line(error)


NEEDS = {"tensorboardX": "train", "mlflow": "mlflow", "wandb": "wandb", "optuna": "optuna"}
"""Package -> our extra that brings it."""


def check_installed(package: str, *, where: str) -> None:
    """Raise ``ConfigError`` unless a tool's client can be imported."""
    if importlib.util.find_spec(package) is None or importlib.util.find_spec("ray") is None:
        raise ConfigError(
            f"{where}: needs {package}, which is not installed: pip install 'batchlaw[train,{NEEDS[package]}]'"
        )


def _play(callback: Any, trial: LoggedTrial, folder: Path) -> None:
    """Tell ``callback`` of a whole trial, as Ray Tune would have told it bit by bit."""
    stand_in = StandIn.of(trial, folder)
    stand_in.init_local_path()
    callback.log_trial_start(stand_in)
    for number, result in enumerate(trial.results(), start=1):
        callback.log_trial_result(number, stand_in, result)
    # Of a run that diverged nothing but the status says that its last loss is no loss at the end of training.
    callback.log_trial_end(stand_in, failed=trial.row["status"] in ("failed", "diverged"))


@functools.cache
def _mlflow_callback() -> type:
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    class WholeRuns(MLflowLoggerCallback):
        """Ray's callback asks the server twice for every value; here a run's values go in a few requests."""

        def setup(self, *args: Any, **kwargs: Any) -> None:
            super().setup(*args, **kwargs)
            self._client = MlflowClient(tracking_uri=self.tracking_uri)
            self._values: list[Metric] = []

        def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:  # noqa: ARG002
            now = int(1000 * time.time())
            step = result["training_iteration"]
            self._values += [Metric(name, value, now, step) for name, value in result.items()]

        def log_trial_end(self, trial: Any, failed: bool = False) -> None:
            values, self._values = self._values, []
            run = self._trial_runs[trial]
            for first in range(0, len(values), _BATCH):
                self._client.log_batch(run, metrics=values[first : first + _BATCH])
            super().log_trial_end(trial, failed=failed)
            del self._trial_runs[trial]

    return WholeRuns


@functools.cache
def _wandb_callback() -> type:
    from ray.air.integrations.wandb import WandbLoggerCallback, _QueueItem

    class WholeRuns(WandbLoggerCallback):
        """Ray's callback starts two actors for every trial; here its actor's class does a run as a whole, in place."""

        def _start_logging_actor(self, trial: Any, exclude_results: list[str], **wandb_init_kwargs: Any) -> None:
            items: Any = queue.Queue()  # in the place of Ray's, which is an actor
            actor: Any = self._logger_actor_cls(
                logdir=trial.local_path,
                queue=items,
                exclude=exclude_results,
                to_config=self.AUTO_CONFIG_KEYS,
                **wandb_init_kwargs,
            )
            self._trial_queues[trial], self._trial_logging_actors[trial] = items, actor

        def log_trial_end(self, trial: Any, failed: bool = False) -> None:  # noqa: ARG002
            self._trial_queues.pop(trial).put((_QueueItem.END, None))
            self._trial_logging_actors.pop(trial).run()

    return WholeRuns
