"""A study that was packaged with the code it needs: what the package says of itself, and where its files lie here.

A package is a folder with our packages and ``submitted_study``, which holds the study, its files and ``packaged.json``.
Every machine of a cluster unpacks its own copy, each perhaps elsewhere.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path

from .errors import ConfigError

STUDY_FOLDER = "submitted_study"
PACKAGED_FILE = "packaged.json"
ROOT = Path(__file__).resolve().parents[1]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Packaged:
    """What a package says of itself."""

    version: str
    """``code_version()`` where it was packaged."""
    code: str
    """``code_digest()`` there."""
    folder: str
    """The folder there from which relative workload paths start."""
    out: str
    """Where the results go."""
    any_versions: bool
    """Whether it may run with other packages, and other code, than there."""
    pins: Mapping[str, str]
    """Versions there of the packages that decide numbers, by name."""

    def to_json(self) -> str:
        """Return what ``read_packaged`` reads."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"


def read_packaged(folder: Path) -> Packaged:
    """Return what the package says whose study lies in ``folder``.

    Raises:
        ConfigError: the folder holds none.
    """
    path = folder / PACKAGED_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        text = {name: str(values[name]) for name in ("version", "code", "folder", "out")}
        pins = {str(name): str(version) for name, version in values["pins"].items()}
        return Packaged(**text, any_versions=values["any_versions"] is True, pins=pins)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path}: must be what 'batchlaw submit' writes beside a packaged study, but can't be read "
            f"({type(error).__name__}); submit the study again"
        ) from None


@functools.cache
def packaged() -> Packaged | None:
    """Return what the package says that the running code is part of; None where it was installed."""
    folder = ROOT / STUDY_FOLDER
    return read_packaged(folder) if (folder / PACKAGED_FILE).is_file() else None


def travelling(location: str, *, root: Path = ROOT) -> str:
    """Return where a workload's code is, as another machine with a copy of the package under ``root`` understands it.

    What lies outside the package, and names that are no paths, stay as they are.
    """
    return location.removeprefix(f"{root}/") if location.startswith(f"{root}/{STUDY_FOLDER}/") else location


def arrived(location: str, *, root: Path = ROOT) -> str:
    """Undo ``travelling``, for this machine's own copy of the package under ``root``."""
    return f"{root}/{location}" if location.startswith(f"{STUDY_FOLDER}/") else location
