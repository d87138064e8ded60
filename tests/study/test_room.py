"""Nodes that join and leave while a study runs, without Ray."""

from __future__ import annotations

import dataclasses

import pytest

from study.capacity import Node
from study.errors import ConfigError
from study.resources import Resources
from study.room import READ_SECONDS, Room


@dataclasses.dataclass
class Machines:
    """A cluster whose nodes and whose clock the test sets."""

    cpus: list[int]
    now: float = 100.0
    readings: int = 0
    told: list[str] = dataclasses.field(default_factory=list)

    def nodes(self) -> list[Node]:
        self.readings += 1
        return [Node(name=f"node-{i}", has={"CPU": cpus}) for i, cpus in enumerate(self.cpus)]

    def room(self, **asked: int) -> Room:
        resources = Resources.model_validate({"cpus_per_worker": 2, **asked})
        return Room(resources, self.nodes, tell=self.told.append, since=90.0, clock=lambda: self.now)

    def later(self, room: Room, *cpus: int) -> int | None:
        self.cpus = list(cpus)
        self.now += READ_SECONDS
        return room.news()


def test_places_follow_the_nodes_and_are_read_now_and_then() -> None:
    machines = Machines([4])
    room = machines.room()
    assert room.places == 2
    machines.cpus, machines.now = [4, 3], 100.0 + 0.9 * READ_SECONDS
    assert room.news() is None
    assert machines.readings == 1
    assert machines.later(room, 4, 3) == 3
    assert machines.later(room, 4) == 2
    assert (room.places, room.most) == (2, 3)
    assert machines.told == []


def test_no_place_is_told_once_for_each_time_and_waited_for() -> None:
    machines = Machines([4])
    room = machines.room()
    assert [machines.later(room, *cpus) for cpus in ([1], [1], [2], [])] == [0, 0, 1, 0]
    assert machines.told == [
        "the study waits for a node to join: resources: a worker needs 2 CPU, but no node has them: node-0 has 1 CPU; "
        "change resources, or add a node that has them",
        "the study waits for a node to join: "
        "resources: a worker needs 2 CPU, but the cluster has no node; let one join",
    ]


def test_a_study_that_fits_nowhere_does_not_begin() -> None:
    with pytest.raises(ConfigError, match="a worker needs 2 CPU, but no node has them: node-0 has 1 CPU; "):
        Machines([1]).room()


def test_the_users_bound_holds_whatever_joins() -> None:
    machines = Machines([8])
    room = machines.room(max_concurrent=3)
    assert room.places == 3
    assert machines.later(room, 8, 8) == 3
    assert machines.later(room, 4) == 2


def test_the_time_that_there_was_room_is_counted_place_by_place() -> None:
    machines = Machines([4])
    room = machines.room()
    machines.later(room, 4, 4)
    machines.now += 5.0
    # Ten seconds before the first reading, and up to the second one, two places; then four.
    assert room.place_seconds() == pytest.approx(2 * (10 + READ_SECONDS) + 4 * 5)
    assert room.place_seconds() == pytest.approx(2 * (10 + READ_SECONDS) + 4 * 5)


@dataclasses.dataclass
class Wanting:
    """As much of a dispatch as decides how many crews there are to be."""

    crews_wanted: int
    finished: bool = False
    failure: None = None


def test_without_a_crew_the_room_is_still_looked_at_and_a_signal_still_ends_the_study() -> None:
    from ray.tune.search import Searcher

    from study.sampler import Crews

    dispatch, received, machines = Wanting(0), [], Machines([4])
    room = machines.room()
    machines.later(room)

    def look() -> None:
        dispatch.crews_wanted = room.news() or room.places

    crews = Crews(dispatch, {}, look=look, ended=lambda: bool(received))  # type: ignore[arg-type]
    assert crews.suggest("a") is None
    machines.cpus = [2]
    machines.now += READ_SECONDS
    assert crews.suggest("b") == {"crew": "crew-0"}
    assert crews.suggest("c") is None
    received.append(2)
    assert crews.suggest("d") == Searcher.FINISHED
