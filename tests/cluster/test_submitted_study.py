"""A study of two-worker ZeRO-2 trials, submitted to a cluster of three nodes that loses one in the middle."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from results import ResultStore
from trainers.data.fetch import cache_folder

from ..trainers.probe_cases import TINY_BERT
from .nodes import REPOSITORY, Node, Nodes
from .processes import free_port, wait_for
from .verdict import differences, judge

psutil = pytest.importorskip("psutil")

CLI = [sys.executable, "-c", "from study.cli import main; main()"]
STUDY: dict[str, Any] = {
    "name": "pairs",
    "resources": {"workers": 2, "checkpoint_seconds": 0.5},
    "sweeps": [
        {
            "name": "bert",
            "workload": "bert-mlm",
            "workload_settings": TINY_BERT,
            "optimizer": "adamw",
            "engine": {"zero_stage": 2},
            "outcome": "value_at_budget",
            "batch_sizes": [8, 16],
            "learning_rates": [0.005, 0.01],
            "budget": {"steps": 150},
            "evaluation": {"points": 3},
        }
    ],
}
PATIENCE_SECONDS = 300.0


def undisturbed(study: Path, folder: Path) -> Path:
    """Return the results of the same study by two bare processes."""
    port = free_port()
    pair = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.cluster.undisturbed",
                str(study),
                str(folder / name),
            ],
            cwd=REPOSITORY,
            env={
                **os.environ,
                "PYTHONPATH": str(REPOSITORY),
                "BATCHLAW_CACHE": str(cache_folder()),
                "GLOO_SOCKET_IFNAME": "lo",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "RANK": str(rank),
                "WORLD_SIZE": "2",
            },
        )
        for rank, name in enumerate(("undisturbed", "other"))
    ]
    assert [process.wait(PATIENCE_SECONDS) for process in pair] == [0, 0]
    return folder / "undisturbed"


def strike(nodes: Nodes) -> None:
    """Kill a node that trains and is not the head."""

    def training() -> list[Node]:
        busy = []
        for node in nodes.nodes[1:]:
            below = psutil.Process(node.raylet).children(recursive=True)
            if any("RayTrainWorker" in " ".join(process.cmdline()) for process in below):
                busy.append(node)
        return busy

    wait_for(lambda: bool(training()), what="no worker trains on a node besides the head")
    nodes.kill_node(training()[0])


def until(process: subprocess.Popen[str], ready: Callable[[], bool], log: Path) -> None:
    """Wait for what must come before the job ends."""
    wait_for(
        lambda: ready() or process.poll() is not None,
        what=lambda: f"it did not come; the job said:\n{log.read_text()}",
        seconds=PATIENCE_SECONDS,
    )
    assert process.poll() is None, log.read_text()


def test_a_submitted_study_of_two_worker_trials_survives_the_loss_of_a_node(tmp_path: Path) -> None:
    study, out, log = tmp_path / "pairs.yaml", tmp_path / "out", tmp_path / "log"
    study.write_text(yaml.safe_dump(STUDY, sort_keys=False))
    with Nodes(head_cpus=1, dashboard=True) as nodes:
        for _ in range(2):
            nodes.add_node()
        assert nodes.dashboard is not None
        submit = [*CLI, "submit", str(study), "--address", nodes.dashboard, "--out", str(out), "--follow"]
        with open(log, "w") as said:
            job = subprocess.Popen(submit, cwd=tmp_path, env=nodes.environment, stdout=said, stderr=said, text=True)
        try:
            # In the middle: a trial is stored, and the next one has been going on for a while.
            until(job, lambda: out.exists() and len(ResultStore(out).trials(("trial_id",))) > 0, log)
            until(job, lambda: any((out / "checkpoints").glob("*/*/manifest.json")), log)
            strike(nodes)
            seen = subprocess.run([*CLI, "status", str(out)], env=nodes.environment, capture_output=True, text=True)
            assert "of 4 trials stored" in seen.stdout, seen
            assert job.wait(PATIENCE_SECONDS) == 0, log.read_text()
        finally:
            job.kill()
            job.wait()
        assert "4 trials stored in" in log.read_text()
        assert (out / "report.html").stat().st_size > 100_000
        nodes.settle()
        # Ray Tune and Ray Train make one each for every group: a group trained trial after trial, another one the rest.
        assert len(nodes.placement_groups()) < 2 * 4
    trials = ResultStore(out).trials()
    assert set(trials["status"]) == {"exhausted"}
    assert set(trials["world_size"]) == {2}
    assert set(trials["zero_stage"]) == {2}
    assert trials["resumes"].sum() >= 1
    expected = undisturbed(study, tmp_path)
    assert not differences(out, expected)
    verdict = judge(out, expected)
    assert (verdict.lost, verdict.twice, verdict.torn, verdict.foreign) == (0, 0, 0, 0)
