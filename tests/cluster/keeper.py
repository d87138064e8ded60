"""A process that owns the nodes of a Ray cluster: the tests' own process never imports Ray.

It reads commands from its standard input and answers each with one line of JSON. It is the adoptive parent of
whatever the cluster leaves behind, so nothing that a node has started can hide, and it ends with its input.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from typing import Any

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
OBJECT_STORE_BYTES = 80 * 10**6
JOIN_SECONDS = 120.0
QUICK_HEALTH_CHECKS = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 5000,
    "health_check_failure_threshold": 3,
}


class Keeper:
    """Starts nodes, and tells what the cluster knows of itself."""

    def __init__(self, *, temp_dir: str, dashboard_port: int | None) -> None:
        from ray.cluster_utils import Cluster

        self._cluster = Cluster()
        self._temp_dir = temp_dir
        self._dashboard_port = dashboard_port
        self._children: set[int] = set()

    def add(
        self, *, num_cpus: int, num_gpus: int, resources: dict[str, float], environment: dict[str, str]
    ) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "num_cpus": num_cpus,
            "num_gpus": num_gpus,
            "resources": resources,
            "object_store_memory": OBJECT_STORE_BYTES,
            "env_vars": environment,
            # Machines don't share the folder that a job's code is unpacked into; these nodes would take it away from
            # each other.
            "runtime_env_dir_name": f"runtime_resources-{len(self._cluster.list_all_nodes())}",
        }
        if self._cluster.head_node is None:
            settings |= {
                "temp_dir": self._temp_dir,
                "gcs_server_port": 0,
                "ray_client_server_port": None,
                "include_dashboard": self._dashboard_port is not None,
                "dashboard_host": "127.0.0.1",
                "dashboard_agent_listen_port": 0,
                "include_log_monitor": False,
                "no_monitor": True,  # of the autoscaler
                "_system_config": QUICK_HEALTH_CHECKS,
            }
            if self._dashboard_port is not None:
                settings["dashboard_port"] = self._dashboard_port
        node = self._cluster.add_node(wait=False, **settings)
        self._cluster._wait_for_node(node, timeout=JOIN_SECONDS)
        for processes in node.all_processes.values():
            self._children |= {each.process.pid for each in processes}
        raylet = node.all_processes["raylet"][0].process.pid
        return {"node_id": node.node_id, "raylet": raylet, "address": self._cluster.address}

    def nodes(self) -> list[str]:
        return [each["NodeID"] for each in self._cluster.global_state.node_table() if each["Alive"]]

    def actors(self) -> list[dict[str, Any]]:
        alive = self._cluster.global_state.actor_table(None, None, "ALIVE")
        return [
            {"class_name": each["ActorClassName"], "pid": each["Pid"], "node_id": each["Address"]["NodeID"]}
            for each in alive.values()
        ]

    def placement_groups(self) -> dict[str, str]:
        return {name: each["state"] for name, each in self._cluster.global_state.placement_group_table().items()}

    def reap(self) -> list[int]:
        """Bury what was adopted and has ended; Ray waits for its own children by itself."""
        import psutil

        buried = []
        for child in psutil.Process().children():
            if child.pid not in self._children and child.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(child.pid, os.WNOHANG)
                buried.append(child.pid)
        for node in self._cluster.list_all_nodes():
            for processes in node.all_processes.values():
                for each in processes:
                    each.process.poll()
        return buried


def main() -> None:
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever Ray prints goes to the log
    keeper = Keeper(**json.loads(sys.argv[1]))
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = {"answer": getattr(keeper, command.pop("do"))(**command)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
    os._exit(0)  # with the kernel's help, every process of ours ends with this one


if __name__ == "__main__":
    main()
