"""Placement groups that outlive their crew: Ray Train's are freed by its controller, which may have been killed.

Such a group holds its part of the cluster until the whole Ray job ends, so that no other crew fits. Ray does not tell
whose a group is. Worker 0 tells the desk; a group that no crew claimed is an orphan once every crew that was there
when another one ended has claimed its own, or has ended too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable


class PlacementGroups:
    """The placement groups of a study's crews."""

    def __init__(self, *, existing: Callable[[], Iterable[str]], remove: Callable[[str], None]) -> None:
        """Know of none yet.

        Args:
            existing: the ids, in hexadecimal, of all groups that crews of this study may have made and that hold
                something.
            remove: frees one.
        """
        self._existing, self._remove = existing, remove
        self._claimed: dict[str, str] = {}
        self._suspects: list[tuple[set[str], set[str]]] = []

    def claimed(self, crew: str, group: str) -> None:
        """Take note that ``group`` is that of ``crew``."""
        if group:
            self._claimed[crew] = group
        self._settle(crew)

    def crew_ended(self, crew: str, *, alive: Iterable[str]) -> None:
        """Free what ``crew`` left behind; ``alive`` are the other crews."""
        own = self._claimed.pop(crew, "")
        left = set(self._existing())
        if own in left:
            self._remove(own)
        suspects = left - {own} - set(self._claimed.values())
        if suspects:
            self._suspects.append(({name for name in alive if name not in self._claimed}, suspects))
        self._settle(crew)

    def _settle(self, crew: str) -> None:
        """Free what nobody can claim any more, now that ``crew`` has claimed its group or ended."""
        waiting = []
        for unknown, suspects in self._suspects:
            unknown.discard(crew)
            suspects -= set(self._claimed.values())
            if unknown:
                waiting.append((unknown, suspects))
                continue
            for group in suspects & set(self._existing()):
                self._remove(group)
        self._suspects = waiting


def groups_of_this_job(bundle: dict[str, float], count: int) -> PlacementGroups:
    """Return the groups of this Ray job that have ``count`` bundles of ``bundle``."""
    import ray
    from ray._raylet import PlacementGroupID
    from ray.util.placement_group import PlacementGroup, placement_group_table, remove_placement_group

    job = ray.get_runtime_context().get_job_id()

    def existing() -> list[str]:
        return [
            name
            for name, group in placement_group_table().items()
            if group["state"] != "REMOVED"
            and name.endswith(job)
            and list(group["bundles"].values()) == [bundle] * count
        ]

    def remove(name: str) -> None:
        remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(name))))

    return PlacementGroups(existing=existing, remove=remove)
