"""A study on nodes that differ, that join and that leave: its trials run where there is what they need."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from results import ResultStore

from ..study.studies import Study
from .nodes import REPOSITORY, Node, Nodes
from .processes import kill_tree, wait_for

pytest.importorskip("psutil")


class Joining:
    """The driver, and where its trials are."""

    def __init__(self, folder: Path, nodes: Nodes, **sweep: Any) -> None:
        self.out, self._places, self._log = folder / "out", folder / "places", folder / "driver.log"
        self._places.mkdir()
        path = Study(folder=folder).write(**sweep)
        with open(self._log, "w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.cluster.joining", str(path), str(self.out), nodes.address],
                cwd=REPOSITORY,
                env=nodes.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def said(self) -> str:
        return self._log.read_text()

    def places(self, node: Node) -> list[tuple[int, str | None]]:
        """Return the seeds of the trials that began on ``node``, and the GPUs that they saw."""
        found = [json.loads(path.read_text()) for path in self._places.glob("*.json")]
        return sorted((place["seed"], place["gpus"]) for place in found if place["node_id"] == node.node_id)

    def wait_for_trials(self, node: Node, count: int) -> None:
        def begun() -> bool:
            assert self.process.poll() is None, self.said()
            return len(self.places(node)) >= count

        wait_for(begun, what=lambda: f"{count} trials did not begin, but {self.places(node)}; said:\n{self.said()}")

    def let_go(self) -> None:
        (self._places / "go").touch()


@pytest.mark.slow
def test_trials_go_where_what_they_need_is_and_follow_nodes_that_join_and_leave(tmp_path: Path) -> None:
    places = {"PLACES": str(tmp_path / "places")}

    def fitting(nodes: Nodes, count: int) -> Node:
        return nodes.add_node(num_cpus=4, num_gpus=1, resources={"a100": count}, environment=places)

    with Nodes(head_cpus=4) as nodes:  # the head could take all, but for the custom resource
        first = fitting(nodes, 2)
        study = Joining(
            tmp_path,
            nodes,
            resources={"gpus_per_worker": 0.5, "custom": {"a100": 1.0}},
            batch_sizes=[2],
            learning_rates=[0.25],
            seeds=[0, 1, 2, 3, 4],
        )
        try:
            study.wait_for_trials(first, 2)
            # Two at once on the one GPU, and no third one.
            assert study.places(first) == [(0, "0"), (1, "0")]
            assert study.said().splitlines()[-1] == "2 workers at a time"

            second = fitting(nodes, 1)
            study.wait_for_trials(second, 1)
            assert study.places(second) == [(2, "0")]

            nodes.kill_node(second)
            nodes.kill_node(first)
            wait_for(lambda: "waits for a node to join" in study.said(), what=study.said)

            last = fitting(nodes, 2)
            study.wait_for_trials(last, 2)
            study.let_go()
            assert study.process.wait(timeout=60) == 0, study.said()
        finally:
            if study.process.poll() is None:
                kill_tree(study.process.pid, wait=True)
        assert study.said().count("waits for a node to join") == 1
        assert study.said().splitlines()[-1] == "5 3"  # trials, and the most that had room at a time
        assert study.places(nodes.head) == []
        nodes.settle()
    rows = ResultStore(study.out).trials()
    assert sorted(rows["seed"]) == [0, 1, 2, 3, 4]
    assert set(rows["status"]) == {"exhausted"}
