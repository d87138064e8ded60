"""What a study says of the machines it needs."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, AliasChoices, Field, Strict, field_validator, model_validator

from .model import Count, Model, Rate

SMALLEST = 1e-4


def _positive_resources(custom: dict[str, float]) -> dict[str, float]:
    reserved = {"CPU": "cpus_per_worker", "GPU": "gpus_per_worker", "memory": "memory_gib_per_worker"}
    for name, quantity in custom.items():
        if name in reserved:
            raise ValueError(f"{name} is asked for by {reserved[name]}")
        if quantity < SMALLEST:
            raise ValueError(f"{name} must be at least {SMALLEST:g}, the smallest part that Ray knows")
    return custom


class Resources(Model):
    """What a trial gets, and how many run at a time (as many as fit when left out)."""

    workers: Count | None = None
    """Data-parallel workers of a trial, which share its batch; ``engine.workers`` of the sweeps when left out, or 1."""
    cpus_per_worker: Annotated[Count, Field(validation_alias=AliasChoices("cpus_per_worker", "cpus_per_trial"))] = 1
    gpus_per_worker: Annotated[
        Annotated[float, Strict(), Field(ge=0, allow_inf_nan=False)],
        Field(validation_alias=AliasChoices("gpus_per_worker", "gpus_per_trial")),
    ] = 0.0
    """A part of one GPU packs several workers on it; more than one must be whole."""
    memory_gib_per_worker: Annotated[float, Strict(), Field(gt=0, allow_inf_nan=False)] | None = None
    custom: Annotated[dict[str, Rate], AfterValidator(_positive_resources)] = {}
    """Custom resources of Ray that a worker needs, by name, such as ``{a100: 1}``."""
    one_node: bool = False
    """Whether all workers of a trial must be on one machine."""
    max_concurrent: Count | None = None
    checkpoint_seconds: Annotated[float, Strict(), Field(gt=0, allow_inf_nan=False)] | None = 60.0
    """Between two checkpoints of a trial, from which it goes on when its worker is lost; null for none."""
    retries: Annotated[int, Strict(), Field(ge=0)] = 2
    """How often a trial is begun again that lost its worker (killed, machine gone) before it came further."""

    @field_validator("gpus_per_worker")
    @classmethod
    def _whole_gpus(cls, gpus: float) -> float:
        if gpus > 1 and not gpus.is_integer():
            raise ValueError(f"more than one GPU must be a whole number, but got {gpus:g}")
        if 0 < gpus < SMALLEST:
            raise ValueError(f"a part of a GPU must be at least {SMALLEST:g}, the smallest that Ray knows")
        return gpus

    @model_validator(mode="after")
    def _a_gpu_each(self) -> Self:
        if problem := shared_gpu(self.workers or 1, self.gpus_per_worker):
            raise ValueError(problem)
        return self


def shared_gpu(workers: int, gpus_per_worker: float) -> str:
    """Return why the workers of a trial can't have these GPUs; nothing where they can."""
    if workers == 1 or not 0 < gpus_per_worker < 1:
        return ""
    return (
        "workers of one trial can't share a GPU, since NCCL refuses it: gpus_per_worker must be a whole number "
        f"with {workers} workers, but got {gpus_per_worker:g}; a part packs trials of one worker"
    )
