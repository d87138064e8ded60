"""Nothing that a script started outlives it or the worker that asked for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trainers import guard

psutil = pytest.importorskip("psutil")

STARTS_A_CHILD = """
import subprocess, sys, time
session, after, pipe = sys.argv[1] == "session", float(sys.argv[2]), sys.argv[3]
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=session)
open(pipe, "w").write(str(child.pid))
time.sleep(after)
"""
"""Tells the child's number and ends after some seconds. A session of its own is what torchrun gives its workers."""
STARTS_A_GUARD = """
import subprocess, sys, time
guard = subprocess.Popen([sys.executable, "-IS", *sys.argv[1:]], stdin=subprocess.PIPE)
time.sleep(600)
"""


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def command(pipe: Path, *, kind: str, after: float) -> list[str]:
    return [guard.__file__, sys.executable, "-c", STARTS_A_CHILD, kind, str(after), str(pipe)]


def living(processes: list[Any]) -> list[Any]:
    _, alive = psutil.wait_procs(processes, timeout=30)
    return [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("kind", ["group", "session"])
def test_nothing_of_a_script_outlives_a_worker_that_is_killed(pipe: Path, kind: str) -> None:
    with subprocess.Popen([sys.executable, "-c", STARTS_A_GUARD, *command(pipe, kind=kind, after=600)]) as worker:
        child = psutil.Process(int(pipe.read_text()))
        family = [*psutil.Process(worker.pid).children(recursive=True)]
        assert child in family
        worker.send_signal(signal.SIGKILL)
        alive = living(family)
    assert alive == []


@pytest.mark.parametrize("kind", ["group", "session"])
def test_nothing_that_a_script_left_running_outlives_it(pipe: Path, kind: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-IS", *command(pipe, kind=kind, after=0)], stdin=subprocess.PIPE
    ) as process:
        child = int(pipe.read_text())
        assert process.wait(30) == 0
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_what_a_command_says_last_is_printed_and_its_status_handed_on() -> None:
    code = "import sys; print('x' * 1_000_000); print('end'); sys.exit(7)"
    run = [sys.executable, "-IS", guard.__file__, sys.executable, "-c", code]
    with subprocess.Popen(run, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        assert process.wait(30) == 7
    assert len(said) == guard.KEPT_BYTES
    assert said.endswith(b"xx\nend\n")
