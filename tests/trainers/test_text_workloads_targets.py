"""What the workloads on text learn from and are judged by: labels that no rounding moves, spans, means, conventions."""

import csv
import itertools
import json

import numpy as np
import pytest
import torch

from trainers.batching import example_blocks, map_tensors
from trainers.data.relations import RelationText, wordnet_relations
from trainers.data.span_tokens import WordSpanTokenizer
from trainers.data.tagged import tag_texts
from trainers.workloads import load_workload, triples
from trainers.workloads.pointer_tagging import tagging_loss
from trainers.workloads.thresholds import judge_classes

SCORED = (4.501, 3.0, 3.81, 3.80, 0.0, 5.0)
"""In bfloat16 the third and the fourth of five are one number, and 3/5 lies above 3/5, and 4.501/5 · 5 below 4.5."""


@pytest.fixture
def pairs(tmp_path):
    """A folder that stands for a data set of the hub."""
    for split in ("train", "validation"):
        with (tmp_path / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            rows = [(f"text {i} a", f"text {i} b", score) for i, score in enumerate(SCORED)]
            csv.writer(file).writerows([("sentence1", "sentence2", "score"), *rows])
    return {"dataset": str(tmp_path), "sequence_length": 16}


@pytest.mark.parametrize(
    ("name", "given", "targets"),
    [
        ("cosent", {"width": 8}, {"targets": [4, 1, 3, 2, 0, 5]}),
        ("cosent", {"width": 8, "objective": "sbert"}, {"targets": [5, 3, 4, 4, 0, 5]}),
        ("cross-encoder", {"hidden_size": 16, "objective": "binary"}, {"classes": [1, 0, 1, 1, 0, 1]}),
        ("cross-encoder", {"hidden_size": 16, "class_cuts": [3.0, 3.8]}, {"classes": [2, 0, 2, 1, 0, 2]}),
    ],
)
def test_labels_are_made_of_the_scores_before_an_engine_rounds_them(name, given, targets, pairs):
    workload = load_workload(name, {**pairs, **given})
    batch = next(workload.train_batches(batch_size=6, seed=0))
    rows = [SCORED.index(round(score * 5, 3)) for score in batch["scores"].tolist()]
    # What bfloat16 engines do with a batch.
    rounded = map_tensors(lambda t: t.to(torch.bfloat16) if t.is_floating_point() else t, batch)
    model = workload.build_model(seed=0)
    for key, values in targets.items():
        assert rounded[key].tolist() == [values[row] for row in rows]
    if given.get("objective") != "regression" and "class_cuts" not in given:
        assert workload.loss(model, rounded).item() == workload.loss(model, batch).item()


def test_a_score_that_equals_a_cut_lies_below_it_in_both_splits(tmp_path):
    for split in ("train", "validation"):
        rows = [("a", "b", 0.6), ("a", "c", 0.7), ("a", "d", 0.5)]
        with (tmp_path / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("sentence1", "sentence2", "score"), *rows])
    given = {"dataset": str(tmp_path), "highest_score": 1.0, "class_cuts": [0.6], "hidden_size": 16}
    workload = load_workload("cross-encoder", given)
    assert workload._classes.tolist() == [0, 1, 0], "0.6 in float32 is above 0.6 in float64"


def test_blocks_cut_one_permutation_an_epoch():
    tensors = {"x": torch.arange(700), "y": 2 * torch.arange(700)}
    blocks = list(itertools.islice(example_blocks(tensors, seed=5), 6))
    rng = np.random.default_rng(5)
    expected = np.concatenate([rng.permutation(700) for _ in range(5)])
    assert [len(block["x"]) for block in blocks] == [512] * 6
    assert torch.cat([block["x"] for block in blocks]).tolist() == expected[: 6 * 512].tolist()
    assert all(torch.equal(block["y"], 2 * block["x"]) for block in blocks)
    assert {len(b["x"]) for b in itertools.islice(example_blocks({"x": torch.arange(3)}, seed=0), 4)} == {3}


# ---- spans


def tagged(example):
    return tag_texts([example], WordSpanTokenizer([example.text], least=1), ["is_a"], length=20)


def test_a_span_is_tagged_where_it_was_found():
    text = "absolute space means physical space"
    told = RelationText(text=text, triples=(("absolute space", "is_a", "space"),), starts=((0, text.rindex("space")),))
    assert tagged(told).subjects == ({(0, 1): ((0, (4, 4)),)},)
    untold = RelationText(text=text, triples=told.triples)
    assert tagged(untold).subjects == ({(0, 1): ((0, (1, 1)),)},), "where only words are known, at their first place"


