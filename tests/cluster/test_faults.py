"""One study to which everything happens: parts of it are killed, each kind once, and stored files are damaged."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil

from .nodes import Node, Nodes
from .processes import wait_for
from .struck_study import StruckStudy


def node_of(nodes: Nodes, pid: int) -> Node:
    """Return the node on which a process runs."""
    above = {process.pid for process in psutil.Process(pid).parents()}
    return next(node for node in nodes.nodes if node.raylet in above)


def damage_parts(folder: Path) -> list[Path]:
    """Cut a stored trial short, flip a bit of another one, and leave a write half done, as a crash does."""
    cut, flipped = sorted(folder.glob("[!.]*.json"))[:2]
    content = cut.read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    (folder / f".{cut.name}.1.tmp").write_bytes(content[:100])
    content = flipped.read_bytes()
    flipped.write_bytes(content[:200] + bytes([content[200] ^ 1]) + content[201:])
    return [cut, flipped]


def test_a_study_survives_the_death_of_every_part_of_it(tmp_path: Path) -> None:
    study = StruckStudy(tmp_path, seeds=[0, 1, 2, 3, 4, 5])
    with Nodes(head_cpus=0) as nodes:
        for _ in range(2):
            nodes.add_node(environment=study.environment)
        study.hold(1, 2, 3, 4, 5)
        driver = study.start(nodes)

        os.kill(study.wait_held(1, driver), signal.SIGKILL)
        study.let_go(1)

        study.wait_held(2, driver)
        desk = nodes.desk()
        assert desk is not None
        os.kill(desk.pid, signal.SIGKILL)
        wait_for(lambda: getattr(nodes.desk(), "pid", desk.pid) != desk.pid, what="the desk did not come back")
        study.let_go(2)  # what was trained meanwhile is told to the new desk

        nodes.kill_node(node_of(nodes, study.wait_held(3, driver)))
        nodes.add_node(environment=study.environment)
        study.let_go(3)

        nodes.kill_raylet(node_of(nodes, study.wait_held(4, driver)))
        nodes.add_node(environment=study.environment)
        study.let_go(4)

        study.wait_held(5, driver)
        damaged = damage_parts(study.out / "parts")
        driver.kill()
        assert study.end(driver) == -signal.SIGKILL
        study.let_go(5)
        assert study.end(study.start(nodes)) == 0, study.said()
        for path in damaged:
            assert f"batchlaw: {path}: not read: " in study.said()
        nodes.settle()
    verdict, differing = study.judge()
    assert not differing
    assert verdict.good, verdict
    assert verdict.trials == 24
