"""The Ray actor that trains: one process, one trial after the other, reports about once a second."""

from __future__ import annotations

import dataclasses
import datetime
import gc
import importlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ray import tune

from results import Status

from .errors import first_line

REPORT_SECONDS = 1.0


class Worker(tune.Trainable):
    """Trains the specifications it is given. Ray reuses the process, so torch is imported once.

    A report is a mapping with ``points`` and ``probes`` (rows of the curves and probes since the last report), ``step``
    and ``done``; the last one carries ``outcome``, the part of the trial's row that only the worker knows.
    """

    def setup(self, config: Mapping[str, Any]) -> None:
        """Prepare the process, then the first trial."""
        if not config["gpus"]:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before torch is imported; Ray no longer hides GPUs
        # Everything but the trial's own set-up, so that its clock does not count imports.
        self._loop = importlib.import_module("trainers.loop")
        importlib.import_module("trainers.engine").prepare_process(threads=config["cpus"])
        gc.freeze()  # what the imports made stays: without it each collection below would walk through all of it
        self._workloads: dict[str, Any] = {}
        self.reset_config(config)

    def reset_config(self, new_config: Mapping[str, Any]) -> bool:
        """Turn to another trial in the same process."""
        self._events: Iterator[Any] | None = None  # frees the last model before the next is built
        gc.collect()
        self._spec: dict[str, Any] = json.loads(new_config["spec"])
        self._workload_location: str = new_config["workload"]
        self._step = 0
        self._started_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        return True

    def step(self) -> dict[str, Any]:
        """Train until a second has passed or the trial has ended; an exception ends it as ``failed``."""
        pause = time.perf_counter() + REPORT_SECONDS
        points: list[dict[str, Any]] = []
        probes: list[dict[str, Any]] = []

        def report(outcome: dict[str, Any] | None) -> dict[str, Any]:
            return self._report({"points": points, "probes": probes}, outcome=outcome)

        try:
            if self._events is None:
                self._events = self._begin()
            for event in self._events:
                if isinstance(event, self._loop.Finished):
                    return report(dataclasses.asdict(event))
                self._step = event.step
                points += [
                    {"step": event.step, "examples": event.examples, "name": name, "value": float(value)}
                    for name, value in getattr(event, "values", {}).items()
                ]
                probes += [dataclasses.asdict(row) for row in getattr(event, "rows", ())]
                if time.perf_counter() >= pause:
                    return report(None)
        except Exception as error:
            message = f"{type(error).__name__}: {first_line(error)}"
            return report({"status": str(Status.FAILED), "message": message})
        return report({"status": str(Status.FAILED), "message": "RuntimeError: training ended without a result"})

    def cleanup(self) -> None:
        """Drop the trial; Ray ends the process."""
        self._events = None

    def _begin(self) -> Iterator[Any]:
        from trainers.script import Script
        from trainers.script_run import run_script
        from trainers.settings import TrainSettings
        from trainers.workloads import load_workload

        # Loading a workload may read a data set; trials that share it share the object.
        key = json.dumps([self._workload_location, self._spec["workload_settings"]], sort_keys=True)
        if key not in self._workloads:
            self._workloads = {key: load_workload(self._workload_location, self._spec["workload_settings"])}
        workload, settings = self._workloads[key], TrainSettings.from_dict(self._spec)
        return run_script(workload, settings) if isinstance(workload, Script) else self._loop.train(workload, settings)

    def _report(self, measured: dict[str, list[dict[str, Any]]], *, outcome: dict[str, Any] | None) -> dict[str, Any]:
        if outcome is not None:
            self._events = None
            outcome["started_at"] = self._started_at
        return {**measured, "step": self._step, "done": outcome is not None, "outcome": outcome}
