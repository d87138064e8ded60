"""Weights & Biases, told of whole trials through Ray Tune's callback."""

from __future__ import annotations

import functools
import math
import os
import queue
from pathlib import Path
from typing import Any

from .errors import first_line
from .logged_trial import LoggedTrial
from .loggers import Shelf, play


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
        play(self._callback, trial, self._shelf.writing)
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
