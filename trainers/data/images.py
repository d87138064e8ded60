"""Small labelled images: digits (with scikit-learn) and Fashion-MNIST (a Debian package)."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .archive import read_members
from .fetch import fetch
from .source import SOURCES
from .splits import assign_splits, check_split

CLOTHES = (
    "T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
_IDX_UNSIGNED_BYTES = 0x08


@dataclass(frozen=True, kw_only=True)
class LabelledImages:
    """Images with their classes.

    Attributes:
        images: Shape (examples, channels, height, width), uint8, from 0 to ``white``.
        labels: Shape (examples,), int64: index into ``label_names``.
        label_names: The classes' names.
        white: The highest value that a pixel can take.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    label_names: tuple[str, ...]
    white: int

    def as_float(self) -> NDArray[np.float32]:
        """Return the images as float32 between 0 and 1, of the same shape."""
        return self.images.astype(np.float32) / np.float32(self.white)

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> LabelledImages:
        """Return the chosen examples, by mask or by index."""
        return LabelledImages(
            images=self.images[chosen],
            labels=self.labels[chosen],
            label_names=self.label_names,
            white=self.white,
        )


def digits(split: str) -> LabelledImages:
    """Return hand-written digits, 8×8, values 0 to 16: about 70 % train, 10 % validation, 20 % test.

    An image's split depends on its pixels alone.

    Args:
        split: train, validation or test.

    Raises:
        DataError: scikit-learn is not installed, or the split has another name.
    """
    check_split(split)
    images, splits = _read_digits()
    return images.take(splits == split)


def fashion_mnist(split: str, *, cache: Path | None = None) -> LabelledImages:
    """Return pictures of clothes, 28×28, values 0 to 255.

    The test split is the official one of 10,000; of the official training images, about 10 % (by their pixels) are the
    validation split.

    Args:
        split: train, validation or test.
        cache: See ``fetch``.

    Raises:
        DataError: See ``fetch``; or the split has another name.
    """
    check_split(split)
    path = fetch("fashion-mnist", cache=cache)
    if split == "test":
        return _read_clothes(path, "t10k")
    images = _read_clothes(path, "train")
    return images.take(assign_splits((image.tobytes() for image in images.images), test=0.0) == split)


@lru_cache(maxsize=1)
def _read_digits() -> tuple[LabelledImages, NDArray[np.str_]]:
    fetch("digits")  # names the missing package
    from sklearn.datasets import load_digits  # slow to import, and only this reader needs it

    loaded = load_digits()
    images = LabelledImages(
        images=loaded.images.astype(np.uint8)[:, None],
        labels=loaded.target.astype(np.int64),
        label_names=tuple("0123456789"),
        white=16,
    )
    return images, assign_splits((image.tobytes() for image in images.images), test=0.2)


def _read_clothes(path: Path, part: str) -> LabelledImages:
    members = [member for member in SOURCES["fashion-mnist"].members if f"/{part}-" in member]
    images, labels = (parse_idx(gzip.decompress(content)) for content in read_members(path, members).values())
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise DataError(f"{path.name} must pair (n, h, w) images and n labels, but got {images.shape}, {labels.shape}.")
    return LabelledImages(images=images[:, None], labels=labels.astype(np.int64), label_names=CLOTHES, white=255)


def parse_idx(content: bytes) -> NDArray[np.uint8]:
    """Return the array in an IDX file of unsigned bytes (the format of MNIST).

    The header is two zero bytes, a type, the number of dimensions and each dimension as a big-endian uint32.

    Raises:
        DataError: Another type, or another number of bytes than the header tells.
    """
    dimensions = content[3] if len(content) >= 4 else 0
    start = 4 + 4 * dimensions
    if dimensions == 0 or len(content) < start or content[2] != _IDX_UNSIGNED_BYTES:
        raise DataError(f"an IDX file of unsigned bytes must start with 00 00 08, but got {content[:4].hex(' ')}.")
    shape = tuple(int(size) for size in np.frombuffer(content, dtype=">u4", count=dimensions, offset=4))
    if len(content) - start != np.prod(shape):
        raise DataError(
            f"an IDX file of shape {shape} must hold {np.prod(shape)} bytes, but got {len(content) - start}."
        )
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)
