"""The random state of a process: torch's, of the processor and of its GPU, numpy's and Python's."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from .tensor_file import CheckpointError

_TORCH, _CUDA, _NUMPY, _PYTHON = "chance torch", "chance cuda", "chance numpy", "chance python"


def read_chance() -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return the state as named tensors and plain values."""
    _, keys, position, has_gauss, gauss = np.random.get_state()
    version, numbers, python_gauss = random.getstate()
    tensors = {
        _TORCH: torch.get_rng_state(),
        _NUMPY: torch.tensor(np.asarray(keys, dtype=np.int64)),
        _PYTHON: torch.tensor(numbers, dtype=torch.int64),
    }
    if torch.cuda.is_available():
        tensors[_CUDA] = torch.cuda.get_rng_state()
    values = {
        "numpy": [int(position), int(has_gauss), float(gauss)],
        "python": [version, python_gauss],
    }
    return tensors, values


def check_chance(tensors: Mapping[str, torch.Tensor]) -> None:
    """Check that ``tensors`` hold the state of a process with this one's devices.

    Raises:
        CheckpointError: They don't.
    """
    if (_CUDA in tensors) != torch.cuda.is_available():
        here, there = ("with", "without") if torch.cuda.is_available() else ("without", "with")
        raise CheckpointError(f"it was made {there} a GPU and this process runs {here} one")
    if lacking := {_TORCH, _NUMPY, _PYTHON} - tensors.keys():
        raise CheckpointError(f"it lacks {min(lacking)}")


def write_chance(tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> None:
    """Put a state by ``read_chance`` into this process."""
    torch.set_rng_state(tensors[_TORCH].clone())
    if torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors[_CUDA].clone())
    position, has_gauss, gauss = values["numpy"]
    np.random.set_state(("MT19937", tensors[_NUMPY].numpy().astype(np.uint32), position, has_gauss, gauss))
    version, python_gauss = values["python"]
    random.setstate((version, tuple(tensors[_PYTHON].tolist()), python_gauss))
