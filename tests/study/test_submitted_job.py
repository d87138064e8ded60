"""A study as a job of a real cluster of one head node: packaged, refused without the token, run, read, stopped."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from results import ResultStore

from .head_node import Head, head_node
from .studies import Study

CLI = "from study.cli import main; main()"
SENTINEL = "sentinel-4711"
DEADLINE_SECONDS = 120.0
CELLS = {"batch_sizes": [2, 4], "learning_rates": [0.25, 0.5], "outcome": "value_at_budget"}


@pytest.fixture
def head() -> Iterator[Head]:
    with head_node(cpus=1) as node:
        yield node


class Client:
    """``batchlaw submit`` in a process of its own, as a user would call it."""

    def __init__(self, head: Head, study: Path, folder: Path) -> None:
        self.head, self.study, self.folder = head, study, folder

    def start(self, *options: object, token: str | None = None, **more: str) -> subprocess.Popen[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        secret = {} if token is None else {"RAY_AUTH_TOKEN": token}
        words = [sys.executable, "-c", CLI, "submit", self.study, "--address", self.head.address, *options]
        return subprocess.Popen(
            [str(word) for word in words],
            env={**kept, "WANDB_API_KEY": SENTINEL, "RAY_ADDRESS": "http://127.0.0.1:1", **secret, **more},
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *options: object, token: str | None = None) -> tuple[int, str, str]:
        with self.start(*options, token=token) as process:
            out, err = process.communicate(timeout=DEADLINE_SECONDS)
            return process.returncode, out, err


def until(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@contextlib.contextmanager
def reading(pipe: Path) -> Iterator[None]:
    """Let trials pass that wait for a reader of the pipe."""
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        yield
    finally:
        os.close(reader)


def stored(folder: Path) -> int:
    return len(ResultStore(folder).trials()) if folder.exists() else 0


def test_a_study_is_submitted_followed_read_and_stopped(head: Head, study: Study, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    # Trials of the second seed wait for a reader, so the study is held in its middle.
    settings = {"announce_seed": 1, "pipe": str(pipe)}
    path = study.write(name="sent", workload_settings=settings, seeds=[0, 1], budget={"steps": 3}, target=None, **CELLS)
    client = Client(head, path, tmp_path)
    begun = time.monotonic()

    def mark(what: str) -> None:
        print(f"{time.monotonic() - begun:6.1f} {what}", flush=True)

    out, other = tmp_path / "out", tmp_path / "it's $(other)"

    code, printed, error = client.run("--out", out)
    assert (code, printed) == (2, "")
    assert "the cluster asks for a token; set RAY_AUTH_TOKEN" in error
    code, printed, error = client.run("--out", out, token="0" * 64)
    assert (code, printed) == (2, "")
    assert "the cluster refuses the token" in error
    assert not out.exists()
    mark("refused")

    with client.start("--out", out, "--follow", token=head.token) as process:
        until(lambda: stored(out) > 0 or process.poll() is not None)
        mark("row")
        assert process.poll() is None, process.communicate()
        status = subprocess.run([sys.executable, "-c", CLI, "status", out], capture_output=True, text=True, check=True)
        assert "of 8 trials stored" in status.stdout
        mark("status")
        with reading(pipe):
            printed, error = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 0, (printed, error)
    mark("followed")
    assert "8 trials stored in" in printed
    assert "report: " in printed
    assert len(ResultStore(out).trials()) == 8
    followed = printed

    code, printed, error = client.run("--out", other, token=head.token)
    assert code == 0, error
    until(lambda: stored(other) > 0)
    mark("second")
    code, _, error = client.run("--out", other, token=head.token)
    assert code == 2
    assert "one job at a time may write to" in error
    mark("already")
    rows = stored(other)
    code, printed, error = client.run("--out", other, "--stop", token=head.token)
    assert code == 0, error
    assert "has ended (stopped)" in printed
    mark("stopped")
    assert stored(other) >= rows
    code, _, error = client.run("--out", other, "--stop", token=head.token)
    assert code == 2
    assert "so none can be stopped" in error

    jobs = requests.get(f"{head.address}/api/jobs/", headers={"Authorization": f"Bearer {head.token}"}, timeout=30).text
    assert '"STOPPED"' in jobs
    assert '"SUCCEEDED"' in jobs
    told = [jobs, followed, printed, error, *(each.read_bytes().decode(errors="replace") for each in files(out))]
    for secret in (head.token, SENTINEL):
        assert not any(secret in text for text in told)


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
