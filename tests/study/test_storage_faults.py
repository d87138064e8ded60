"""What befalls a storage while a study runs: it ends in one line, earlier rows stay, and the same command goes on."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from results import ResultStore, open_storage
from results.folder_storage import FolderStorage
from results.object_storage import ObjectStorage
from results.patience import Patience
from study.lease import CLAIMS, Lease

from ..results.conftest import s3, s3_server
from ..results.object_server import ObjectServer
from .at_once import run_at_once
from .studies import Study
from .test_cli import Result, assert_one_line, batchlaw

__all__ = ["s3", "s3_server"]

REPOSITORY = Path(__file__).resolve().parents[2]
TRIALS = 8


@pytest.fixture
def path(study: Study, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study whose trials end at once."""
    monkeypatch.setattr("study.launch.run_missing", run_at_once)
    return study.write()


def run(path: Path, out: object) -> Result:
    return batchlaw("run", path, "--out", out, "--no-report", "--quiet")


def assert_ended(result: Result, *parts: str) -> None:
    """One line says why; what was printed before said what was to be done."""
    assert result.exit_code == 2, result.output
    assert len(result.stderr.splitlines()) == 1, result.stderr
    for part in parts:
        assert part in result.stderr


def assert_complete(path: Path, out: object, reference: Path) -> None:
    """The same command goes on, and in the end all is as if nothing had happened."""
    result = run(path, out)
    assert result.exit_code == 0, result.output
    stored, undisturbed = (ResultStore(str(place)).read() for place in (out, reference))
    assert stored.skipped == []
    for found, expected in ((stored.trials, undisturbed.trials), (stored.curves, undisturbed.curves)):
        by = ["trial_id"] if len(found) == TRIALS else ["trial_id", "step", "name"]
        both = (table.drop(columns="started_at", errors="ignore") for table in (found, expected))
        pd.testing.assert_frame_equal(*(table.sort_values(by, ignore_index=True) for table in both))


@pytest.fixture
def reference(path: Path, tmp_path: Path) -> Path:
    """Where the study ran undisturbed."""
    result = run(path, tmp_path / "undisturbed")
    assert result.exit_code == 0, result.output
    return tmp_path / "undisturbed"


WRITES = 1 + TRIALS + 3
"""The resolved study, a part a trial, and the tables of the compaction."""


