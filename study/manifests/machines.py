"""The machines that a generated file asks for: as the user says, or as few as hold one trial."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from ..config import StudyConfig
from ..errors import ConfigError
from ..resources import Resources


@dataclasses.dataclass(frozen=True, kw_only=True)
class Machines:
    """``nodes`` machines, all alike."""

    nodes: int
    cpus: int
    """Of each node, as all that follow."""
    gpus: int
    memory_gib: float
    custom: Mapping[str, float]
    """Custom resources of Ray."""


def machines_for(
    config: StudyConfig, *, nodes: int, cpus: int | None, gpus: int | None, memory_gib: float | None
) -> Machines:
    """Return the machines for a resolved study; what is None is as much as one trial needs of one machine.

    Raises:
        ConfigError: they hold no trial.
    """
    need = config.resources
    workers = need.workers or 1
    each = math.ceil(workers / nodes)
    cpus = each * need.cpus_per_worker if cpus is None else cpus
    gpus = math.ceil(each * need.gpus_per_worker) if gpus is None else gpus
    memory_gib = each * (need.memory_gib_per_worker or 4.0) + 4.0 if memory_gib is None else memory_gib
    fit = _workers_on(need, cpus=cpus, gpus=gpus, memory_gib=memory_gib)
    usable = 1 if need.one_node else nodes
    if fit * usable < workers:
        raise ConfigError(
            f"resources: the {workers} workers of a trial, each with {need.cpus_per_worker} CPUs and "
            f"{need.gpus_per_worker:g} GPUs, must fit, but {usable} of the nodes ({cpus} CPUs, {gpus} GPUs, "
            f"{memory_gib:g} GiB) can hold {fit * usable}; ask for more --nodes or larger ones"
        )
    return Machines(
        nodes=nodes,
        cpus=cpus,
        gpus=gpus,
        memory_gib=memory_gib,
        custom={name: amount * fit for name, amount in need.custom.items()},
    )


def _workers_on(need: Resources, *, cpus: int, gpus: int, memory_gib: float) -> int:
    fit = cpus // need.cpus_per_worker
    if need.gpus_per_worker >= 1:
        fit = min(fit, gpus // int(need.gpus_per_worker))
    elif need.gpus_per_worker:
        fit = min(fit, gpus * int(1 / need.gpus_per_worker + 1e-9))  # a part of a GPU lies on one of them
    if need.memory_gib_per_worker:
        fit = min(fit, int(memory_gib / need.memory_gib_per_worker))
    return fit
