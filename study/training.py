"""What trains a job in this process, alone or as one of a group of workers that each make the same calls."""

from __future__ import annotations

import gc
import hashlib
import importlib
import json
import os
import socket
from collections.abc import Generator, Mapping
from typing import Any

from .checkpoint_place import keeper_of, sees
from .crew import CannotTrain, Noted
from .desk import Job
from .errors import first_line
from .packaged import arrived
from .pins import unlike_the_package
from .version import code_digest


class Training:
    """What trains in this process: imports and threads are set up once, workloads with their data are kept."""

    def __init__(self) -> None:
        """Keep no workload yet."""
        self._workloads: dict[str, Any] = {}
        self._seen: dict[str, tuple[bool, bool]] = {}  # whether this worker sees it, and whether all do

    def prepare(self, *, cpus: int, gpus: float) -> None:
        """Prepare the process, so that no trial's clock counts imports."""
        if not gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before torch is imported; Ray no longer hides GPUs
        importlib.import_module("trainers.loop")
        share = gpus if 0 < gpus < 1 else 1.0
        importlib.import_module("trainers.engine").prepare_process(threads=cpus, gpu_share=share)
        gc.freeze()  # what the imports made stays: without it each collection would walk through all of it

    def events(self, job: Job) -> Generator[Any, None, None]:
        """Yield the events of a job.

        Args:
            job: ``spec`` is the specification, and ``workload`` says where its code is. May be left out:
                ``checkpoints``, where they lie (see ``CheckpointPlace.job``), and ``micro_batch_at_most``, by name of
                the hardware.

        Raises:
            CannotTrain: the workload's data can't be had here, or packages have other versions than were pinned.
        """
        from trainers.errors import DataError
        from trainers.loop import train
        from trainers.process import hardware_name
        from trainers.script import Script
        from trainers.script_run import run_script
        from trainers.settings import TrainSettings
        from trainers.workloads import load_workload

        if unlike_the_package():
            raise CannotTrain(
                f"process {os.getpid()} on {socket.gethostname()} must have the packages that the study was submitted "
                f"with, but has {', '.join(unlike_the_package())}"
            )
        spec = json.loads(job["spec"])
        # Loading a workload may read a data set; trials that share it share the object.
        key = json.dumps([job["workload"], spec["workload_settings"]], sort_keys=True)
        try:
            if key not in self._workloads:
                self._workloads = {key: load_workload(arrived(job["workload"]), spec["workload_settings"])}
            workload, settings = self._workloads[key], TrainSettings.from_dict(spec)
            if isinstance(workload, Script):
                yield from run_script(workload, settings)
                return
            keeper, note = self._keeper(job)
            if note:
                yield Noted(line=note)
            at_most = job.get("micro_batch_at_most", {}).get(hardware_name())
            yield from train(workload, settings, keeper=keeper, micro_batch_at_most=at_most)
        except DataError as error:
            raise CannotTrain(f"process {os.getpid()} on {socket.gethostname()}: {first_line(error)}") from error

    def _keeper(self, job: Job) -> tuple[Any, str]:
        """Return the keeper of a job's checkpoints, if any, and what is to be said of the place."""
        from trainers.agreement import all_say

        checkpoints: Mapping[str, Any] | None = job.get("checkpoints")
        if checkpoints is None:
            return None, ""
        url = checkpoints["url"]
        if url not in self._seen:
            own = sees(checkpoints)
            self._seen[url] = own, all_say(own)
        own, all_see = self._seen[url]
        if own and not all_see:  # a group keeps checkpoints together or not at all; the worker that can't says so
            return None, ""
        if not own:
            return None, (
                f"{socket.gethostname()} does not see {url}: its trials can't go on elsewhere when a worker is lost; "
                "use a storage_path that all machines see, such as NFS or s3://"
            )
        origin = {
            "trial id": job["trial_id"],
            "code": code_digest()[:12],
            "workload's file": _digest(arrived(job["workload"])),
        }
        return keeper_of(checkpoints, origin=origin), ""


def _digest(workload: str) -> str:
    """Return the digest of a user's file: a study that goes on after it was edited must not mix both versions."""
    path, _, _ = workload.rpartition(":")
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()[:12]
    except OSError:
        return ""  # ours by name, which the code's digest holds
