"""Named tensors and plain JSON values in one safetensors file: nothing in it can be executed, or names what to import.

The values stand as JSON text in the file's own metadata, so that any reader of safetensors sees both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

_VALUES = "values"
_LENGTH_BYTES = 8  # of the header's length, at the start of a safetensors file


class CheckpointError(ValueError):
    """What a checkpoint holds can't be written, read or used."""


def write_tensors(tensors: Mapping[str, torch.Tensor], values: Any) -> bytes:
    """Return the content of a file with copies of ``tensors`` and with ``values``.

    Args:
        tensors: Of any shape, type and device; they may share memory.
        values: None, booleans, numbers (NaN and infinities too), text, lists and dictionaries with text for keys.

    Raises:
        CheckpointError: ``values`` holds something else.
    """
    _check_plain(values)
    # Copies: the format refuses tensors that share memory, and what is trained on must not move meanwhile.
    copies = {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    return save(copies, {_VALUES: json.dumps(values)})


def read_tensors(content: bytes) -> tuple[dict[str, torch.Tensor], Any]:
    """Return the tensors, on the processor and not to be written to, and the values of a file by ``write_tensors``.

    Raises:
        CheckpointError: ``content`` is no such file, or not all of it.
    """
    try:
        tensors = load(content)
        end = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "little")
        header = json.loads(content[_LENGTH_BYTES:end])
        return tensors, json.loads(header["__metadata__"][_VALUES])
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"not a whole safetensors file of a checkpoint ({type(error).__name__})") from None


def _check_plain(values: Any) -> None:
    """Raise CheckpointError where JSON would not give back the same; it turns tuples and number keys into others."""
    if type(values) is dict:
        for key, value in values.items():
            if type(key) is not str:
                raise CheckpointError(f"a checkpoint's values must have text for keys, but one has {key!r}")
            _check_plain(value)
    elif type(values) is list:
        for value in values:
            _check_plain(value)
    elif values is not None and type(values) not in (bool, int, float, str):
        raise CheckpointError(f"a checkpoint holds tensors and JSON values, but no {type(values).__name__}")
