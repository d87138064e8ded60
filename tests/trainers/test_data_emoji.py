"""The emoji reader against Pillow's reading of the same sheet, and its promises about splits."""

import io
import json
import shutil
import tarfile

import numpy as np
import pytest
from PIL import Image

from trainers.data.emoji import CATEGORIES, base_name, emoji32, on_white
from trainers.data.fetch import fetch, is_cached
from trainers.data.splits import SPLITS
from trainers.errors import DataError


@pytest.fixture(scope="module")
def archive():
    if not (is_cached("emoji32") or shutil.which("npm")):
        pytest.skip("needs npm, which this machine has not")
    try:
        return fetch("emoji32")
    except DataError as error:
        if "can't be downloaded" not in str(error):
            raise
        pytest.skip(str(error))


def test_pictures_are_the_cells_of_the_sheet_on_white_with_their_category(archive):
    with tarfile.open(archive) as tar:
        sheet = Image.open(io.BytesIO(tar.extractfile("package/img/google/sheets/32.png").read())).convert("RGBA")
        entries = json.load(tar.extractfile("package/emoji.json"))
    expected, seen = {}, set()
    for entry in (e for e in entries if e["category"] != "Component"):
        left, top = 34 * entry["sheet_x"] + 1, 34 * entry["sheet_y"] + 1
        cell = sheet.crop((left, top, left + 32, top + 32))
        white = Image.new("RGBA", cell.size, "white")
        white.alpha_composite(cell)
        expected[np.asarray(white.convert("RGB")).tobytes()] = entry["category"]
        seen.add(entry["unified"])
    assert (len(seen), len(expected)) == (1906, 1892)  # 14 are copies of others, such as flags of dependencies
    parts = [emoji32(split) for split in SPLITS]
    assert sum(len(part.labels) for part in parts) == len(expected)
    for part in parts:
        assert part.images.shape[1:] == (3, 32, 32)
        for image, label in zip(part.images[::20], part.labels[::20], strict=True):
            near = _nearest(image.transpose(1, 2, 0), expected)
            assert near == CATEGORIES[label]
    sizes = [len(part.labels) / 1892 for part in parts]
    assert sizes == pytest.approx([0.7, 0.1, 0.2], abs=0.05)
    assert all(set(part.labels) == set(range(9)) for part in parts)
    pictures = [image.tobytes() for part in parts for image in part.images]
    assert len(set(pictures)) == len(pictures)


def _nearest(image, expected):
    """Pillow rounds the mixture in steps of its own, so the same picture may differ by a level of 255."""
    if (found := expected.get(image.tobytes())) is not None:
        return found
    cells = np.stack([np.frombuffer(content, dtype=np.uint8) for content in expected])
    gaps = np.abs(cells.astype(int) - image.astype(int).ravel()).max(axis=1)
    assert gaps.min() <= 2
    return list(expected.values())[int(gaps.argmin())]


def test_variants_of_one_emoji_share_a_base_name():
    runners = ["1F3C3", "1F3C3-200D-2640-FE0F", "1F3C3-200D-2642-FE0F-200D-27A1-FE0F"]
    assert {base_name(name) for name in runners} == {"1F3C3"}
    assert base_name("1F468-200D-1F4BB") == base_name("1F469-200D-1F4BB") == base_name("1F9D1-200D-1F4BB")
    assert base_name("1F468-200D-1F4BB") != base_name("1F468-200D-1F33E")
    assert base_name("2640-FE0F") == "2640-FE0F"


def test_opacity_mixes_with_white():
    pixels = np.array([[[0, 100, 255, 0], [0, 100, 255, 255], [0, 100, 255, 51]]], dtype=np.uint8)
    assert on_white(pixels).tolist() == [[[255, 255, 255], [0, 100, 255], [204, 224, 255]]]


def test_an_unknown_split_is_refused_before_anything_is_fetched():
    with pytest.raises(DataError, match="but got 'dev'"):
        emoji32("dev")
