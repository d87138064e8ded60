"""What every storage promises, kept by a folder, by memory, and by real clients of S3 and Google Cloud Storage."""

from __future__ import annotations

import errno
import os
import uuid
from pathlib import Path

import pytest

from results import ResultStore, Storage, StorageError, StorageFailure, open_storage
from results.object_storage import ObjectStorage
from results.patience import Patience

from .object_server import LARGEST_LIST, ObjectServer
from .rows import points, row

BRIEF = Patience(total_seconds=60.0, first_pause_seconds=0.01, longest_pause_seconds=0.01)


@pytest.fixture
def storage(url: str) -> Storage:
    return open_storage(url)


def test_what_is_written_is_read_listed_and_removed(storage: Storage) -> None:
    assert storage.names("parts") == []
    assert not storage.is_file("parts/a.json")
    names = [f"{k}.json" for k in range(2 * LARGEST_LIST)] + ["ä b%20#?'&<.json"]
    for name in names:
        storage.write(f"parts/{name}", name.encode())
    storage.write("parts/deeper/x.json", b"not right inside")
    storage.write("partsof/x.json", b"elsewhere")
    storage.write("study.yaml", b"")
    assert storage.names("parts") == sorted(names)
    assert storage.names("nothing") == []
    assert [storage.read(f"parts/{name}") for name in names] == [name.encode() for name in names]
    assert [*storage.read_each(f"parts/{name}" for name in names)] == [name.encode() for name in names]
    assert storage.read("study.yaml") == b""
    assert storage.is_file("study.yaml")
    assert not storage.is_file("parts")

    storage.write("study.yaml", b"new")
    assert storage.read("study.yaml") == b"new"
    storage.remove("study.yaml")
    storage.remove("study.yaml")  # gone already
    assert not storage.is_file("study.yaml")
    storage.remove_each(f"parts/{name}" for name in names[1:])
    assert storage.names("parts") == ["0.json"]
    assert storage.without_patience().read("parts/0.json") == b"0.json"


def test_a_file_that_is_not_there_is_named(storage: Storage) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        storage.read("parts/none.json")
    assert caught.value.filename == storage.where("parts/none.json")
    assert str(storage) in storage.where("parts/none.json")
    storage.write("parts/there.json", b"x")
    found = list(storage.read_each(["parts/there.json", "parts/none.json"]))
    assert found[0] == b"x"
    assert isinstance(found[1], FileNotFoundError)


def test_large_files_are_whole(storage: Storage) -> None:
    data = bytes(range(256)) * 80_000  # 20 MB: several pieces for every client
    storage.write("compacted/0.parquet", data)
    assert storage.read("compacted/0.parquet") == data


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a/../../x", "a//x", "./x", "a/", "a\0b", "..", "a\\b"])
def test_no_name_leads_out(name: str, storage: Storage) -> None:
    for act in (storage.read, storage.remove, storage.is_file, storage.where):
        with pytest.raises(ValueError, match="inside a storage"):
            act(name)
    with pytest.raises(ValueError, match="inside a storage"):
        storage.write(name, b"")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://key:secret@bucket/a", "s3://…@bucket/a: keys and options belong into the environment"),
        ("s3://bucket/a?access_key=k&secret_key=s", "s3://bucket/a: keys and options belong into the environment"),
        ("gs://bucket/a#b", "gs://bucket/a: keys"),
        ("s3://bucket/../other", "without empty parts"),
        ("s3://bucket//a", "without empty parts"),
        ("s3://", "without empty parts"),
        ("simplecache::s3://bucket/a", "one URL"),
        ("zip://x::s3://bucket/a", "one URL"),
        ("nothing://bucket/a", "no storage is known by nothing://"),
        ("a\0b", "NUL"),
    ],
)
def test_what_can_not_be_a_place_is_one_line(url: str, said: str) -> None:
    with pytest.raises(StorageError) as caught:
        open_storage(url)
    assert said in str(caught.value)
    assert "secret@" not in str(caught.value)
    assert "secret_key=s" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_path_is_a_folder_however_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for place in ("a", Path("a"), str(tmp_path / "a"), (tmp_path / "a").as_uri()):
        storage = open_storage(place)
        storage.write("x", b"1")
        assert (tmp_path / "a" / "x").read_bytes() == b"1"
        (tmp_path / "a" / "x").unlink()
    open_storage("~/b").write("x", b"2")
    assert (tmp_path / "home" / "b" / "x").read_bytes() == b"2"
    assert open_storage("a").folder == Path("a")
    assert open_storage("memory://a").folder is None
    same = open_storage("a")
    assert open_storage(same) is same


