"""Members out of every kind of archive; the Debian ones are written by hand, after deb(5)."""

import io
import lzma
import tarfile
import zipfile

import pytest

from trainers.data.archive import read_members
from trainers.errors import DataError


def tar_of(files: dict[str, bytes], mode: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def deb_of(parts: dict[str, bytes]) -> bytes:
    """An ar archive written by hand, after deb(5)."""
    content = b"!<arch>\n"
    for name, data in parts.items():
        content += (
            f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
        )
    return content


FILES = {"./a/one.txt": b"first", "./b.txt": b"second"}


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.xz", "deb.xz", "deb.gz", "deb.zst", "deb"])
def test_members_come_out_of_every_kind_of_archive_in_the_order_asked(kind, tmp_path):
    path = tmp_path / "archive"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in FILES.items():
                archive.writestr(name.removeprefix("./"), content)
    elif kind.startswith("tar"):
        path.write_bytes(tar_of(FILES, f"w:{kind[4:]}"))
    else:
        plain = tar_of(FILES, "w:")
        suffix = kind.removeprefix("deb")
        if suffix == ".zst":
            data = pytest.importorskip("zstandard").ZstdCompressor().compress(plain)
        else:
            data = {".xz": lzma.compress(plain), ".gz": tar_of(FILES, "w:gz"), "": plain}[suffix]
        parts = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", f"data.tar{suffix}": data}
        path.write_bytes(deb_of(parts))
    found = read_members(path, ["b.txt", "a/one.txt"])
    assert list(found.items()) == [("b.txt", b"second"), ("a/one.txt", b"first")]
    with pytest.raises(DataError, match=r"must hold c\.txt, but does not"):
        read_members(path, ["c.txt"])


def test_a_file_that_is_no_archive_is_named(tmp_path):
    path = tmp_path / "page.html"
    path.write_bytes(b"<html>sign in</html>")
    with pytest.raises(DataError, match=r"page\.html must be a zip, tar or Debian archive"):
        read_members(path, ["a"])
