"""YAML as plain values only, and never more of them than a file honestly holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from .errors import TableError

MOST_VALUES = 100_000
"""In one document, each alias counted with all that it stands for, and long texts for every 100 characters."""
_LONG_TEXT = 100


def count_values(node: yaml.Node | None) -> int:
    """Return how many values a document has once every alias is written out.

    A few lines of aliases of aliases can stand for billions of values: small while read, and without end for whatever
    walks through them.

    Raises:
        YAMLError: an alias contains itself.
    """
    counts: dict[int, int] = {}
    waiting = [] if node is None else [(node, False)]
    open_nodes: set[int] = set()
    while waiting:
        current, done = waiting.pop()
        if done:
            open_nodes.discard(id(current))
            own = 1 + (len(current.value) // _LONG_TEXT if isinstance(current, yaml.ScalarNode) else 0)
            counts[id(current)] = own + sum(counts[id(child)] for child in _children(current))
        elif id(current) in open_nodes:
            raise yaml.YAMLError("an alias must not contain itself")
        elif id(current) not in counts:
            open_nodes.add(id(current))
            waiting.append((current, True))
            waiting += [(child, False) for child in _children(current)]
    return 0 if node is None else counts[id(node)]


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def read_plain_yaml(path: Path) -> Any:
    """Return the values of a file of one YAML document.

    Raises:
        TableError: it is none, or stands for more than ``MOST_VALUES`` values.
        OSError: the file system refused.
    """
    return parse_plain_yaml(path.read_bytes(), path)


def parse_plain_yaml(data: bytes, path: Path | str) -> Any:
    """Return what ``read_plain_yaml`` would, of a file whose bytes are ``data``."""
    try:
        loader = yaml.SafeLoader(data.decode("utf-8"))
        try:
            node = loader.get_single_node()
            count = count_values(node)
            if count <= MOST_VALUES:
                return None if node is None else loader.construct_document(node)
            problem = f"at most {MOST_VALUES:,} values are read, but its aliases stand for {count:,}"
        finally:
            loader.dispose()
    except RecursionError:
        problem = "its values lie too deep in each other"
    except (yaml.YAMLError, ValueError) as error:  # a ValueError: no UTF-8, or a tag that its text doesn't fit
        problem = " ".join(str(error).split())[:200]
    raise TableError(f"{path}: can't be read: {problem}; mend it or take it away")
