"""The file system of a place of results, for what is no table: checkpoints, and what is known of memory."""

from __future__ import annotations

import os
from typing import Any

import fsspec


def open_filesystem(results_url: str) -> tuple[Any, str]:
    """Return the fsspec file system of a folder or URL, and its path there."""
    if is_remote(results_url):
        fs, root = fsspec.core.url_to_fs(results_url)
        return fs, root.rstrip("/")
    # Taken as it is: fsspec would read some characters of a path, such as "::", as its own.
    return fsspec.filesystem("file"), local_path(results_url)


def is_remote(results_url: str) -> bool:
    """Return whether it is no folder of this machine."""
    return "://" in results_url and not results_url.startswith("file://")


def local_path(results_url: str) -> str:
    """Return the whole path of a folder of this machine."""
    return os.path.abspath(os.path.expanduser(results_url.removeprefix("file://")))