@pytest.mark.parametrize("sentences_per_text", [1, 3])
def test_packaged_objects_stand_in_the_definition_and_never_in_their_subject(sentences_per_text):
    texts = wordnet_relations("validation", sentences_per_text=sentences_per_text)
    assert len(texts) > 300
    stated = 0
    for example, found in zip(texts, (tagged_all := tag_all(texts)).subjects, strict=True):
        assert len(example.starts) == len(example.triples)
        for (subject, _, object_), (one, other) in zip(example.triples, example.starts, strict=True):
            assert example.text[one:].startswith(subject)
            assert example.text[other:].startswith(object_)
            assert one + len(subject) <= other or other + len(object_) <= one
        for (first, last), objects in found.items():
            stated += len(objects)
            assert all(end < first or begin > last for _, (begin, end) in objects)
    # Neither do several texts share one: each sentence of a text has its own subject, unless heads are alike.
    assert stated > 0.9 * sum(len(triples) for triples in tagged_all.triples)


def tag_all(texts):
    predicates = sorted({predicate for example in texts for _, predicate, _ in example.triples})
    return tag_texts(texts, WordSpanTokenizer((e.text for e in texts), least=1), predicates, length=200)


def test_of_sentences_with_one_head_each_keeps_its_subject():
    several = 0
    for example in wordnet_relations("validation", sentences_per_text=500):
        starts = {}
        for (subject, _, _), (one, _) in zip(example.triples, example.starts, strict=True):
            starts.setdefault(subject, set()).add(one)
        sentences = {subject: {example.text.count("; ", 0, one) for one in own} for subject, own in starts.items()}
        assert {subject: len(own) for subject, own in sentences.items()} == {s: len(own) for s, own in starts.items()}
        several += sum(len(own) > 1 for own in starts.values())
    assert several > 5


def test_the_last_word_of_a_head_is_a_baseline(tmp_path):
    rows = [
        ("A black hole is a hole in space.", [("black hole", "is_a", "hole")]),
        ("A wall clock is a timepiece.", [("wall clock", "is_a", "timepiece")]),
        ("Ada is a person.", [("Ada", "is_a", "person")]),
    ]
    for split in ("train", "validation"):
        lines = [json.dumps({"text": text, "triples": stated}) for text, stated in rows]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines))
    baselines = load_workload("triples", {"dataset": str(tmp_path), "sequence_length": 16}).baselines()
    # Of two guesses, on the heads of two words, one is right, of three stated: 2 · 1/(2 + 3).
    assert baselines["subjects given, is_a their last word"] == pytest.approx(0.4)


def test_texts_without_is_a_have_no_such_baseline(tmp_path):
    for split in ("train", "validation"):
        (tmp_path / f"{split}.jsonl").write_text(json.dumps({"text": "Ada ran", "triples": [["Ada", "did", "ran"]]}))
    baselines = load_workload("triples", {"dataset": str(tmp_path), "sequence_length": 16}).baselines()
    assert not any("is_a" in name for name in baselines)


# ---- outcomes


def test_the_loss_on_all_validation_texts_is_a_mean_over_passes_of_bounded_size(monkeypatch):
    given = {"hidden_size": 16, "layers": 1, "heads": 2, "validation_texts": 300, "average_decay": 0.0}
    workload = load_workload("triples", given)
    model = workload.build_model(seed=0).eval()
    sizes = []

    def counted(model, batch):
        sizes.append(len(batch["tokens"]))
        return tagging_loss(model, batch)

    monkeypatch.setattr(triples, "tagging_loss", counted)
    with torch.no_grad():
        found = workload.evaluate(model)["validation_loss"]
        whole = tagging_loss(model, workload._validation).item()
    assert max(sizes) <= 128
    assert sum(sizes) == len(workload._validation["tokens"]) > 2 * 128
    assert len(set(sizes)) == 2, "the last pass is smaller, and must not count as much as the others"
    assert found == pytest.approx(whole, rel=1e-6)


def test_f1_is_the_mean_over_the_classes_that_are_there():
    # Cuts from the known half lie at 0.5 and 1.5. In the other half nobody has class 2, which is said once.
    values = np.array([0.0, 0.1, 1.0, 1.1, 2.0, 2.1, 0.0, 0.1, 1.0, 1.1, 2.0])
    classes = np.array([0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 1])
    found = judge_classes(values, classes, np.arange(11) < 6, count=3)
    assert found["accuracy"] == pytest.approx(4 / 5)
    # Class 0: all right. Class 1: two of three found, none wrong.
    assert found["f1"] == pytest.approx((1.0 + 2 * 1.0 * (2 / 3) / (1.0 + 2 / 3)) / 2)


def test_f1_of_a_class_that_neither_is_nor_is_said_is_zero_by_convention():
    values, classes = np.array([0.0, 1.0, 0.0, 0.1]), np.array([0, 1, 0, 0])
    found = judge_classes(values, classes, np.arange(4) < 2, count=2)
    assert found == {"accuracy": 1.0, "f1": 0.0}
