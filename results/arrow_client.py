"""pyarrow's own clients of S3 and Google Cloud Storage, behind the interface of fsspec: no package more."""

from __future__ import annotations

import contextlib
import datetime
import os
from typing import Any, final

from fsspec.implementations.arrow import ArrowFSWrapper


@final
class ArrowClient(ArrowFSWrapper):
    """The wrapper that fsspec has, with fewer requests: each takes tens of milliseconds."""

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        """Return the bytes of a file, read in one piece."""
        if start is not None or end is not None:
            return super().cat_file(path, start, end, **kwargs)
        # As a stream, S3 would send a file in pieces of 256 kB, one request each; and Google's client, asked for a part
        # of a file, waits two minutes before it asks the server.
        streamed = self.fs.type_name == "gcs"
        with self.fs.open_input_stream(path) if streamed else self.fs.open_input_file(path) as file:
            return file.read()

    def ls(self, path: str, detail: bool = False, **kwargs: Any) -> list[Any]:  # noqa: ARG002
        """Return what lies right inside; nothing where there is no such folder."""
        from pyarrow.fs import FileSelector

        # Google's client does not tell of folders that nobody has made: they are seen from what lies in them.
        by_files = self.fs.type_name == "gcs"
        infos = self.fs.get_file_info(FileSelector(path, recursive=by_files, allow_not_found=True))
        entries = [self._make_entry(info) for info in infos]
        if by_files:
            entries = _right_inside(path, entries)
        return entries if detail else [entry["name"] for entry in entries]

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Do nothing: an object store has no folders, and objects that stand for them would never go away."""

    def mkdir(self, path: str, create_parents: bool = True, **kwargs: Any) -> None:
        """Do nothing."""

    def rm(self, path: str, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Remove a file, or, if ``recursive``, all that lies below; what isn't there is gone already."""
        # Google's client takes a folder's files away, and then misses an object for the folder, which nobody made.
        with contextlib.suppress(FileNotFoundError):
            super().rm(path, recursive=recursive, maxdepth=maxdepth)


def _right_inside(path: str, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the entries right inside of ``path``, of which ``entries`` are all that lie below."""
    found: dict[str, dict[str, Any]] = {}
    for entry in entries:
        own, deeper, _ = entry["name"].removeprefix(f"{path.rstrip('/')}/").partition("/")
        name = f"{path.rstrip('/')}/{own}"
        found[name] = {"name": name, "size": 0, "type": "directory", "mtime": None} if deeper else entry
    return list(found.values())


def s3_client(bucket: str) -> ArrowClient:
    """Return a client of S3; keys come from the environment, ~/.aws or the machine, as for Amazon's own tools."""
    from pyarrow.fs import S3FileSystem, resolve_s3_region

    options: dict[str, Any] = {}
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        scheme, _, host = endpoint.rpartition("://")
        options |= {"endpoint_override": host.rstrip("/"), "scheme": scheme or "https"}
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if region:
        options["region"] = region
    elif not endpoint:
        with contextlib.suppress(OSError):  # told by the first request, better than here
            options["region"] = resolve_s3_region(bucket)
    # Small files are put whole, in one request, and a failure is told where it happened.
    client = S3FileSystem(background_writes=False, allow_delayed_open=True, **options)
    return ArrowClient(client, skip_instance_cache=True)


def gcs_client() -> ArrowClient:
    """Return a client of Google Cloud Storage; credentials are found as for Google's own tools."""
    from pyarrow.fs import GcsFileSystem

    options: dict[str, Any] = {}
    emulator = os.environ.get("STORAGE_EMULATOR_HOST")
    if emulator:
        scheme, _, host = emulator.rpartition("://")
        options = {"endpoint_override": host.rstrip("/"), "scheme": scheme or "http", "anonymous": True}
    # Its own patience is 15 minutes, during which nothing could be said.
    client = GcsFileSystem(retry_time_limit=datetime.timedelta(seconds=5), **options)
    return ArrowClient(client, skip_instance_cache=True)
