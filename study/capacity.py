"""How many trials a cluster holds at a time, from what its nodes have. Arithmetic alone: no Ray here."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence

from .resources import Resources

GIB = 2**30
UNITS = 10_000
"""Ray counts resources in ten thousandths."""
DEVICES = frozenset({"GPU", "TPU", "NPU", "HPU", "RBLN", "FURIOSA", "TTNPU", "MBLT", "neuron_cores"})
"""What Ray keeps device by device, so that a part of one is never put together from two."""
LISTED = 4
"""Nodes that an error names."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Node:
    """A machine of a cluster, or a part of one that Ray takes for a machine."""

    name: str
    has: Mapping[str, float]
    """What it has in all, busy or free, by Ray's names: CPU, GPU, memory (in bytes) and custom ones."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Capacity:
    """What fits on some nodes."""

    crews: int
    """Trials that fit at a time, each with all its workers."""
    at_once: int
    """Trials that are to run at a time: as many as fit, and no more than ``resources.max_concurrent``."""
    workers: tuple[int, ...]
    """Workers that fit on each node."""
    lacking: str
    """Why not even one trial fits, in one line with a way out; nothing where one does."""


def worker_bundle(resources: Resources) -> dict[str, float]:
    """Return what one worker asks of Ray, as a bundle of a placement group."""
    bundle: dict[str, float] = {"CPU": resources.cpus_per_worker}
    if resources.gpus_per_worker:
        bundle["GPU"] = resources.gpus_per_worker
    if resources.memory_gib_per_worker:
        bundle["memory"] = math.ceil(resources.memory_gib_per_worker * GIB)
    return bundle | resources.custom


def capacity(resources: Resources, nodes: Sequence[Node]) -> Capacity:
    """Return how many trials fit on ``nodes`` at a time.

    All workers of a study ask for the same bundle. So a node is a row of equal places, and which of them are taken
    doesn't matter: a worker that leaves makes exactly the room that the next one needs. While fewer than ``crews``
    trials run, ``resources.workers`` places are free (on one node, with ``one_node``: a node that holds fewer trials
    than it can has a whole group of them free), and Ray takes all workers of a trial or none. So as many trials as this
    can always run, and no two of them can each hold what the other one waits for.

    Args:
        resources: what a trial asks for.
        nodes: what there is, busy or free; what others take of it makes trials wait, but stops none.
    """
    bundle = worker_bundle(resources)
    group = resources.workers or 1
    fit = tuple(_workers_on(node, bundle) for node in nodes)
    crews = sum(n // group for n in fit) if resources.one_node else sum(fit) // group
    return Capacity(
        crews=crews,
        at_once=min(crews, resources.max_concurrent or crews),
        workers=fit,
        lacking="" if crews else f"resources: {_lacking(bundle, group, nodes, fit, one_node=resources.one_node)}",
    )


def amount(name: str, quantity: float) -> str:
    """Return a resource in words: 16 CPU, 7.5 GiB, 1 a100."""
    return f"{quantity / GIB:.4g} GiB" if name == "memory" else f"{quantity:g} {name}"


def _workers_on(node: Node, bundle: Mapping[str, float]) -> int:
    return min(_times(name, need, node.has.get(name, 0.0)) for name, need in bundle.items())


def _times(name: str, need: float, total: float) -> int:
    if name in DEVICES and need < 1:
        return int(total) * (UNITS // _units(need))
    return _units(total) // _units(need)


def _units(quantity: float) -> int:
    return math.floor(quantity * UNITS + 0.5)


def _lacking(
    bundle: Mapping[str, float], group: int, nodes: Sequence[Node], fit: Sequence[int], *, one_node: bool
) -> str:
    needs = ", ".join(amount(name, need) for name, need in bundle.items())
    if not nodes:
        return f"a worker needs {needs}, but the cluster has no node; let one join"
    if not any(fit):
        has = [f"{node.name} has {_of_these(node, bundle)}" for node in nodes]
        return f"a worker needs {needs}, but no node has them: {_list(has)}; {_way_out(bundle, nodes)}"
    places = _list([f"{node.name} {n}" for node, n in zip(nodes, fit, strict=True) if n])
    if one_node and sum(fit) >= group:
        return (
            f"one_node wants the {group} workers of a trial, of {needs} each, on one node, but none holds as many: "
            f"{places}; leave one_node out, lower workers or add a larger node"
        )
    return (
        f"a trial needs {group} workers at a time, of {needs} each, but only {sum(fit)} fit: {places}; "
        "lower workers or add nodes"
    )


def _of_these(node: Node, bundle: Mapping[str, float]) -> str:
    return ", ".join(amount(name, node.has[name]) for name in bundle if node.has.get(name)) or "none of them"


def _way_out(bundle: Mapping[str, float], nodes: Sequence[Node]) -> str:
    nowhere = [name for name, need in bundle.items() if not any(_times(name, need, n.has.get(name, 0)) for n in nodes)]
    custom = {name: math.ceil(bundle[name]) for name in nowhere if name not in ("CPU", "GPU", "memory")}
    if custom:
        return f"start Ray where they are with --resources='{json.dumps(custom)}', or change resources"
    return "change resources, or add a node that has them"


def _list(entries: Sequence[str]) -> str:
    more = len(entries) - LISTED
    return "; ".join(entries[:LISTED]) + (f"; and {more} more" if more > 0 else "")
