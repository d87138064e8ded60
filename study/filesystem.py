"""The file system of a place of results, for checkpoints: workers write them, and to the driver they are no results."""

from __future__ import annotations

from typing import Any

import fsspec

from results.arrow_client import gcs_client, s3_client


def open_filesystem(place: str) -> tuple[Any, str]:
    """Return the fsspec file system of a whole path or a URL, and its path there."""
    protocol, separator, path = place.partition("://")
    if not separator:
        # Taken as it is: fsspec would read some characters of a path, such as "::", as its own.
        return fsspec.filesystem("file"), place
    path = path.rstrip("/")
    if protocol in ("s3", "s3a"):
        return s3_client(path.partition("/")[0]), path
    if protocol in ("gs", "gcs"):
        return gcs_client(), path
    fs, root = fsspec.core.url_to_fs(place)
    return fs, root.rstrip("/")
