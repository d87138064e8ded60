"""A Ray cluster of several nodes on this machine, whose nodes and processes can be killed; nothing of it stays.

The nodes belong to a child process (``keeper``); this one only sends it commands, looks at processes and kills them.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import psutil

from trainers.data.fetch import cache_folder

from .processes import free_port, kill_tree, processes_with, wait_for

REPOSITORY = Path(__file__).resolve().parents[2]
DESK = "DeskActor"
COORDINATOR = "_AutoscalingCoordinatorActor"
"""Ray Train's, one for the cluster's whole life, without resources of its own."""
NOT_INHERITED = ("RAY_", "PYTEST_", "CI", "GITHUB_")
"""Variables of the tests' own process by which the cluster, or a library that keeps still in tests, would differ."""
RAYS_OWN = ("ray::IDLE", "ray::DashboardAgent", "ray::RuntimeEnvAgent", f"ray::{COORDINATOR}")
OF_LIBRARIES = re.compile(r"ray|pymp-.*|torchinductor_.*|tmp.*wandb-(artifacts|media)")
"""What Ray, multiprocessing, torch and W&B make in the temporary folder on import; the last when it is killed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Node:
    """A machine of the cluster, as far as Ray can tell."""

    node_id: str
    raylet: int
    """Process id. All that runs on the node but its object store's clients is below it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Actor:
    """A living process of a job on the cluster."""

    class_name: str
    pid: int
    node_id: str


