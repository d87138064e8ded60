"""From a path or a preset's name to a checked study; every way to get it wrong is one line."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from trainers.reading import model_in

from .config import Resources, StudyConfig, Sweep
from .errors import ConfigError
from .locations import without_password
from .source import KeyPath, Source, parse_yaml, read_yaml


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadedStudy:
    """A checked study and the text it came from, for the errors that only a workload can find."""

    config: StudyConfig
    source: Source

    @property
    def folder(self) -> Path:
        """The folder from which a relative workload path counts."""
        return Path(self.source.path).resolve().parent / (self.config.workload_folder or "")

    def error(self, sweep: int, key: str, problem: str) -> ConfigError:
        """Return the error for ``key`` of the sweep number ``sweep``, placed where the user wrote it."""
        return self.source.error(_as_written(("sweeps", sweep, key), self.source), problem)


def presets() -> dict[str, Path]:
    """Return the studies that come with the package, by name."""
    folder = Path(str(resources.files("study") / "presets"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_study(name_or_path: str) -> Path:
    """Return the file of a study given as a path or as a preset's name.

    Raises:
        ConfigError: there is neither.
    """
    if "://" in name_or_path:
        raise ConfigError(f"{name_or_path}: a study is a file of this machine; copy it here, --out may be a URL")
    path = Path(name_or_path)
    if path.is_file():
        return path
    known = presets()
    if name_or_path in known:
        return known[name_or_path]
    if path.is_dir():
        raise ConfigError(f"{path}: a study is a YAML file, but this is a folder")
    close = difflib.get_close_matches(name_or_path, known, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise ConfigError(f"{path}: no such file, and no preset; {hint}presets: {', '.join(known)}")


def load_study(path: Path) -> LoadedStudy:
    """Read, merge and check a study.

    ``defaults`` stand in for what a sweep leaves out; a key that a sweep gives replaces the default as a whole.

    Raises:
        ConfigError: file, line, key path, what is wrong and what is allowed, for the first problem.
    """
    return _checked(read_yaml(path))


def parse_study(data: bytes, path: Path | str) -> LoadedStudy:
    """Return what ``load_study`` would, of a file whose bytes are ``data``."""
    return _checked(parse_yaml(data, path))


def _checked(source: Source) -> LoadedStudy:
    values = dict(source.values)
    defaults, sweeps = values.pop("defaults", {}), values.get("sweeps")
    if not isinstance(defaults, Mapping):
        raise source.error(("defaults",), f"must be a mapping, but got {_shown(defaults)}")
    if "name" in defaults:
        raise source.error(("defaults", "name"), "a sweep has its own name, which no default can give")
    if isinstance(sweeps, list):
        values["sweeps"] = [{**defaults, **sweep} if isinstance(sweep, Mapping) else sweep for sweep in sweeps]
    try:
        config = StudyConfig.model_validate(values)
    except ValidationError as error:
        raise _explain(error, source, values) from None
    return LoadedStudy(config=config, source=source)


def resolved_yaml(config: StudyConfig) -> str:
    """Return the study as YAML with every default written out; ``load_study`` reads it back as it was."""
    values = config.model_dump(mode="python")
    if values["workload_folder"] is None:
        del values["workload_folder"]
    for sweep in values["sweeps"]:
        sweep["budget"] = {key: value for key, value in sweep["budget"].items() if value is not None}
        if sweep["probes"] is None:
            del sweep["probes"]
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _explain(error: ValidationError, source: Source, values: Mapping[str, Any]) -> ConfigError:
    problems = error.errors(include_url=False)
    # A misspelt key is also a missing one: name the cause.
    first = next((problem for problem in problems if problem["type"] == "extra_forbidden"), problems[0])
    where = _without_tags(first["loc"], values)
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return source.error(_as_written(where, source), _problem(dict(first), where) + more)


def _problem(problem: Mapping[str, Any], where: KeyPath) -> str:
    allowed = sorted(_fields_at(where[:-1]))
    if problem["type"] in ("extra_forbidden", "invalid_key"):
        close = difflib.get_close_matches(str(where[-1]), allowed, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        return f"unknown key; {hint}allowed: {', '.join(allowed)}"
    if problem["type"] == "missing":
        return "is required"
    message = (
        problem["msg"].removeprefix("Value error, ").removeprefix("Input ").replace(" after validation, not 0", "")
    )
    if where[-1:] == ("name",) and problem["type"] == "string_pattern_mismatch":
        message = "must be letters, digits, '.', '_' and '-', and not start with '.'"
    message = f"{message[:1].lower()}{message[1:]}"
    # A rule of ours that says the value itself, or as much of it as is no secret.
    told = problem["type"] == "value_error" and (" but " in message or where[-1:] == ("storage_path",))
    return message if told else f"{message}, but got {_shown(problem['input'])}"


def _shown(value: object) -> str:
    text = without_password(repr(value))
    return text if len(text) <= 60 else f"{text[:57]}..."


def _without_tags(location: KeyPath, values: Any) -> KeyPath:
    """Drop from a pydantic location the names of union members, which the user never wrote."""
    where: list[str | int] = []
    for position, part in enumerate(location):
        inside = (isinstance(values, Mapping) and part in values) or (
            isinstance(values, list) and isinstance(part, int) and part < len(values)
        )
        if inside:
            where.append(part)
            values = values[part]
        elif position == len(location) - 1 and isinstance(values, Mapping):  # a missing key
            where.append(part)
    return tuple(where)


def _as_written(where: KeyPath, source: Source) -> KeyPath:
    """Point at ``defaults`` where the sweep itself does not give the key."""
    if (
        len(where) >= 3
        and where[0] == "sweeps"
        and where[:3] not in source.lines
        and ("defaults", where[2]) in source.lines
    ):
        return ("defaults", *where[2:])
    return where


def _fields_at(where: KeyPath) -> list[str]:
    """Return the keys that the model at ``where`` allows."""
    model: type[BaseModel] = StudyConfig
    for part in where:
        if part == "sweeps":
            model = Sweep
        elif part == "resources":
            model = Resources
        elif isinstance(part, str) and part in model.model_fields:
            model = model_in(model.model_fields[part].annotation) or model
    names = list(model.model_fields)
    return [*names, "defaults"] if model is StudyConfig else names