def test_files_of_a_folder_are_as_readable_as_any_other(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        open_storage(tmp_path).write("study.yaml", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "study.yaml").stat().st_mode & 0o777 == 0o644


def test_what_killed_writers_left_is_not_listed_and_taken_away(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    storage.write("parts/a.json", b"x")
    (tmp_path / "parts" / ".b.json.4711.tmp").write_bytes(b"half")
    (tmp_path / "parts" / f".c.json.{os.getpid()}.tmp").write_bytes(b"half, of our number")
    assert storage.names("parts") == ["a.json"]
    storage.write("parts/c.json", b"y")
    storage.remove_unfinished("parts")
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == ["a.json", "c.json"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_a_folder_that_refuses_says_so_at_once_and_keeps_the_old_file(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = open_storage(tmp_path)
    storage.write("study.yaml", b"old")

    def refuse(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))  # as the system raises it: without a file name

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        storage.write("study.yaml", b"new")
    assert caught.value.filename == str(tmp_path / "study.yaml")
    assert [path.name for path in tmp_path.iterdir()] == ["study.yaml"]
    assert storage.read("study.yaml") == b"old"


@pytest.mark.parametrize(("kind", "status"), [("s3", 0), ("s3", 500), ("s3", 503), ("gcs", 503)])
def test_trouble_that_passes_is_waited_out(kind: str, status: int, request: pytest.FixtureRequest) -> None:
    server: ObjectServer = request.getfixturevalue(kind)
    storage = ObjectStorage.at(f"{'s3' if kind == 's3' else 'gs'}://bucket/troubled-{status}", patience=BRIEF)
    asked: list[str] = []

    def fail_the_first_of_each_kind(method: str, path: str) -> int | None:
        asked.append(method)
        return status if asked.count(method) == 1 else None

    server.fault = fail_the_first_of_each_kind
    storage.write("parts/a.json", b"x")
    asked.clear()
    assert storage.read("parts/a.json") == b"x"
    asked.clear()
    assert storage.names("parts") == ["a.json"]
    asked.clear()
    assert storage.is_file("parts/a.json")
    asked.clear()
    storage.remove("parts/a.json")
    server.fault = lambda method, path: None
    assert storage.names("parts") == []


@pytest.mark.parametrize(("kind", "url"), [("s3", "s3://bucket/forbidden"), ("gcs", "gs://bucket/forbidden")])
def test_a_place_that_is_forbidden_is_told_at_once(kind: str, url: str, request: pytest.FixtureRequest) -> None:
    server: ObjectServer = request.getfixturevalue(kind)
    server.fault = lambda method, path: 403
    storage = open_storage(url)
    server.requests.clear()
    with pytest.raises(OSError, match=r"ACCESS_DENIED|PERMISSION_DENIED") as caught:
        storage.write("study.yaml", b"x")
    assert caught.value.filename == f"{url}/study.yaml"
    assert "\n" not in str(caught.value)
    with pytest.raises(OSError, match=r"ACCESS_DENIED|PERMISSION_DENIED"):
        storage.names("parts")
    with pytest.raises(OSError, match=r"ACCESS_DENIED|PERMISSION_DENIED"):
        storage.is_file("study.yaml")
    with pytest.raises(OSError, match=r"ACCESS_DENIED|PERMISSION_DENIED"):
        list(storage.read_each(["parts/a.json", "parts/b.json"]))
    assert len(server.requests) <= 5


@pytest.mark.parametrize(("kind", "url"), [("s3", "s3://other/a"), ("gcs", "gs://other/a")])
def test_a_bucket_that_is_not_there_is_named(kind: str, url: str, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(kind)
    with pytest.raises(OSError, match=r"NO_SUCH_BUCKET|no such bucket") as caught:
        open_storage(url).write("study.yaml", b"x")
    assert str(caught.value.filename).startswith(url)


def test_a_write_in_several_pieces_that_fails_leaves_nothing(s3: ObjectServer) -> None:
    storage = ObjectStorage.at("s3://bucket/torn", patience=Patience(total_seconds=0.0))
    storage.write("study.yaml", b"x")
    put: list[str] = []

    def refuse_the_second_piece(method: str, path: str) -> int | None:
        put.append(method) if method == "PUT" else None
        return 403 if method == "PUT" and len(put) > 1 else None

    s3.fault = refuse_the_second_piece
    with pytest.raises(OSError, match="ACCESS_DENIED"):
        storage.write("compacted/0.parquet", bytes(20_000_000))
    s3.fault = lambda method, path: None
    assert len(put) > 1
    assert storage.names("compacted") == []
    assert not storage.is_file("compacted/0.parquet")


def test_what_never_answered_is_given_up_sooner(s3: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("results.object_storage._FIRST_CONTACT_SECONDS", 0.0)
    s3.fault = lambda method, path: 503
    storage = ObjectStorage.at("s3://bucket/new", patience=Patience(total_seconds=3600.0))
    with pytest.raises(OSError, match="SLOW_DOWN"):
        storage.names("parts")


def test_trouble_that_lasts_for_seconds_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Troubled:
        left = 6

        def cat_file(self, path: str) -> bytes:
            self.left -= 1
            if self.left >= 0:
                raise OSError("slow down?X-Amz-Signature=abc")
            return b"x"

    slept: list[float] = []
    monkeypatch.setitem(Patience.persist.__kwdefaults__, "sleep", slept.append)
    monkeypatch.setattr("results.object_storage._FIRST_CONTACT_SECONDS", 600.0)
    told: list[tuple[str, int]] = []
    storage = ObjectStorage("s3://b/a", "b/a", Troubled)
    storage.when_waiting = lambda words: told.append((words, len(slept)))
    assert storage.read("x") == b"x"
    assert told == [("s3://b/a: slow down?X-Amz-Signature=…; it is tried again for up to 10 min", 3)]


def test_the_names_of_an_error_hold_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        def cat_file(self, path: str) -> bytes:
            raise OSError("GET https://b/a?X-Amz-Signature=abc123&X-Amz-Credential=KEY/x&part=7 refused\nmore")

    storage = ObjectStorage("s3://b/a", "b/a", Refusing, patience=Patience(total_seconds=0.0))
    with pytest.raises(OSError, match="refused") as caught:
        storage.read("x")
    assert caught.value.strerror == "GET https://b/a?X-Amz-Signature=…&X-Amz-Credential=…&part=7 refused more"


@pytest.mark.parametrize("file", ["parts", "compacted", "trials.parquet", "curves.parquet", ".json"])
def test_what_an_object_store_does_not_give_is_never_taken_for_missing(
    file: str, s3: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else trials that are stored would be run again."""
    store = ResultStore(f"s3://bucket/{uuid.uuid4().hex}")
    for number in range(2):
        store.append(row(f"{number:016x}"), points(1))
        if number == 0:
            store.compact()
    s3.fault = lambda method, path: 403 if file in path else None
    if file in ("parts", "compacted"):  # a list, whose prefix is not in the path
        names = type(store.storage).names

        def refuse(self: Storage, folder: str) -> list[str]:
            s3.fault = lambda method, path: 403 if folder == file else None
            return names(self, folder)

        monkeypatch.setattr(type(store.storage), "names", refuse)
    for read in (store.read, store.trials, ResultStore(store.storage).trial_ids):
        with pytest.raises(StorageFailure, match="ACCESS_DENIED"):
            read()


def test_the_file_system_behind_a_place_keeps_what_checkpoints_need(storage: Storage) -> None:
    storage.write("study.yaml", b"x")
    fs, root = storage.filesystem()
    assert fs.cat_file(f"{root}/study.yaml") == b"x"
    folder = f"{root}/checkpoints/{'a' * 16}"
    for name in ("000000000001-aaaaaaaa", "000000000002-bbbbbbbb"):
        fs.makedirs(f"{folder}/{name}", exist_ok=True)
        fs.makedirs(f"{folder}/{name}", exist_ok=True)
        for file in ("common.safetensors", "manifest.json"):
            fs.pipe_file(f"{folder}/{name}/{file}", name.encode())
    fs.invalidate_cache(folder)
    found = sorted(path.rstrip("/").rpartition("/")[2] for path in fs.ls(folder, detail=False))
    assert found == ["000000000001-aaaaaaaa", "000000000002-bbbbbbbb"]
    assert storage.read(f"checkpoints/{'a' * 16}/{found[0]}/manifest.json") == found[0].encode()
    assert fs.exists(f"{folder}/{found[0]}/manifest.json")
    assert not fs.exists(f"{folder}/{found[0]}/rank-0.safetensors")
    fs.rm(f"{folder}/{found[0]}", recursive=True)
    assert not fs.exists(f"{folder}/{found[0]}/manifest.json")
    assert fs.cat_file(f"{folder}/{found[1]}/manifest.json") == found[1].encode()
    with pytest.raises(FileNotFoundError):
        fs.cat_file(f"{folder}/{found[0]}/manifest.json")


def test_the_file_system_of_an_object_store_waits_trouble_out(s3: ObjectServer) -> None:
    fs, root = ObjectStorage.at(f"s3://bucket/{uuid.uuid4().hex}", patience=BRIEF).filesystem()
    asked: list[str] = []

    def fail_the_first_of_each_kind(method: str, path: str) -> int | None:
        asked.append(method)
        return 503 if asked.count(method) < 5 else None  # more often than pyarrow tries itself

    s3.fault = fail_the_first_of_each_kind
    fs.pipe_file(f"{root}/manifest.json", b"x")
    asked.clear()
    assert fs.cat_file(f"{root}/manifest.json") == b"x"
    s3.fault = lambda method, path: 403
    with pytest.raises(OSError, match="ACCESS_DENIED"):
        fs.pipe_file(f"{root}/manifest.json", b"y")
