"""The feature net's weights on disk, so that each data set's is trained once and not in every process."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..data.fetch import cache_folder
from ..data.pictures import Pictures


def weights_file(pictures: Pictures, *, version: int, recipe: Sequence[float]) -> Path:
    """Return where the weights of a net that was trained on ``pictures`` belong.

    The name holds a checksum of the training images and labels themselves: of other data, or of the same ones read in
    another way, the weights are elsewhere.

    Args:
        pictures: what it was trained on.
        version: of the net.
        recipe: the numbers that decide its training.
    """
    digest = hashlib.sha256(repr((tuple(pictures.train.shape), pictures.classes, *recipe)).encode())
    for tensor in (pictures.train, pictures.train_labels):
        digest.update(tensor.contiguous().numpy().data)
    return cache_folder() / f"gan-features-{version}-{digest.hexdigest()[:32]}.npz"


def read_weights(path: Path, net: nn.Module) -> bool:
    """Give ``net`` the weights in ``path`` and return True; False where there are none, or the file is damaged."""
    wanted = {name: parameter.detach().numpy() for name, parameter in net.named_parameters()}
    try:
        with np.load(path, allow_pickle=False) as stored:  # a zip archive, whose checksums are compared on reading
            found = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, KeyError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error):
        return False
    shapes = [{name: (x.shape, x.dtype) for name, x in weights.items()} for weights in (wanted, found)]
    if shapes[0] != shapes[1]:
        return False
    for name, parameter in net.named_parameters():
        parameter.data = torch.from_numpy(found[name])
    return True


def write_weights(path: Path, net: nn.Module) -> None:
    """Write the weights of ``net`` to ``path``, whole or not at all; a folder that can't be written stays as it is."""
    weights: dict[str, Any] = {name: parameter.detach().numpy() for name, parameter in net.named_parameters()}
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".features-", dir=path.parent) as scratch:
            file = Path(scratch) / path.name
            np.savez(file, **weights)
            os.replace(file, path)
