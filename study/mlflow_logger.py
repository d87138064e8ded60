"""MLflow, told of whole trials through Ray Tune's callback."""

from __future__ import annotations

import functools
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .locations import Location
from .logged_trial import LoggedTrial, trial_key
from .loggers import play

_PAGE = 1000
_BATCH = 1000
"""Values that MLflow takes in one request."""


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
        play(self._callback, trial, self._folder)

    def close(self) -> None:
        """Nothing is held."""

    def explain(self, error: BaseException) -> str:
        """Return the error's first line without secrets."""
        return self._place.explain(error)


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