@pytest.mark.parametrize(
    ("moment", "number", "said"),
    [
        (0, errno.ENOSPC, "the disk is full"),
        (4, errno.ENOSPC, "the disk is full"),
        (TRIALS + 1, errno.ENOSPC, "the disk is full"),
        (WRITES - 1, errno.ENOSPC, "the disk is full"),
        (1, errno.EROFS, "must be readable and writable for you, but: Read-only file system; choose another folder"),
        (TRIALS, errno.EIO, "Input/output error"),
    ],
)
def test_a_folder_that_fails_at_any_write(
    moment: int, number: int, said: str, path: Path, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[str] = []
    write = FolderStorage.write

    def fail(self: FolderStorage, name: str, data: bytes) -> None:
        writes.append(name)
        if len(writes) > moment:
            raise OSError(number, os.strerror(number), self.where(name))
        write(self, name, data)

    out = tmp_path / "out"
    with monkeypatch.context() as broken:
        broken.setattr(FolderStorage, "write", fail)
        assert_ended(run(path, out), str(out), said)
    assert len(writes) == moment + 1  # the first failure is the last attempt
    assert len(ResultStore(out).trials()) == max(0, min(moment - 1, TRIALS))
    assert_complete(path, out, reference)


NAMESPACE = """
import sys
from unittest import mock
from pathlib import Path
from tests.study.at_once import run_at_once
from tests.study.test_storage_faults import mount, run
path, out = sys.argv[1:]
Path(out).mkdir()
mount("-t", "tmpfs", "-o", "size=28k", "tmpfs", out)
with mock.patch("study.launch.run_missing", run_at_once):
    for options in (None, "size=20m,ro", "size=20m,rw"):
        if options:
            mount("-o", f"remount,{options}", out)
        result = run(path, out)
        print(result.exit_code, len([*Path(out).glob("parts/*.json")]), "|", result.stderr.strip())
"""


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def can_mount() -> bool:
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return shutil.which("unshare") is not None and subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="needs the right to mount a file system in a namespace of its own")
def test_a_real_disk_that_is_full_and_then_read_only_and_then_mended(path: Path, tmp_path: Path) -> None:
    command = ["unshare", "--mount", sys.executable, "-c", NAMESPACE, str(path), str(tmp_path / "disk")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    full, read_only, mended = (line.partition(" | ") for line in done.stdout.splitlines())
    code, stored = map(int, full[0].split())
    assert code == 2
    assert 0 < stored < TRIALS
    assert full[2].startswith(f"batchlaw: {tmp_path / 'disk'}/parts/")
    assert "the disk is full" in full[2]
    assert read_only[0] == f"2 {stored}"
    assert "Read-only file system" in read_only[2]
    assert mended[0] == "0 0"  # all of them in tables


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Waiting out trouble, so many seconds instead of ten minutes."""

    def choose(seconds: float) -> None:
        patience = Patience(total_seconds=seconds, first_pause_seconds=0.001, longest_pause_seconds=0.01)
        monkeypatch.setitem(ObjectStorage.at.__func__.__kwdefaults__, "patience", patience)  # type: ignore[attr-defined]

    return choose


def test_an_object_store_that_resets_and_refuses_now_and_then_loses_nothing(
    path: Path, reference: Path, s3: ObjectServer, hasty: Callable[[float], None]
) -> None:
    hasty(30.0)
    count = 0

    def fault(method: str, name: str) -> int | None:
        nonlocal count
        count += 1
        return 0 if count % 5 == 0 else 503 if count % 7 == 0 else None

    s3.fault = fault
    out = f"s3://bucket/{uuid.uuid4().hex}/bowls"
    result = run(path, out)
    assert result.exit_code == 0, result.output
    s3.fault = lambda method, name: None
    assert_complete(path, out, reference)


def test_an_object_store_that_is_slow_is_waited_for(path: Path, s3: ObjectServer, reference: Path) -> None:
    arrived, released = threading.Event(), threading.Event()

    def fault(method: str, name: str) -> None:
        if method == "PUT" and "parts/" in name:
            arrived.set()
            assert released.wait(60)

    s3.fault = fault  # type: ignore[assignment]
    out = f"s3://bucket/{uuid.uuid4().hex}/bowls"
    results: list[Result] = []
    running = threading.Thread(target=lambda: results.append(run(path, out)))
    running.start()
    assert arrived.wait(60)
    assert results == []
    released.set()
    running.join()
    assert results[0].exit_code == 0, results[0].output
    assert_complete(path, out, reference)


@pytest.mark.parametrize("status", [0, 503, 403])
def test_an_object_store_that_stays_out_of_order_ends_the_study(
    status: int, path: Path, reference: Path, s3: ObjectServer, hasty: Callable[[float], None]
) -> None:
    hasty(0.05)
    stored: set[str] = set()

    def fault(method: str, name: str) -> int | None:
        if method == "PUT" and "parts/" in name:
            stored.add(name)
        return status if len(stored) > 3 else None

    s3.fault = fault
    out = f"s3://bucket/{uuid.uuid4().hex}/bowls"
    assert_ended(run(path, out), f"{out}/parts/")
    s3.fault = lambda method, name: None
    assert len(ResultStore(out).trials()) == 3
    # The claim could not be taken away, but its holder is this process, which lives: as if it had been killed.
    open_storage(out).remove_each([f"{CLAIMS}/{name}" for name in open_storage(out).names(CLAIMS)])
    assert_complete(path, out, reference)


def test_a_run_of_which_another_took_the_place_stops(
    path: Path, reference: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = f"memory://{uuid.uuid4().hex}/bowls"
    storage = open_storage(out)
    now = [0.0]

    def lose(number: int) -> None:
        if number == 3:
            now[0] += 100.0
            storage.remove_each([f"{CLAIMS}/{name}" for name in storage.names(CLAIMS)])

    with monkeypatch.context() as asleep:
        asleep.setattr("study.lock.Lease", functools.partial(Lease, clock=lambda: now[0]))
        asleep.setattr("study.launch.run_missing", functools.partial(run_at_once, before_each=lose))
        assert_ended(run(path, out), f"{out}: another process took over while this one was away; this one stops")
    assert len(ResultStore(out).trials()) == 3
    assert_complete(path, out, reference)


def test_a_second_run_is_told_who_writes_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = f"memory://{uuid.uuid4().hex}/bowls"
    second: list[Result] = []

    def ask(number: int) -> None:
        if number == 3:
            second.append(run(path, out))

    monkeypatch.setattr("study.launch.run_missing", functools.partial(run_at_once, before_each=ask))
    first = run(path, out)
    assert first.exit_code == 0, first.output
    assert_one_line(second[0], f"{out}: one run at a time may write there, but process {os.getpid()} on", "--out")


@contextlib.contextmanager
def jumping_clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each look at the time of day finds it a day later or earlier than it should be."""
    true, looks = time.time, [0]

    def jump() -> float:
        looks[0] += 1
        return true() + (86400.0 if looks[0] % 2 else -86400.0)

    with monkeypatch.context() as broken:
        broken.setattr("time.time", jump)
        yield


@pytest.mark.parametrize("kind", ["folder", "memory"])
def test_a_clock_that_jumps_changes_nothing(
    kind: str, path: Path, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out" if kind == "folder" else f"memory://{uuid.uuid4().hex}/bowls"
    with jumping_clock(monkeypatch):
        assert_complete(path, out, reference)


@pytest.mark.parametrize("position", [5, 200, -3])
def test_a_damaged_part_is_named_and_its_trial_runs_again(
    position: int, path: Path, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def stop(number: int) -> None:
        if number == 5:
            raise OSError(errno.EIO, "stopped", str(out))

    with monkeypatch.context() as stopping:
        stopping.setattr("study.launch.run_missing", functools.partial(run_at_once, before_each=stop))
        assert_ended(run(path, out), "stopped")
    parts = sorted((out / "parts").iterdir())
    assert len(parts) == 5
    data = bytearray(parts[2].read_bytes())
    data[position] ^= 0x10
    parts[2].write_bytes(bytes(data))
    result = run(path, out)
    assert result.exit_code == 0
    assert result.stderr.count("\n") == 1
    assert f"{parts[2]}: not read: " in result.stderr
    assert f"{TRIALS - 4} of {TRIALS} trials to run" in result.stdout
    assert_complete(path, out, reference)
