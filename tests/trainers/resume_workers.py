"""What each of several gloo processes does in the tests of runs that go on: ``resume_workers <folder> <first|second>``.

The folder has the list of jobs in ``jobs.json``; each process leaves what it found in ``<phase>-<rank>.json``. In the
first phase each job runs to its end, and once more up to a checkpoint; in the second it goes on from there.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import fsspec
import torch

import trainers.engine
from trainers.memory import DoesNotFit
from trainers.process import prepare_process
from trainers.workloads import load_workload

from .helpers import run_settings
from .probe_cases import TINY_BERT, TINY_SIMSIAM, SmallCNN
from .probe_workers import Chancy, shard_small_tensors
from .resume_cases import Course, Cramped, eager

TINY_BYOL = {"width": 2, "hidden_size": 4, "projection_size": 4}


def workload_of(job, *, cramped=False):
    own = {"small-cnn": SmallCNN, "chancy": Chancy}
    if job["workload"] in own:
        return own[job["workload"]]()
    small = {"bert-mlm": TINY_BERT, "simsiam": TINY_SIMSIAM, "byol": TINY_BYOL}[job["workload"]]
    loaded = load_workload(job["workload"], {**small, **job.get("workload_settings", {})})
    return Cramped(loaded, job["limit"], since=job["since"], in_backward=True) if cramped else loaded


def first(job, folder, rank):
    settings = run_settings(**job["trial"])
    through = Course(workload_of(job), settings)
    found = {"curve": through.curve, "left": through.left, "values": values_of(through)}
    if job.get("end"):
        return found  # its other part is the last that this process does
    cut = Course(workload_of(job), settings, keeper=keeper_of(job, folder), until=job["until"])
    return {**found, "kept": cut.kept}


def last_words(job, folder, rank):
    """Be killed, or run out of memory on worker 1 alone, after a checkpoint."""
    settings, keeper = run_settings(**job["trial"]), keeper_of(job, folder)
    if job["end"] == "killed":
        Course(workload_of(job), settings, keeper=keeper, until=job["until"])
        os.kill(os.getpid(), signal.SIGKILL)
    try:
        Course(workload_of(job, cramped=rank == 1), settings, keeper=keeper)
    except DoesNotFit as error:
        (folder / "at_most").write_text(str(error.micro_batch_at_most))
        os._exit(17)


def second(job, folder, rank):
    at_most = folder / "at_most"
    limit = int(at_most.read_text()) if job.get("end") == "out of memory" else None
    rest = Course(
        workload_of(job), run_settings(**job["trial"]), keeper=keeper_of(job, folder), seed=1, micro_batch_at_most=limit
    )
    last = rest.events[-1]
    return {
        "curve": rest.curve,
        "left": rest.left,
        "step": rest.resumed.step,
        "problems": rest.resumed.problems,
        "resumes": last.resumes,
        "micro_batch_size": last.micro_batch_size,
        "values": values_of(rest),
    }


def values_of(course):
    return [list(event.values.values()) for event in course.measured]


def keeper_of(job, folder):
    return eager(fsspec.filesystem("file"), str(folder / job["name"]))


def main():
    prepare_process(threads=1)
    torch.distributed.init_process_group("gloo")
    folder, phase, rank = Path(sys.argv[1]), sys.argv[2], int(os.environ["RANK"])
    configuration, found = trainers.engine._configuration, {}
    jobs = json.loads((folder / "jobs.json").read_text())
    for job in jobs:
        if job.get("apart"):
            shard_small_tensors()
        found[job["name"]] = {"first": first, "second": second}[phase](job, folder, rank)
        trainers.engine._configuration = configuration
    (folder / f"{phase}-{rank}.json").write_text(json.dumps(found))
    if phase == "first":
        last_words(next(job for job in jobs if job.get("end")), folder, rank)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
