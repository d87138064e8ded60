"""Read files straight out of an archive: wheel or zip, tar of any compression, Debian package."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from ..errors import DataError

_AR_MAGIC = b"!<arch>\n"
_AR_HEADER_BYTES = 60


def read_members(path: Path, members: Sequence[str]) -> dict[str, bytes]:
    """Return the contents of ``members`` in their order, in one pass over the archive.

    Args:
        path: The archive; its first bytes decide the format, not its name.
        members: Paths inside it, without a leading ``./``.

    Raises:
        DataError: The format is unknown or a member is missing.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            found = {name: archive.read(name) for name in archive.namelist() if name in set(members)}
    else:
        with path.open("rb") as file:
            is_debian = file.read(len(_AR_MAGIC)) == _AR_MAGIC
        data = _debian_data(path) if is_debian else path.read_bytes()
        found = _read_tar(data, set(members), path)
    if missing := [member for member in members if member not in found]:
        raise DataError(f"{path.name} must hold {', '.join(missing)}, but does not; delete it to fetch it again.")
    return {member: found[member] for member in members}


def _read_tar(data: bytes, members: set[str], path: Path) -> dict[str, bytes]:
    found = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:*") as archive:
            for entry in archive:
                name = entry.name.removeprefix("./")
                if name in members and (file := archive.extractfile(entry)) is not None:
                    found[name] = file.read()
    except tarfile.TarError as error:
        raise DataError(f"{path.name} must be a zip, tar or Debian archive, but {error}.") from error
    return found


def _debian_data(path: Path) -> bytes:
    """Return the data.tar of a Debian package, still compressed unless by zstandard.

    A Debian package is an ar archive: after the magic, a header of 60 bytes before each entry, with its name in the
    first 16 and its size in decimal at 48 to 58; entries start at even offsets (deb(5), ar(5)).
    """
    content = path.read_bytes()
    offset = len(_AR_MAGIC)
    while offset + _AR_HEADER_BYTES <= len(content):
        header = content[offset : offset + _AR_HEADER_BYTES]
        name = header[:16].decode("ascii").strip().rstrip("/")
        size = int(header[48:58])
        start = offset + _AR_HEADER_BYTES
        if name.startswith("data.tar"):
            data = content[start : start + size]
            return _unpack_zstandard(data, path) if name.endswith(".zst") else data
        offset = start + size + size % 2
    raise DataError(f"{path.name} must hold a data.tar, but does not; delete it to fetch it again.")


def _unpack_zstandard(data: bytes, path: Path) -> bytes:
    try:
        import zstandard  # only newer Debian packages need it
    except ImportError:
        raise DataError(f"{path.name} is compressed by zstandard: pip install zstandard.") from None
    with zstandard.ZstdDecompressor().stream_reader(data) as reader:
        return bytes(reader.read())
