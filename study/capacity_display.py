"""What a cluster has, and how much of a study fits on it: a table and a line of text."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from .capacity import GIB, Capacity, Node, amount
from .resources import Resources
from .terminal import plain_table, text_row

_OF_RAY = ("CPU", "GPU", "memory", "object_store_memory")


def node_table(nodes: Sequence[Node], found: Capacity) -> Table:
    """Return the nodes with what they have, and how many of the study's workers each could hold."""
    numbers = ("CPU", "GPU", "memory", "workers")
    table = plain_table("node", "CPU", "GPU", "memory", "custom", "workers", right=numbers)
    for column in table.columns:
        column.no_wrap = str(column.header) in numbers
        column.overflow = "fold"  # names are long on a cluster, and are shown whole
    for node, workers in zip(nodes, found.workers, strict=True):
        # Ray gives each node a resource of its own, to place things there by address.
        custom = (
            amount(name, n) for name, n in sorted(node.has.items()) if name not in _OF_RAY and name[:5] != "node:"
        )
        memory = node.has.get("memory", 0.0) / GIB
        counts = (f"{node.has.get(name, 0):g}" for name in ("CPU", "GPU"))
        table.add_row(*text_row(node.name, *counts, f"{memory:.4g} GiB", ", ".join(custom), workers))
    return table


def at_once(resources: Resources, places: int) -> str:
    """Return how many trials run at a time in words: 4 workers; 3 crews of 2 workers."""
    group = resources.workers or 1
    if group == 1:
        return "1 worker" if places == 1 else f"{places} workers"
    return f"{'1 crew' if places == 1 else f'{places} crews'} of {group} workers"


def room_in_words(resources: Resources, found: Capacity) -> str:
    """Return what runs at a time, and what bounds it."""
    bound = f" (resources.max_concurrent; {found.crews} fit)" if found.at_once < found.crews else ""
    return f"{at_once(resources, found.at_once)} at a time{bound}"
