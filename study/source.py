"""Reading YAML so that every later error can name the file, the line and the key."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from analysis.plain_yaml import MOST_VALUES, count_values

from .errors import ConfigError, first_line

KeyPath = tuple[str | int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """A YAML file as plain values, with the line of each key."""

    path: Path | str
    """As errors name it: of this machine, or the URL of a stored study."""
    values: Mapping[str, Any]
    lines: Mapping[KeyPath, int]

    def error(self, where: KeyPath, problem: str) -> ConfigError:
        """Return the error ``file:line: key.path: problem``; the line is that of the nearest known key."""
        known = next((where[:n] for n in range(len(where), 0, -1) if where[:n] in self.lines), None)
        line = "" if known is None else f":{self.lines[known]}"
        place = f"{show(where)}: " if where else ""
        return ConfigError(f"{self.path}{line}: {place}{problem}")


def show(where: KeyPath) -> str:
    """Return a key path as a user writes it, such as ``sweeps[0].budget.steps``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where)
    return text.removeprefix(".")


def read_yaml(path: Path) -> Source:
    """Read one YAML document whose top is a mapping.

    Raises:
        ConfigError: the file is missing, is no YAML, has a key twice, or is no mapping.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from None
    return parse_yaml(data, path)


def parse_yaml(data: bytes, path: Path | str) -> Source:
    """Return what ``read_yaml`` would, of a file whose bytes are ``data``."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: a study is a UTF-8 text file, but byte {error.start} is not UTF-8") from None
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        lines: dict[KeyPath, int] = {}
        if node is not None:
            _collect_lines(node, (), lines, path=path, open_nodes=(), seen=set())
        count = count_values(node)
        if count > MOST_VALUES:
            raise ConfigError(f"{path}: a study is at most {MOST_VALUES:,} values, but its aliases stand for {count:,}")
        values = None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise ConfigError(f"{path}{where}: not readable as YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not readable as YAML: {str(error).splitlines()[0]}") from None
    except RecursionError:
        raise ConfigError(f"{path}: not readable as YAML: its values lie too deep in each other") from None
    except ConfigError:
        raise
    except ValueError as error:  # a tag that its text doesn't fit, such as !!int with a word
        raise ConfigError(f"{path}: not readable as YAML: {first_line(error)}") from None
    finally:
        if loader is not None:
            loader.dispose()
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: a study is a mapping that starts with 'name:', but got {type(values).__name__}")
    return Source(path=path, values=values, lines=lines)


class _Loader(yaml.SafeLoader):
    """Safe loading with numbers as people write them (1e-3 is a number) and no dates."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d[\d_]*)(\.[\d_]*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def _collect_lines(
    node: yaml.Node,
    where: KeyPath,
    lines: dict[KeyPath, int],
    *,
    path: Path | str,
    open_nodes: tuple[yaml.Node, ...],
    seen: set[int],
) -> None:
    """Record the line of every key; refuse keys given twice and aliases that contain themselves."""
    if any(node is outer for outer in open_nodes):
        raise ConfigError(f"{path}:{node.start_mark.line + 1}: an alias must not contain itself")
    if id(node) in seen:  # an alias: its lines are known from the anchor
        return
    seen.add(id(node))
    children: list[tuple[Hashable, int, yaml.Node]] = []
    if isinstance(node, yaml.MappingNode):
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                line = key.start_mark.line + 1
                raise ConfigError(f"{path}:{line}: a key must be text or a number, but got a {key.id}")
        children = [(key.value, key.start_mark.line + 1, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        children = [(index, value.start_mark.line + 1, value) for index, value in enumerate(node.value)]
    names = set()
    for key, line, child in children:
        if key in names:
            raise ConfigError(f"{path}:{line}: {show((*where, key))}: given twice")  # type: ignore[arg-type]
        names.add(key)
        place: KeyPath = (*where, key)  # type: ignore[arg-type]
        lines[place] = line
        _collect_lines(child, place, lines, path=path, open_nodes=(*open_nodes, node), seen=seen)
