"""Out of memory: how it shows, on a GPU and on a processor, and what is asked of whoever started the run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from .errors import SettingsError

T = TypeVar("T")

_SIGNS = (
    "out of memory",  # CUDA outside torch's own allocator, NCCL, oneDNN
    "can't allocate memory",  # torch on a processor
    "not enough memory",  # the same on Windows
    "std::bad_alloc",  # C++ libraries
    "status_alloc_failed",  # cuBLAS and cuDNN
)


class DoesNotFit(SettingsError):
    """A micro-batch does not fit into a worker's memory, and the run can't go on as it is: its state may be torn.

    Started again with ``train(…, micro_batch_at_most=error.micro_batch_at_most)``, by all its workers, it goes on from
    its last checkpoint or begins anew, with the same batches.
    """

    def __init__(self, message: str, *, micro_batch_at_most: int) -> None:
        """Say in ``message`` what does not fit, and in ``micro_batch_at_most`` what to try next."""
        super().__init__(message)
        self.micro_batch_at_most = micro_batch_at_most


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether ``error`` says that memory could not be had, on a device or on the host."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _SIGNS)


def none_if_out_of_memory(body: Callable[[], T]) -> T | None:
    """Return what ``body`` returns, or None where it runs out of memory; any other error is raised."""
    try:
        return body()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return None
