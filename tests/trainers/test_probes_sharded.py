"""Probes of runs on two and four workers, with every ZeRO stage, against one worker that has all."""

import dataclasses
import json
import os
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from trainers.errors import SettingsError
from trainers.probes.probe import Probe
from trainers.whole import fill_model

from .helpers import run_settings
from .probe_cases import EVERYTHING, ProbedEngine, workload_named
from .probe_workers import course

BATCH, STEPS, ROOT = 16, 3, Path(__file__).parents[2]
PROBES = {"quantities": EVERYTHING, "draws": 2, "line_rate_factors": [1.0]}
OPTIMIZERS = {
    # Where a gradient is rounding alone, Adam's direction is too, unless ε is above it.
    "adamw": {"epsilon": 1e-3},
    "momentum": {},
    "ema-momentum": {},
    "sign-sgd": {"momentum": 0.9},
    "lion": {},
}


def job(workload, optimizer, *, workers=1, stage=0, micro=None, **probes):
    trial = {
        "batch_size": BATCH,
        "learning_rate": 0.01,
        "budget": {"steps": STEPS},
        "evaluation": {"points": 1},
        "optimizer": optimizer,
        "optimizer_settings": OPTIMIZERS[optimizer],
        "engine": {"workers": workers, "zero_stage": stage, "micro_batch_size": micro},
    }
    apart = stage == 3 and optimizer in ("adamw", "momentum")  # the others leave small tensors whole
    return {"workload": workload, "trial": trial, "probes": PROBES | probes, "apart": apart}


def case(name, **engine):
    """A job by its name: workload, optimiser, stage."""
    workload, optimizer, _ = name.split()
    sizes = {"simsiam": {"small_batch_size": 8, "ladder": [8, BATCH]}}.get(workload, {"ladder": [4, BATCH]})
    asked = {} if workload != "chancy" else {"quantities": ["two_batch"], "small_batch_size": 8}
    steps = [0, STEPS] if workload == "small-cnn" else [STEPS]
    return job(workload, optimizer, **engine, **sizes, **asked, steps=steps)


EXACT = [
    *(f"bert-mlm adamw {stage}" for stage in range(4)),
    *(f"small-cnn momentum {stage}" for stage in range(4)),
    *(f"small-cnn {optimizer} {stage}" for optimizer in ("ema-momentum", "sign-sgd", "lion") for stage in (2, 3)),
    "simsiam momentum 2",
]


def run_workers(world, names, folder):
    """Run jobs in ``world`` processes, one start for all; return what each worker found, by name."""
    jobs = [case(name, workers=world, stage=int(name.split()[2])) for name in names]
    (folder / "jobs.json").write_text(json.dumps(jobs))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world)}
    processes = []
    for rank in range(world):
        with open(folder / f"{rank}.log", "w") as log:
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.trainers.probe_workers", str(folder)],
                    env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                    cwd=ROOT,
                    stdout=log,
                    stderr=log,
                )
            )
    try:
        codes = [process.wait(timeout=1200) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert codes == [0] * world, (folder / "0.log").read_text()[-2000:]
    found = [json.loads((folder / f"{rank}.json").read_text()) for rank in range(world)]
    return dict(zip(names, zip(*found, strict=True), strict=True))


@cache
def alone(name, micro):
    """The same run on one worker, whose losses couple as many examples."""
    probes, left = course(case(name, micro=micro), probed=True)
    return {"probes": probes, "left": left}


def one_worker(name, world):
    workload, optimizer, _ = name.split()
    return alone(f"{workload} {optimizer} 0", coupled(name, world))


def coupled(name, world):
    return BATCH // world if name.startswith("simsiam") else None


def assert_rows_equal(found, expected):
    """To 1e-5 of the quantity; curvature and gains, sums with signs, to 1e-5 of the largest of their kind."""
    assert len(found) == len(expected) > 0
    largest = {}
    for row in expected:
        largest[row["name"]] = max(abs(row["total"]), largest.get(row["name"], 0.0))
    for got, row in zip(found, expected, strict=True):
        value = pytest.approx(row["total"], rel=1e-5, abs=1e-5 * largest[row["name"]])
        assert got == row | {"total": value, "rate": pytest.approx(row["rate"], nan_ok=True)}, row["name"]


def rows_at(name, left, world):
    """The last probe's rows, measured by one process at the weights and the optimiser's state that a run has left."""
    workload = workload_named(name.split()[0])
    asked = case(name, micro=coupled(name, world))
    settings = run_settings(**asked["trial"], probes=asked["probes"])
    engine = ProbedEngine(workload, settings)
    engine.model.load_state_dict({key: torch.tensor(value) for key, value in left["weights"].items()})
    optimizer = engine.whole_optimizer(engine.model)
    for parameter, state in zip(engine.model.parameters(), left["state"], strict=True):
        if state:
            optimizer.state[parameter] = {key: torch.tensor(value) for key, value in state.items()}
    return [dataclasses.asdict(row) for row in Probe(workload, settings).measure(engine, step=STEPS).rows]


def check(name, found, world):
    first, others = found[0], found[1:]
    assert all(worker["probes"] == first["probes"] for worker in others), "workers differ"
    *early, last = first["probes"]
    assert last["step"] == STEPS
    assert_rows_equal(last["rows"], rows_at(name, first["left"], world))
    for probe, expected in zip(early, one_worker(name, world)["probes"], strict=False):
        assert probe["step"] == expected["step"] == 0
        assert_rows_equal(probe["rows"], expected["rows"])


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory):
    return run_workers(2, [*EXACT, "chancy momentum 0"], tmp_path_factory.mktemp("two"))


