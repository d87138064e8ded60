"""The feature net on disk: trained once, the same to the bit, and trained again where the file is of no use."""

import numpy as np
import pytest
import torch

from trainers.data.pictures import Pictures
from trainers.workloads import gan_features
from trainers.workloads.gan_distances import frechet
from trainers.workloads.gan_feature_store import weights_file
from trainers.workloads.gan_features import VERSION, feature_net, train_feature_net


def pictures(seed=0, *, classes=2):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(64) % classes
    train = torch.rand(64, 1, 8, 8, generator=generator)
    return Pictures(train=train, train_labels=labels, test=train[:8], test_labels=labels[:8], classes=classes)


@pytest.fixture
def trained(monkeypatch, tmp_path):
    """How many nets were trained, on a cache of its own and a memory that forgets at once."""
    monkeypatch.setenv("BATCHLAW_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(gan_features, "_STEPS", 3)
    monkeypatch.setattr(gan_features, "load_pictures", lambda dataset, **_: pictures(int(dataset)))
    count = []
    monkeypatch.setattr(gan_features, "train_feature_net", lambda p: count.append(1) or train_feature_net(p))
    yield count
    feature_net.cache_clear()


def net(dataset="0"):
    feature_net.cache_clear()
    return feature_net(dataset, image_field="image", label_field="label")


def stored_in(found):
    recipe = [getattr(gan_features, name) for name in ("_FEATURES", "_WIDTH", "_STEPS", "_BATCH_SIZE", "_RATE")]
    return weights_file(found, version=VERSION, recipe=recipe)


def weights(found):
    return torch.cat([parameter.flatten() for parameter in found.parameters()])


def test_the_next_process_reads_what_the_first_one_trained(trained):
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    first = net()
    second = net()
    assert torch.equal(torch.rand(1), expected), "torch's global generator has been drawn from"
    assert len(trained) == 1
    assert torch.equal(weights(first), weights(second))
    assert weights(second).dtype == torch.float64
    assert not any(parameter.requires_grad for parameter in second.parameters())
    path = stored_in(pictures())
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_other_data_or_another_version_have_a_net_of_their_own(trained):
    first, other = net("0"), net("1")
    assert len(trained) == 2
    assert not torch.equal(weights(first), weights(other))
    files = {
        weights_file(pictures(0), version=1, recipe=(3, 0.1)),
        weights_file(pictures(0), version=2, recipe=(3, 0.1)),
        weights_file(pictures(0), version=1, recipe=(4, 0.1)),
        weights_file(pictures(0, classes=4), version=1, recipe=(3, 0.1)),
        weights_file(pictures(1), version=1, recipe=(3, 0.1)),
    }
    assert len(files) == 5


def test_a_shorter_training_is_not_taken_for_the_whole(trained, monkeypatch):
    short = net()
    monkeypatch.setattr(gan_features, "_STEPS", 4)
    assert not torch.equal(weights(net()), weights(short))
    assert len(trained) == 2


def broken(kind, whole):
    if kind == "a flipped bit":
        middle = len(whole) // 2
        return whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    return {"empty": b"", "cut off": whole[: len(whole) // 2], "text": b"no weights", "pickle": b"\x80\x04N."}[kind]


@pytest.mark.parametrize("kind", ["empty", "cut off", "a flipped bit", "text", "pickle"])
def test_a_damaged_file_is_replaced(trained, kind):
    first = net()
    path = stored_in(pictures())
    whole = path.read_bytes()
    path.write_bytes(broken(kind, whole))
    assert torch.equal(weights(net()), weights(first))
    assert len(trained) == 2
    assert path.read_bytes() == whole
    net()
    assert len(trained) == 2


@pytest.mark.parametrize("change", ["lacks one", "float32", "another shape", "array"])
def test_a_file_of_other_weights_is_replaced(trained, change):
    first = net()
    path = stored_in(pictures())
    with np.load(path) as stored:
        found = dict(stored)
    name = min(found)
    if change == "lacks one":
        del found[name]
    else:
        found[name] = found[name].astype(np.float32) if change == "float32" else found[name][:1]
    if change == "array":
        with path.open("wb") as file:
            np.save(file, found[name])
    else:
        np.savez(path, **found)
    assert torch.equal(weights(net()), weights(first))
    assert len(trained) == 2


def test_a_cache_that_cannot_be_written_is_done_without(trained, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("BATCHLAW_CACHE", str(tmp_path / "file"))
    assert torch.equal(weights(net()), weights(net()))
    assert len(trained) == 2


def test_a_changed_training_needs_a_new_version():
    """Made by ``train_feature_net`` of this version on digits: the distance between odd and even held-out images."""
    from trainers.data.pictures import load_pictures

    digits = load_pictures("digits")
    features, _ = train_feature_net(digits).describe(digits.test)
    assert VERSION == 1
    assert frechet(features[::2], features[1::2]) == pytest.approx(2.7890616451770427, rel=1e-6)
