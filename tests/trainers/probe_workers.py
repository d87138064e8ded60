"""What each of several gloo processes does in the tests of sharded probes: ``probe_workers <folder>``.

The folder has the list of jobs in ``jobs.json``; each process leaves a list of what it found in ``<rank>.json``.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import sys
from pathlib import Path

import numpy as np
import torch

import trainers.engine
from trainers.engine import DeepSpeedEngine
from trainers.loop import Measured, Probed, train
from trainers.probes.probe import Probe

from .helpers import run_settings
from .probe_cases import SmallCNN, workload_named


class Chancy(SmallCNN):
    """A loss that draws one number a pass, as dropout draws many: each element of its gradient is that number."""

    name = "chancy"

    def loss(self, model, batch):
        return torch.rand(()) * sum(parameter.sum() for parameter in model.parameters())


def course(job, *, probed):
    """Run a job; return its rows by probe, what the run leaves, and the engine."""
    workload = Chancy() if job["workload"] == "chancy" else workload_named(job["workload"])
    next(workload.train_batches(batch_size=1, seed=0))  # what it imports may draw from Python's generator, once
    engines = []

    def build(*args):
        engines.append(DeepSpeedEngine(*args))
        return engines[0]

    np.random.seed(0)
    random.seed(0)
    settings = run_settings(**job["trial"], **({"probes": job["probes"]} if probed else {}))
    events = list(train(workload, settings, build_engine=build))
    engine = engines[0]
    chance = [*torch.rand(2).tolist(), *np.random.rand(2), random.random()]
    whole = engine.whole_model()
    optimizer = engine.whole_optimizer(whole)
    left = {
        "losses": [list(e.values.values()) for e in events if isinstance(e, Measured)],
        "weights": {name: tensor.tolist() for name, tensor in whole.state_dict().items()},
        "state": [
            {key: torch.as_tensor(value).tolist() for key, value in optimizer.state[p].items()}
            for p in whole.parameters()
        ],
        "chance": chance,
        "hooks": sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in whole.modules()),
        "training": whole.training,
    }
    probes = [
        {
            "step": e.step,
            "rows": [dataclasses.asdict(row) for row in e.rows],
            "cost": e.equivalent_steps,
            "planned": Probe(workload, settings).planned_steps,
        }
        for e in events
        if isinstance(e, Probed)
    ]
    engine.step(next(workload.train_batches(batch_size=settings.batch_size, seed=1)), rate_factor=1.0)
    pieces = pieces_of(engine)
    engine.whole_model()
    left["in pieces as before"] = pieces_of(engine) == pieces
    return probes, left


def pieces_of(engine):
    """Which tensors are in pieces; it shows only after a step, as an evaluation takes all apart."""
    return [str(getattr(parameter, "ds_status", "")) for parameter in engine.model.parameters()]


def measure(job):
    probes, left = course(job, probed=True)
    *_, without = course(job, probed=False)
    return {"probes": probes, "left": left, "unchanged": left == without}


def shard_small_tensors():
    """Let stage 3 take every tensor apart: it keeps those of less than 100,000 elements whole."""
    configuration = trainers.engine._configuration

    def sharding(*args):
        found = configuration(*args)
        found["zero_optimization"]["stage3_param_persistence_threshold"] = 0
        return found

    trainers.engine._configuration = sharding


def main():
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    folder, found = Path(sys.argv[1]), []
    configuration = trainers.engine._configuration
    for job in json.loads((folder / "jobs.json").read_text()):
        if job.get("apart"):
            shard_small_tensors()
        found.append(measure(job))
        trainers.engine._configuration = configuration
    (folder / f"{os.environ['RANK']}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
