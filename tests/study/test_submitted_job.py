"""A study as a job of a real cluster of one head node: packaged, refused without the token, run, read, stopped."""

import contextlib
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from typer.testing import CliRunner, Result

from results import ResultStore
from study.cli import app

from .head_node import Head, head_node
from .studies import Study

SENTINEL = "sentinel-4711"
DEADLINE_SECONDS = 400.0
CELLS = {"batch_sizes": [2, 4], "learning_rates": [0.25, 0.5], "outcome": "value_at_budget"}


@pytest.fixture
def head() -> Iterator[Head]:
    with head_node(cpus=2) as node:
        yield node


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_API_KEY", SENTINEL)
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:1")  # Ray would prefer it to the address that it is given


def batchlaw(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@contextlib.contextmanager
def following(*words: object) -> Iterator["subprocess.Popen[str]"]:
    """Run ``batchlaw`` in a process of its own, as a user would who waits for it."""
    program = [sys.executable, "-c", "from study.cli import main; main()", *map(str, words)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


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


def test_a_study_is_submitted_followed_read_and_stopped(
    head: Head, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    # Trials of the second seed wait for a reader, so the study is held in its middle; each job takes one processor.
    settings = {"announce_seed": 1, "pipe": str(pipe)}
    resources = {"max_concurrent": 1}
    path = study.write(resources=resources, workload_settings=settings, budget={"steps": 3}, target=None, **CELLS)
    first, second = tmp_path / "first", tmp_path / "it's $(second)"
    submit = ("submit", path, "--address", head.address, "--out")

    assert listeners(head.address) == {"127.0.0.1"}  # as Ray starts without being told

    refused = batchlaw(*submit, first)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "the cluster asks for a token; set RAY_AUTH_TOKEN" in refused.stderr
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    refused = batchlaw(*submit, first)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "the cluster refuses the token" in refused.stderr

    monkeypatch.setenv("RAY_AUTH_TOKEN", head.token)
    with following(*submit, first, "--follow") as process:
        sent = batchlaw(*submit, second)
        assert sent.exit_code == 0, sent.output
        until(lambda: process.poll() is not None or (stored(first) > 0 and stored(second) > 0))
        assert process.poll() is None, process.communicate()

        status = batchlaw("status", first)
        assert status.exit_code == 0, status.output
        assert "of 8 trials stored" in status.stdout
        again = batchlaw(*submit, first)
        assert again.exit_code == 2
        assert "one job at a time may write to" in again.stderr

        rows = stored(second)
        stopped = batchlaw(*submit, second, "--stop")
        assert stopped.exit_code == 0, stopped.output
        assert "has ended (stopped)" in stopped.stdout
        assert 8 > stored(second) >= rows
        nobody = batchlaw(*submit, second, "--stop")
        assert nobody.exit_code == 2
        assert "so none can be stopped" in nobody.stderr

        with reading(pipe):
            printed, error = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 0, (printed, error)
    assert "8 trials stored in" in printed
    assert "report: " in printed
    assert stored(first) == 8

    asked = urllib.request.Request(f"{head.address}/api/jobs/", headers={"Authorization": f"Bearer {head.token}"})
    with urllib.request.urlopen(asked, timeout=30) as answer:
        jobs = answer.read().decode()
    assert jobs.count('"STOPPED"') == jobs.count('"SUCCEEDED"') == 1
    kept = [file.read_bytes().decode(errors="replace") for file in (*files(first), *files(second))]
    told = [jobs, printed, error, sent.output, stopped.output]
    for secret in (head.token, SENTINEL):
        assert not any(secret in text for text in (*told, *kept))
    # The token is in the home folder of nobody, nor is anything else.
    assert files(head.home) == files(Path(os.environ["HOME"])) == []


def listeners(address: str) -> set[str]:
    """Return the addresses on which somebody listens at the port of a URL."""
    port = urlsplit(address).port
    connections = psutil.net_connections("tcp")
    return {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN and each.laddr.port == port}


def files(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file()]