@pytest.mark.parametrize("name", EXACT)
def test_rows_of_two_workers_equal_those_of_one(two_workers, name):
    check(name, two_workers[name], 2)


@pytest.mark.parametrize("name", EXACT)
def test_a_sharded_run_is_the_same_without_probes(two_workers, name):
    for worker in two_workers[name]:
        assert worker["unchanged"], "losses, weights, optimiser state and random state, bit for bit"
        assert worker["left"]["in pieces as before"]
        assert worker["left"]["training"]


@pytest.mark.parametrize("name", EXACT)
def test_gathered_weights_and_optimiser_state_are_those_of_one_worker(two_workers, name):
    check_gathered(name, two_workers[name], 2)


def check_gathered(name, found, world):
    expected = one_worker(name, world)["left"]
    # BatchNorm over a few examples makes much of the rounding by which the two runs differ.
    tolerance = 1e-3 if name.startswith("simsiam") else 1e-5
    for worker in found:
        got = worker["left"]
        assert got["hooks"] == 0, "a copy with DeepSpeed's hooks would gather the run's weights"
        assert got["weights"].keys() == expected["weights"].keys()
        for key, wanted in expected["weights"].items():
            if not key.endswith(
                ("running_mean", "running_var", "num_batches_tracked")
            ):  # of each worker's own examples
                assert_close(got["weights"][key], wanted, tolerance, f"{name} {key}")
        for own, wanted in zip(got["state"], expected["state"], strict=True):
            assert own.keys() == wanted.keys()
            for key in wanted:
                assert_close(own[key], wanted[key], tolerance, f"{name} {key}")
        assert any(own for own in got["state"])


def assert_close(found, expected, tolerance, what):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    largest = np.abs(expected).max(initial=0.0)
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * largest, err_msg=what)


@pytest.mark.parametrize("name", EXACT)
def test_the_cost_is_counted_over_all_workers(two_workers, name):
    expected = [probe["cost"] for probe in one_worker(name, 2)["probes"]]
    for worker in two_workers[name]:
        assert [probe["cost"] for probe in worker["probes"]] == expected
        assert [probe["planned"] for probe in worker["probes"]] == expected


def test_passes_of_different_workers_draw_different_numbers(two_workers):
    """A small batch is one pass; with the same number in both, the large batch's gradient would be as long as each."""
    for worker in two_workers["chancy momentum 0"]:
        for probe in worker["probes"]:
            small, large = ([r["total"] / r["count"] for r in probe["rows"] if r["batch_size"] == b] for b in (8, 16))
            assert len(small) == len(large) == 2
            assert all(parts > 1.001 * whole > 0 for parts, whole in zip(small, large, strict=True))


@pytest.mark.slow
def test_four_workers_equal_one(tmp_path):
    names = [
        f"{run} {stage}" for run in ("bert-mlm adamw", "small-cnn momentum", "simsiam momentum") for stage in range(4)
    ]
    for name, found in run_workers(4, names, tmp_path).items():
        check(name, found, 4)
        check_gathered(name, found, 4)
        assert all(worker["unchanged"] for worker in found)


def test_a_model_that_got_tensors_after_it_was_built_is_refused_with_stage_3():
    grown = nn.Linear(2, 2)
    grown.register_buffer("mean", torch.zeros(2))
    with pytest.raises(SettingsError, match=r"Linear has got other tensors.*\(mean\); .*use zero_stage 2") as error:
        fill_model(nn.Linear(2, 2), grown)
    assert "\n" not in str(error.value)
