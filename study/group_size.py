"""How many workers train a trial together: one number for a study, whose crews stay together from trial to trial."""

from __future__ import annotations

from typing import Any

from .config import Sweep
from .loading import LoadedStudy
from .resources import Resources, shared_gpu


def resources_with_workers(study: LoadedStudy) -> Resources:
    """Return the study's resources with the number of workers of a trial written out.

    Raises:
        ConfigError: a sweep's engine asks for another number than the study does, or than the first sweep, or for
            workers that would share a GPU.
    """
    resources, sweeps = study.config.resources, study.config.sweeps
    asked = [sweep.engine.get("workers", resources.workers or 1) for sweep in sweeps]
    workers = asked[0] if resources.workers is None else resources.workers
    source = "that of the first sweep" if resources.workers is None else "resources.workers"
    for number, own in enumerate(asked):
        if own != workers:
            raise study.error(
                number,
                "engine",
                f"workers must be {source} ({workers}), since one group trains trial after trial, but got {own}; "
                "set resources.workers alone, or make a study of each size",
            )
    if not isinstance(workers, int) or isinstance(workers, bool) or workers < 1:
        return resources  # no number: refused, with its place, where the engine's settings are read
    if problem := shared_gpu(workers, resources.gpus_per_worker):
        raise study.error(0, "engine", problem)
    return resources.model_copy(update={"workers": workers})


def engine_with_workers(sweep: Sweep, resources: Resources) -> dict[str, Any]:
    """Return the sweep's engine, with the number of workers where that is left out and more than one."""
    more = resources.workers is not None and resources.workers > 1
    return {"workers": resources.workers, **sweep.engine} if more else dict(sweep.engine)
