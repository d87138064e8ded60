"""A study can be read while it runs: at every moment of a compaction each stored trial is there, once, and whole."""

from __future__ import annotations

import io
import threading
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, final

import pandas as pd
import pytest

from results import ResultStore, Storage, open_storage

from .rows import points, row


@final
class Watched(Storage):
    """Another storage, with a call before each of its operations."""

    def __init__(self, inner: Storage, before: Callable[[], object]) -> None:
        self.inner = inner
        self.url = inner.url
        self.before = before

    @property
    def folder(self) -> Path | None:
        return self.inner.folder

    def where(self, name: str) -> str:
        return self.inner.where(name)

    def read(self, name: str) -> bytes:
        self.before()
        return self.inner.read(name)

    def write(self, name: str, data: bytes) -> None:
        self.before()
        self.inner.write(name, data)

    def remove(self, name: str) -> None:
        self.before()
        self.inner.remove(name)

    def names(self, folder: str) -> list[str]:
        self.before()
        return self.inner.names(folder)

    def is_file(self, name: str) -> bool:
        self.before()
        return self.inner.is_file(name)

    def remove_unfinished(self, folder: str) -> None:
        self.before()
        self.inner.remove_unfinished(folder)

    def filesystem(self) -> tuple[Any, str]:
        return self.inner.filesystem()

    def without_patience(self) -> Storage:
        return Watched(self.inner.without_patience(), self.before)


class Countdown:
    """Does something at one operation of many."""

    def __init__(self, moment: int, action: Callable[[], object]) -> None:
        self.count = 0
        self.moment = moment
        self.action = action

    def __call__(self) -> None:
        self.count += 1
        if self.count == self.moment:
            self.action()


@pytest.fixture(params=["folder", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    def new() -> str:
        own = uuid.uuid4().hex
        return str(tmp_path / own) if request.param == "folder" else f"memory://{own}"

    return new


def ids(numbers: Iterable[int]) -> list[str]:
    return [f"{number:016x}" for number in numbers]


def filled(place: str) -> ResultStore:
    """Three trials compacted, and three more as parts."""
    store = ResultStore(place)
    for number in range(6):
        if number == 3:
            store.compact()
        store.append(row(ids([number])[0]), points(2))
    return store


def assert_whole(store: ResultStore, least: int) -> None:
    """All of the first trials are there, once each, with their curves; nothing was skipped."""
    stored = store.read()
    found = sorted(stored.trials["trial_id"])
    assert stored.skipped == []
    assert len(found) == len(set(found))
    assert found[:least] == ids(range(least))
    assert sorted(stored.curves["trial_id"]) == sorted(found * 2)


def test_a_compaction_at_any_moment_of_a_reading_hides_nothing(place: Callable[[], str]) -> None:
    def go_on(writer: ResultStore) -> Callable[[], None]:
        def act() -> None:
            writer.compact()
            writer.append(row(ids([6])[0]), points(2))
            writer.compact()

        return act

    moment = 0
    while True:
        moment += 1
        writer = filled(place())
        countdown = Countdown(moment, go_on(writer))
        assert_whole(ResultStore(Watched(open_storage(writer.url), countdown)), 6)
        if countdown.count < moment:
            break  # no more moments in a reading
    assert moment > 8


def test_a_reading_at_any_moment_of_a_compaction_misses_nothing(place: Callable[[], str]) -> None:
    url = place()
    filled(url)
    readings: list[int] = []

    def look() -> None:
        readings.append(1)
        assert_whole(ResultStore(url), 6)

    assert ResultStore(Watched(open_storage(url), look)).compact() == 3
    assert len(readings) > 8
    assert_whole(ResultStore(url), 6)


def test_tables_that_are_joined_while_they_are_read_are_read_again(place: Callable[[], str]) -> None:
    moment = 0
    while True:
        moment += 1
        writer = filled(place())
        writer.compact()
        storage = writer.storage

        def join(storage: Storage = storage) -> None:
            for table in ("curves", "probes", "trials"):
                names = [f"compacted/{k:06d}-{table}.parquet" for k in (0, 1)]
                whole = pd.concat([pd.read_parquet(io.BytesIO(storage.read(name))) for name in names])
                storage.write(f"compacted/000002-{table}.parquet", whole.to_parquet(index=False))
            storage.remove_each(
                f"compacted/{k:06d}-{t}.parquet" for k in (0, 1) for t in ("trials", "curves", "probes")
            )

        countdown = Countdown(moment, join)
        assert_whole(ResultStore(Watched(open_storage(writer.url), countdown)), 6)
        if countdown.count < moment:
            break
    assert moment > 6


def test_a_file_that_can_never_be_read_ends_the_reading(tmp_path: Path) -> None:
    filled(str(tmp_path)).compact()
    (tmp_path / "compacted" / "000001-trials.parquet").unlink()
    (tmp_path / "compacted" / "000001-trials.parquet").symlink_to("nowhere")
    stored = ResultStore(tmp_path).read()
    assert sorted(stored.trials["trial_id"]) == ids(range(3))
    assert [Path(file.path).name for file in stored.skipped] == ["000001-trials.parquet"]


def test_readers_beside_a_writer_that_compacts_all_the_time(place: Callable[[], str]) -> None:
    """Threads this time, in whatever order they come: what was stored before a reading began is in it."""
    url = place()
    writer = ResultStore(url)
    stored = [0]
    wrong: list[BaseException] = []
    done = threading.Event()

    def read_on() -> None:
        try:
            while not done.is_set():
                assert_whole(ResultStore(url), stored[0])
        except BaseException as error:
            wrong.append(error)

    readers = [threading.Thread(target=read_on) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for number in range(60):
            writer.append(row(ids([number])[0]), points(2))
            stored[0] = number + 1
            if number % 4 == 3:
                writer.compact()
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert wrong == []
    assert_whole(ResultStore(url), 60)


def test_nothing_is_written_that_the_guard_refuses(place: Callable[[], str]) -> None:
    store = filled(place())

    def refuse() -> None:
        raise OSError("another run took over")

    store.before_writing = refuse
    for act in (lambda: store.append(row("f" * 16)), store.compact, lambda: store.write_text("x", "y")):
        with pytest.raises(OSError, match="took over"):
            act()
    assert not store.storage.is_file("x")
    assert_whole(ResultStore(store.url), 6)
    assert len(ResultStore(store.url).trials()) == 6
