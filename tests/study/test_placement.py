"""Placement groups that nobody frees: which are orphans, and which belong to a crew that has yet to say so."""

from __future__ import annotations

from study.placement import PlacementGroups


class Cluster:
    """A cluster's placement groups."""

    def __init__(self, *names: str) -> None:
        self.there = list(names)
        self.groups = PlacementGroups(existing=lambda: list(self.there), remove=self.there.remove)


def test_what_a_crew_claimed_is_freed_when_it_ends_and_nothing_else() -> None:
    cluster = Cluster("a", "b")
    cluster.groups.claimed("one", "a")
    cluster.groups.claimed("two", "b")
    cluster.groups.crew_ended("one", alive=["two"])
    assert cluster.there == ["b"]


def test_what_ray_train_freed_itself_is_not_freed_again() -> None:
    cluster = Cluster("a")
    cluster.groups.claimed("one", "a")
    cluster.there.clear()
    cluster.groups.crew_ended("one", alive=[])  # remove would raise


def test_a_group_that_nobody_claimed_is_freed_once_nobody_can_claim_it() -> None:
    cluster = Cluster("dead", "young")
    cluster.groups.crew_ended("one", alive=["two"])  # both groups were made, and none was claimed
    assert cluster.there == ["dead", "young"]
    cluster.there.append("new")  # of a crew that came later
    cluster.groups.claimed("two", "young")
    assert cluster.there == ["young", "new"]


def test_a_group_of_a_crew_that_never_claims_it_is_freed_when_that_ends() -> None:
    cluster = Cluster("dead", "other")
    cluster.groups.crew_ended("one", alive=["two", "three"])
    cluster.groups.claimed("three", "other")
    assert cluster.there == ["dead", "other"]
    cluster.groups.crew_ended("two", alive=["three"])
    assert cluster.there == ["other"]


def test_alone_nobody_else_can_claim_it() -> None:
    cluster = Cluster("dead")
    cluster.groups.crew_ended("one", alive=[])
    assert cluster.there == []