class Nodes:
    """A head and any number of further nodes. Use it in a ``with`` statement.

    Attributes:
        address: for ``--address``.
        dashboard: URL of the dashboard with its job server, on the loopback interface; None where there is none.
        environment: for processes that use the cluster: token, scratch home, scratch temporary folder, our packages.
        home: the home folder of all processes; stays empty where nobody writes to it.
        temporary: their temporary folder; holds ``ray``, the cluster's own, and what drivers leave.
        head: the node that the cluster lives and dies with.
    """

    def __init__(
        self, *, head_cpus: int = 1, dashboard: bool = False, head_environment: Mapping[str, str] | None = None
    ) -> None:
        """Start the head. A Unix socket's path is short, so the folder lies in /tmp, whatever TMPDIR says."""
        self._root = Path(tempfile.mkdtemp(prefix="nodes-", dir="/tmp"))
        self.home, self.temporary = self._root / "home", self._root / "tmp"
        self.home.mkdir()
        self.temporary.mkdir()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(NOT_INHERITED)},
            "BATCHLAW_CACHE": str(cache_folder()),  # data may be read from where they are
            "HOME": str(self.home),
            "OMP_NUM_THREADS": "1",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",  # a job's python is the first one there
            "PYTHONPATH": str(REPOSITORY),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "TMPDIR": str(self.temporary),
        }
        port = free_port() if dashboard else None
        self.dashboard = None if port is None else f"http://127.0.0.1:{port}"
        self._turn = threading.Lock()
        self._nodes: dict[str, Node] = {}
        settings = json.dumps({"temp_dir": str(self.temporary / "ray"), "dashboard_port": port})
        with open(self._root / "keeper.log", "w") as log:
            self._keeper = subprocess.Popen(
                [sys.executable, "-m", "tests.cluster.keeper", settings],
                cwd=REPOSITORY,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self.address = ""
        try:
            self.head = self.add_node(num_cpus=head_cpus, environment=head_environment)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- nodes --------------------------------------------------------------------------------------

    def add_node(
        self,
        *,
        num_cpus: int = 1,
        num_gpus: int = 0,
        resources: Mapping[str, float] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Node:
        """Let another node join; return when it has. ``environment`` is added to that of its processes.

        Ray believes in as many GPUs as it is told of.
        """
        answer = self._ask(
            "add",
            num_cpus=num_cpus,
            num_gpus=num_gpus,
            resources=dict(resources or {}),
            environment=dict(environment or {}),
        )
        self.address = answer["address"]
        node = Node(node_id=answer["node_id"], raylet=answer["raylet"])
        self._nodes[node.node_id] = node
        return node

    def kill_node(self, node: Node) -> None:
        """Kill all processes of ``node`` at once, as when its machine loses power."""
        del self._nodes[node.node_id]
        kill_tree(node.raylet)

    def kill_raylet(self, node: Node) -> None:
        """Kill the raylet alone; what it has started is to notice that, and to end."""
        del self._nodes[node.node_id]
        os.kill(node.raylet, signal.SIGKILL)

    def kill_actor(self, actor: Actor) -> bool:
        """Kill the process of ``actor``; return whether it was still alive."""
        own = {process.pid: process for process in self.processes()}
        if actor.pid not in own or own[actor.pid].status() == psutil.STATUS_ZOMBIE:
            return False
        own[actor.pid].kill()
        return True

    @property
    def nodes(self) -> list[Node]:
        """Return the nodes that were not killed, the head first."""
        return list(self._nodes.values())

    def known_nodes(self) -> set[str]:
        """Return the ids of the nodes that the cluster believes to be alive."""
        return set(self._ask("nodes"))

    # -- what runs ----------------------------------------------------------------------------------

    def actors(self) -> list[Actor]:
        """Return the actors that are alive, by what the cluster knows; a killed one may stand here for a moment."""
        return [Actor(**each) for each in self._ask("actors")]

    def crews(self) -> list[Actor]:
        """Return the actors that train."""
        return [actor for actor in self.actors() if actor.class_name not in (DESK, COORDINATOR)]

    def desk(self) -> Actor | None:
        """Return the process of the driver's desk, if it has one by now."""
        return next((actor for actor in self.actors() if actor.class_name == DESK), None)

    def placement_groups(self) -> dict[str, str]:
        """Return the state of every placement group that there ever was, by id."""
        return self._ask("placement_groups")

    def processes(self) -> list[psutil.Process]:
        """Return all processes of the cluster, the dead that nobody has buried too, and orphans."""
        self._ask("reap")
        return self._tree()

    def _tree(self) -> list[psutil.Process]:
        return psutil.Process(self._keeper.pid).children(recursive=True)

    def strays(self) -> list[psutil.Process]:
        """Return all processes that know the cluster's token and are not of the cluster: drivers and their children."""
        own = {self._keeper.pid, *(process.pid for process in self._tree())}
        return [
            each for each in processes_with("RAY_AUTH_TOKEN", self.environment["RAY_AUTH_TOKEN"]) if each.pid not in own
        ]

    def leftovers(self) -> list[str]:
        """Return what no driver should leave behind when it has ended, a line each; empty where all is well."""
        found = [f"actor {actor.class_name}, process {actor.pid}" for actor in self.actors()]
        found = [line for line in found if COORDINATOR not in line]
        found += [f"placement group {name}: {state}" for name, state in self.placement_groups().items()]
        found = [line for line in found if not line.endswith(": REMOVED")]
        for process in self.processes():
            try:
                title = " ".join(process.cmdline())
                if process.status() == psutil.STATUS_ZOMBIE:
                    found.append(f"zombie {process.pid}, {process.name()}")
                elif title.startswith("ray::") and not title.startswith(RAYS_OWN):
                    found.append(f"process {process.pid}, {title.strip()}")
            except psutil.NoSuchProcess:
                continue
        found += [f"process {each.pid}, {each.name()}" for each in self.strays()]
        found += [str(path) for path in self.home.rglob("*")]
        return found + [str(path) for path in self.temporary.iterdir() if not OF_LIBRARIES.fullmatch(path.name)]

    def settle(self) -> None:
        """Wait until nothing is left of the drivers that have ended.

        Raises:
            AssertionError: something stays; its text says what.
        """
        wait_for(
            lambda: not self.leftovers(), what=lambda: "\n".join(["left behind:", *self.leftovers()]), seconds=60.0
        )

    # -- the end ------------------------------------------------------------------------------------

    def close(self) -> None:
        """Kill every process and remove every file."""
        if self._keeper.poll() is None:
            for process in self.strays():
                kill_tree(process.pid)
            kill_tree(self._keeper.pid, wait=True)
        self._keeper.wait()
        for pipe in (self._keeper.stdin, self._keeper.stdout):
            if pipe is not None:
                pipe.close()
        shutil.rmtree(self._root, ignore_errors=True)

    def _ask(self, do: str, **command: Any) -> Any:
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        with self._turn:
            self._keeper.stdin.write(json.dumps({"do": do, **command}) + "\n")
            self._keeper.stdin.flush()
            line = self._keeper.stdout.readline()
        answer = json.loads(line or json.dumps({"error": "the keeper's process ended"}))
        if "error" in answer:
            raise RuntimeError(f"{do}: {answer['error']}\n{(self._root / 'keeper.log').read_text()[-2000:]}")
        return answer["answer"]
