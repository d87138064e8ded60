"""A process that trains: what it imports and sets beforehand, whom it works with, and what it runs on."""

from __future__ import annotations

import os
import platform
import sys
from typing import Any

import torch

_LINEAR = torch.nn.functional.linear


def forget_past_runs() -> None:
    """Undo what a run of ZeRO stage 3 leaves in its process: DeepSpeed replaces ``torch.nn.functional.linear``.

    For good, as it says, and by one that rounds differently: a run's losses would depend on the runs before it.
    """
    torch.nn.functional.linear = _LINEAR


def prepare_process(*, threads: int, gpu_share: float = 1.0) -> None:
    """Make this process, which trains and does nothing else, ready for its first run.

    Imports what the first engine would import, so that no run's clock counts it. Denormal numbers become zero: a run at
    a hopeless rate drives its activations there, and processors are several times slower on them.

    Args:
        threads: of the processor.
        gpu_share: the part of its GPU's memory that this process may take. Where several share a GPU, what fits then
            depends on a run alone, and not on its neighbours.
    """
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    if gpu_share < 1 and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(gpu_share)
    deepspeed_library()


def hardware_name() -> str:
    """Return the accelerator's name, or the processor's."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def deepspeed_library() -> Any:
    """Import DeepSpeed, late and quiet: it probes the machine on import, and only workers need it."""
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    os.environ.setdefault("DS_SKIP_CUDA_CHECK", "1")
    import logging

    # Its autotuner imports MLflow wherever that is installed: seconds, and a file in the home folder.
    hide = "mlflow" not in sys.modules
    if hide:
        sys.modules["mlflow"] = None  # type: ignore[assignment]
    try:
        import deepspeed
        import deepspeed.ops
    finally:
        if hide:
            del sys.modules["mlflow"]

    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    if not torch.cuda.is_available():
        # The first init_distributed would compile a shared-memory kernel for most of a minute, after trial builds of
        # every other kernel. gloo does the same sums, and one worker needs none.
        deepspeed.ops.__compatible_ops__ = {}
    return deepspeed


def join_workers(deepspeed: Any) -> tuple[int, int]:
    """Join the process group that the launcher announced (RANK, WORLD_SIZE), or form one of one process."""
    os.environ.setdefault("LOCAL_RANK", "0")  # DeepSpeed asks for it even with one process
    if not torch.distributed.is_initialized():
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            torch.distributed.init_process_group(backend)
        else:
            # A store in memory in place of a TCP port: nothing to collide with, nothing listening.
            store = torch.distributed.HashStore()
            torch.distributed.init_process_group(backend, store=store, rank=0, world_size=1)
    if not deepspeed.comm.is_initialized():
        deepspeed.init_distributed(torch.distributed.get_backend(), auto_mpi_discovery=False, verbose=False)
    return torch.distributed.get_rank(), torch.distributed.get_world_size()
