"""How much fits on a cluster, against packing by trying everything."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from study.capacity import GIB, Node, capacity, worker_bundle
from study.resources import Resources

Hardware = tuple[int, tuple[Fraction, ...], int]
"""What is free on a node: CPUs, a part of each GPU, units of a custom resource."""


def node(name: str = "node-1", **has: float) -> Node:
    return Node(name=name, has=has)


def wanting(**settings: Any) -> Resources:
    return Resources.model_validate(settings)


def placements(free: Hardware, cpus: int, gpus: Fraction, custom: int) -> Iterator[Hardware]:
    """Yield what may be left of a node after one more worker."""
    free_cpus, devices, units = free
    if free_cpus < cpus or units < custom:
        return
    rest = (free_cpus - cpus, units - custom)
    if 0 < gpus < 1:
        for number, left in enumerate(devices):
            if left >= gpus:
                changed = (*devices[:number], left - gpus, *devices[number + 1 :])
                yield rest[0], tuple(sorted(changed)), rest[1]
        return
    for taken in itertools.combinations(range(len(devices)), int(gpus)):
        if all(devices[number] == 1 for number in taken):
            changed = tuple(Fraction(0) if number in taken else left for number, left in enumerate(devices))
            yield rest[0], tuple(sorted(changed)), rest[1]


def ends(nodes: tuple[Hardware, ...], need: tuple[int, Fraction, int], group: int, *, one_node: bool) -> set[int]:
    """Return how many trials may run when no other one fits, over all orders and all places."""

    def with_workers(state: tuple[Hardware, ...], count: int, only: int | None) -> set[tuple[Hardware, ...]]:
        if count == 0:
            return {state}
        found = set()
        for number in range(len(state)) if only is None else [only]:
            for left in placements(state[number], *need):
                found |= with_workers((*state[:number], left, *state[number + 1 :]), count - 1, only)
        return found

    @functools.cache
    def further(state: tuple[Hardware, ...]) -> frozenset[int]:
        where = range(len(state)) if one_node else [None]
        following = {left for only in where for left in with_workers(state, group, only)}
        return frozenset(1 + n for left in following for n in further(left)) or frozenset([0])

    return set(further(nodes))


HARDWARE = st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 2))


@settings(max_examples=300, deadline=None)
@given(
    hardware=st.lists(HARDWARE, min_size=1, max_size=3),
    cpus=st.integers(1, 2),
    gpus=st.sampled_from(["0", "0.4", "0.5", "0.7", "1", "2"]),
    custom=st.integers(0, 1),
    group=st.integers(1, 3),
    one_node=st.booleans(),
)
def test_every_order_of_trials_ends_at_the_capacity(
    hardware: list[tuple[int, int, int]], cpus: int, gpus: str, custom: int, group: int, one_node: bool
) -> None:
    if group > 1 and 0 < float(gpus) < 1:
        group = 1
    asked = {"cpus_per_worker": cpus, "gpus_per_worker": float(gpus), "custom": {"x": float(custom)} if custom else {}}
    resources = wanting(workers=group, one_node=one_node, **asked)
    nodes = [node(f"node-{i}", CPU=c, GPU=g, x=x) for i, (c, g, x) in enumerate(hardware)]
    found = capacity(resources, nodes)
    free = tuple((c, (Fraction(1),) * g, x) for c, g, x in hardware)
    need = (cpus, Fraction(gpus), custom)
    # One number: it is reached whatever came first, so a bound of as many trials leaves none waiting for ever.
    assert ends(free, need, group, one_node=one_node) == {found.crews}
    assert list(found.workers) == [max(ends((each,), need, 1, one_node=False)) for each in free]
    assert bool(found.lacking) == (found.crews == 0)


@pytest.mark.parametrize(
    ("asked", "nodes", "crews"),
    [
        ({"cpus_per_worker": 4}, [node(CPU=3), node(CPU=3)], 0),  # six together, and none has four
        ({"gpus_per_worker": 0.6}, [node(CPU=8, GPU=3)], 3),  # 1.8 GPUs would do, if a worker could have two halves
        ({"gpus_per_worker": 0.1}, [node(CPU=99, GPU=1)], 10),  # 1 // 0.1 is 9
        ({"gpus_per_worker": 0.33333333}, [node(CPU=99, GPU=2)], 6),
        ({"gpus_per_worker": 2}, [node(CPU=9, GPU=3), node(CPU=9, GPU=1)], 1),
        ({"memory_gib_per_worker": 2.5}, [node(CPU=9, memory=10.0 * GIB)], 4),
        ({"custom": {"x": 0.4}}, [node(CPU=9, x=2.0)], 5),  # a custom resource has no devices
        ({"custom": {"TPU": 0.4}}, [node(CPU=9, TPU=2.0)], 4),  # but this one has
        ({"workers": 3}, [node(CPU=2), node(CPU=2), node(CPU=2)], 2),
        ({"workers": 2, "one_node": True}, [node(CPU=3), node(CPU=3), node(CPU=1)], 2),
        ({}, [node(memory=8.0)], 0),
    ],
)
def test_known_cases(asked: dict[str, Any], nodes: list[Node], crews: int) -> None:
    assert capacity(wanting(**asked), nodes).crews == crews


def test_the_user_bounds_what_runs_at_a_time() -> None:
    found = capacity(wanting(max_concurrent=3), [node(CPU=8)])
    assert (found.crews, found.at_once) == (8, 3)
    assert capacity(wanting(max_concurrent=30), [node(CPU=8)]).at_once == 8


def test_a_worker_asks_ray_for_what_it_needs_and_nothing_else() -> None:
    assert worker_bundle(wanting()) == {"CPU": 1}
    asked = wanting(cpus_per_worker=2, gpus_per_worker=0.5, memory_gib_per_worker=1.5, custom={"a100": 1.0})
    assert worker_bundle(asked) == {"CPU": 2, "GPU": 0.5, "memory": 3 * 2**29, "a100": 1.0}


@pytest.mark.parametrize(
    ("asked", "nodes", "lacking"),
    [
        (
            {"gpus_per_worker": 0.5, "custom": {"a100": 1.0}},
            [node("node-1", CPU=16, GPU=2), node("node-2", memory=1.0)],
            "resources: a worker needs 1 CPU, 0.5 GPU, 1 a100, but no node has them: node-1 has 16 CPU, 2 GPU; "
            "node-2 has none of them; start Ray where they are with --resources='{\"a100\": 1}', or change resources",
        ),
        (
            {"memory_gib_per_worker": 8.0},
            [node(f"node-{i}", CPU=1, memory=7.5 * GIB) for i in range(6)],
            "resources: a worker needs 1 CPU, 8 GiB, but no node has them: node-0 has 1 CPU, 7.5 GiB; "
            "node-1 has 1 CPU, 7.5 GiB; node-2 has 1 CPU, 7.5 GiB; node-3 has 1 CPU, 7.5 GiB; and 2 more; "
            "change resources, or add a node that has them",
        ),
        (
            {"workers": 4},
            [node("node-1", CPU=2), node("node-2"), node("node-3", CPU=1)],
            "resources: a trial needs 4 workers at a time, of 1 CPU each, but only 3 fit: node-1 2; node-3 1; "
            "lower workers or add nodes",
        ),
        (
            {"workers": 3, "one_node": True},
            [node("node-1", CPU=2), node("node-2", CPU=2)],
            "resources: one_node wants the 3 workers of a trial, of 1 CPU each, on one node, but none holds as many: "
            "node-1 2; node-2 2; leave one_node out, lower workers or add a larger node",
        ),
        ({}, [], "resources: a worker needs 1 CPU, but the cluster has no node; let one join"),
    ],
)
def test_what_does_not_fit_is_said_with_a_way_out(asked: dict[str, Any], nodes: list[Node], lacking: str) -> None:
    found = capacity(wanting(**asked), nodes)
    assert (found.crews, found.at_once) == (0, 0)
    assert found.lacking == lacking


@pytest.mark.parametrize(
    ("asked", "parts"),
    [
        ({"gpus_per_worker": 1.5}, ["whole number", "1.5"]),
        ({"gpus_per_worker": 0.00001}, ["at least 0.0001"]),
        ({"custom": {"x": 0.00001}}, ["x must be at least 0.0001"]),
        ({"custom": {"GPU": 1.0}}, ["gpus_per_worker"]),
        ({"workers": 2, "gpus_per_worker": 0.5}, ["2 workers", "0.5", "NCCL", "a part packs trials of one worker"]),
    ],
)
def test_what_ray_could_not_give_is_refused(asked: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(ValidationError) as caught:
        wanting(**asked)
    for part in parts:
        assert part in str(caught.value)
