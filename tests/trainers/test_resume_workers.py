"""Runs on one and two workers that end, and go on in new processes: bit for bit the runs that went through.

In the slow suite: the processes alone cost minutes. A study with two workers that goes on is in the default one.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
UNTIL = 8


def job(name, *, world, until=UNTIL, **more):
    """A job by its name: workload, optimiser, type, ZeRO stage, and ``apart`` where stage 3 cuts small tensors too."""
    workload, optimizer, dtype, stage, *apart = name.split()
    micro = 3 if workload == "bert-mlm" else None
    trial = {
        "batch_size": 12,
        "learning_rate": 0.01,
        "budget": {"steps": 20 if until > UNTIL else 12},
        "evaluation": {"points": 1},
        "optimizer": optimizer,
        "optimizer_settings": {"momentum": 0.9} if optimizer == "sign-sgd" else {},
        "engine": {"dtype": dtype, "zero_stage": int(stage), "workers": world, "micro_batch_size": micro},
    }
    trial |= more.pop("trial", {})
    return {
        "name": name.replace(" ", "-"),
        "workload": workload,
        "trial": trial,
        "apart": bool(apart),
        "until": until,
    } | more


PROBES = {"steps": [0, 8, 10], "quantities": ["two_batch", "one_step"], "draws": 1, "ladder": [4, 12]}
ALIKE = {
    1: ["bert-mlm adamw float32 0", "bert-mlm adamw bfloat16 0", "bert-mlm adamw float32 3 apart"],
    2: [
        *(f"bert-mlm adamw {dtype} {stage}" for dtype in ("float32", "bfloat16") for stage in range(4)),
        "bert-mlm lion float32 3 apart",
        "bert-mlm sign-sgd bfloat16 1",
        "bert-mlm ema-momentum bfloat16 2",
        "simsiam momentum float32 0",
        "simsiam momentum float32 3 apart",
        "byol momentum float32 2",
        "chancy momentum float32 1",
        "small-cnn momentum float32 2",
    ],
}
BROKEN = {
    # The newest checkpoint lacks something on one worker alone: both must take the one before.
    "bert-mlm momentum float32 2": "rank-1.safetensors",
    "bert-mlm momentum float32 1": "manifest.json",
}
CROSSED = [
    f"bert-mlm {optimizer} {dtype} {stage}{apart}"
    for optimizer in ("sgd", "momentum", "ema-momentum", "adamw", "sign-sgd", "lion")
    for dtype in ("float32", "bfloat16")
    for stage, apart in ((0, ""), (1, ""), (2, ""), (3, ""), (3, " apart"))
] + [f"bert-mlm {optimizer} {dtype} 0" for optimizer in ("lamb", "muon") for dtype in ("float32", "bfloat16")]


def jobs_of(world):
    if world == 1:
        return [
            *(job(name, world=1) for name in ALIKE[1]),
            job("bert-mlm momentum float32 0", world=1, until=16, end="killed"),
        ]
    return [
        *(job(name, world=2, trial={"probes": PROBES} if "small-cnn" in name else {}) for name in ALIKE[2]),
        *(job(name, world=2, until=16) for name in BROKEN),
        job(
            "bert-mlm adamw float32 2 end",
            world=2,
            until=16,
            end="out of memory",
            limit=1,
            since=2 * 10,
        ),
    ]


def start(world, folder, phase):
    """Run a phase in ``world`` processes; return their exit codes and what each found."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world)}
    processes = []
    for rank in range(world):
        with open(folder / f"{phase}-{rank}.log", "w") as log:
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.trainers.resume_workers", str(folder), phase],
                    env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                    cwd=ROOT,
                    stdout=log,
                    stderr=log,
                )
            )
    try:
        codes = [process.wait(timeout=1800) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    results = [folder / f"{phase}-{rank}.json" for rank in range(world)]
    assert all(path.exists() for path in results), (folder / f"{phase}-0.log").read_text()[-3000:]
    return codes, [json.loads(path.read_text()) for path in results]


def both_phases(world, jobs, folder):
    (folder / "jobs.json").write_text(json.dumps(jobs))
    codes, through = start(world, folder, "first")
    for name, file in BROKEN.items():
        for path in folder.glob(f"{name.replace(' ', '-')}/*16-*/{file}"):
            path.write_bytes(path.read_bytes()[:-1])
    again, rest = start(world, folder, "second")
    assert again == [0] * world
    return codes, through, rest


@cache
def _found(world, folder):
    return both_phases(world, jobs_of(world), folder)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folders = {world: tmp_path_factory.mktemp(f"workers{world}") for world in (1, 2)}
    return lambda world: _found(world, folders[world])


def assert_alike(through, rest, name, step):
    name = name.replace(" ", "-")
    for one, other in zip(through, rest, strict=True):
        assert (other[name]["step"], other[name]["resumes"]) == (step, 1)
        assert other[name]["curve"] == one[name]["curve"]
        assert other[name]["left"] == one[name]["left"]


@pytest.mark.parametrize(("world", "name"), [(world, name) for world in ALIKE for name in ALIKE[world]])
def test_new_processes_go_on_alike(found, world, name):
    _, through, rest = found(world)
    assert_alike(through, rest, name, UNTIL)
    assert all(one[name.replace(" ", "-")]["problems"] == [] for one in rest)


def test_a_killed_process_goes_on_alike(found):
    codes, through, rest = found(1)
    assert codes == [-signal.SIGKILL]
    assert_alike(through, rest, "bert-mlm momentum float32 0", 16)


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_a_file_that_is_broken_for_one_worker_sends_all_to_the_checkpoint_before(found, name):
    _, through, rest = found(2)
    assert_alike(through, rest, name, 8)
    problems = [one[name.replace(" ", "-")]["problems"] for one in rest]
    said = "rank-1.safetensors has" if "rank-1" in BROKEN[name] else "manifest.json is not what was written"
    assert said in problems[1][0]
    assert [len(lines) for lines in problems] == [1, 1]


def test_a_worker_out_of_memory_has_all_started_again_with_less(found):
    """Worker 1 alone runs out, in backward; the others end with it, and the run goes on from its checkpoint."""
    codes, through, rest = found(2)
    assert codes[1] == 17
    assert codes[0] not in (0, 17)
    name = "bert-mlm-adamw-float32-2-end"
    for one, other in zip(through, rest, strict=True):
        assert (other[name]["step"], other[name]["resumes"], other[name]["micro_batch_size"]) == (8, 1, 1)
        assert other[name]["values"] == rest[0][name]["values"]
        for mine, whole in zip(other[name]["values"], one[name]["values"], strict=True):
            assert mine == pytest.approx(whole, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("world", [1, 2])
def test_every_optimiser_type_and_stage_goes_on_alike_in_new_processes(world, tmp_path):
    jobs = [job(name, world=world) for name in CROSSED]
    _, through, rest = both_phases(world, [*jobs, job("chancy sgd float32 0", world=world, end="killed")], tmp_path)
    for name in CROSSED:
        assert_alike(through, rest, name, UNTIL)
