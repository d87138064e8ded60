"""One run at a time in a folder of results."""

import errno
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from study.errors import ConfigError
from study.lease import CLAIMS
from study.lock import LOCK_FILE, is_shared, locked

REPOSITORY = Path(__file__).resolve().parents[2]

HOLD = """
import sys
from pathlib import Path
from study.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(folder: Path) -> "subprocess.Popen[str]":
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_a_second_run_is_told_who_holds_the_folder_and_a_dead_one_holds_nothing(tmp_path: Path) -> None:
    holder = hold(tmp_path)
    with pytest.raises(ConfigError) as refused, locked(tmp_path):
        pass
    assert f"process {holder.pid} on {socket.gethostname()}" in str(refused.value)
    assert str(tmp_path) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert (tmp_path / LOCK_FILE).exists()  # the refused one leaves the other's lock alone

    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert (tmp_path / LOCK_FILE).exists()
    with locked(tmp_path):
        assert (tmp_path / LOCK_FILE).read_text() == f"process {os.getpid()} on {socket.gethostname()}"
    assert list(tmp_path.iterdir()) == []


def test_one_process_is_refused_as_well(tmp_path: Path) -> None:
    with locked(tmp_path):
        with pytest.raises(ConfigError, match="one run at a time"), locked(tmp_path):
            pass
        with locked(tmp_path / "other"):
            pass
    with locked(tmp_path):
        pass


def test_a_folder_in_which_nothing_was_written_is_gone_afterwards(tmp_path: Path) -> None:
    with locked(tmp_path / "a" / "b"):
        pass
    assert not (tmp_path / "a" / "b").exists()
    with locked(tmp_path / "c"):
        (tmp_path / "c" / "row").write_text("x")
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["row"]


def test_a_lock_that_was_removed_meanwhile_guards_nothing_and_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open
    calls = []

    def open_then_lose(path: Path, *arguments: int) -> int:
        descriptor = opened(path, *arguments)
        calls.append(path)
        if len(calls) == 1:  # the holder before us ends between our opening and our locking
            os.unlink(path)
        return descriptor

    monkeypatch.setattr("study.lock.os.open", open_then_lose)
    with locked(tmp_path):
        assert len(calls) == 2
        with pytest.raises(ConfigError), locked(tmp_path):
            pass


def test_where_there_are_no_locks_or_each_machine_has_its_own_a_claim_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    for broken in ("study.lock.fcntl.flock", "study.lock.is_shared"):
        with monkeypatch.context() as patched:
            patched.setattr(broken, refuse if broken.endswith("flock") else lambda _: True)
            with locked(tmp_path) as check:
                assert len(list((tmp_path / CLAIMS).iterdir())) == 1
                check()
                with pytest.raises(ConfigError, match=f"but process {os.getpid()} on"), locked(tmp_path):
                    pass
        assert list(tmp_path.iterdir()) == []


MOUNTS = r"""
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 22 0:40 / /shared rw shared:1 - nfs4 server:/export rw
31 22 0:41 / /with\040space rw - fuse.sshfs host:/ rw
32 30 8:2 / /shared/scratch rw - xfs /dev/sdb1 rw
33 22 0:42 / /sharedness rw - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    ("folder", "shared"),
    [
        ("/", False),
        ("/home/me", False),
        ("/shared", True),
        ("/shared/me/results", True),
        ("/with space/results", True),
        ("/shared/scratch/results", False),
        ("/sharedness", False),
    ],
)
def test_file_systems_that_machines_share_are_known_by_their_kind(folder: str, shared: bool, tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_text(MOUNTS.lstrip())
    assert is_shared(Path(folder), tmp_path / "mountinfo") is shared
    assert is_shared(Path(folder), tmp_path / "nothing") is False
