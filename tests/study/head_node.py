"""One head node of Ray with its job server, in token mode, in processes and folders of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

START_SECONDS = 120.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Head:
    """A running head node."""

    address: str
    """URL of its job server."""
    token: str
    home: Path
    log: Path


@contextlib.contextmanager
def head_node(*, cpus: int) -> Iterator[Head]:
    """Start a head node and stop it with all of its processes."""
    token = secrets.token_hex(32)
    port, dashboard, agent = _free_ports(3)
    with tempfile.TemporaryDirectory(prefix="head-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        home, log = Path(folder) / "home", Path(folder) / "log"
        home.mkdir()
        options = {
            "port": port,
            "node-ip-address": "127.0.0.1",
            "dashboard-port": dashboard,
            "dashboard-agent-listen-port": agent,
            "num-cpus": cpus,
            "object-store-memory": 80_000_000,
            "temp-dir": f"{folder}/ray",
        }
        arguments = [f"--{name}={value}" for name, value in options.items()]
        with log.open("w") as output:
            node = subprocess.Popen(
                [Path(sys.executable).with_name("ray"), "start", "--head", "--block", *arguments],
                env=_environment(home, token),
                cwd=home,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            address = f"http://127.0.0.1:{dashboard}"
            _wait_for(address, node, log)
            yield Head(address=address, token=token, home=home, log=log)
        finally:
            node.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                node.wait(20)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(node.pid, signal.SIGKILL)
            node.wait()


def _environment(home: Path, token: str) -> Mapping[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "PYTHONPATH"))}
    return {
        **kept,
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",  # a job's python is the first one there
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": token,
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def _wait_for(address: str, node: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert node.poll() is None, log.read_text()
        with (
            contextlib.suppress(OSError, ValueError),
            urllib.request.urlopen(f"{address}/api/authentication_mode", timeout=5) as answer,
        ):
            assert json.load(answer)["authentication_mode"] == "token"
            return
        time.sleep(0.1)
    raise AssertionError(f"the job server did not come up: {log.read_text()}")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
