"""Tokenisers against slow ones of a few lines, and hub data from local folders in the hub's own format."""

import builtins
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.data.fetch import is_cached
from trainers.data.hub import load_hub_images, load_hub_text, load_hub_tokenizer
from trainers.data.vocabulary import CHARACTERS, WordPieceTokenizer, from_sentencepiece, wordpiece
from trainers.errors import DataError

PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "un", "##aff", "##able", "##a", "a", "able", "film", "##s")


def test_characters_are_thirty_one_after_two_special_ids():
    assert CHARACTERS.alphabet == "abcdefghijklmnopqrstuvwxyz .,'-"
    assert CHARACTERS.size - CHARACTERS.first_ordinary == 31
    assert {CHARACTERS.mask_id, CHARACTERS.separator_id} == {0, 1}
    assert CHARACTERS.encode("a z-") == [2, 28, 27, 32]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Crème brûlée, it’s — “fine”!", "creme brulee, it's - fine"),
        ("In 1967\n the\tU.S.", "in the u.s."),
        ("…", "."),
        ("12 % (!)", ""),
        ("ﬁlm", "film"),
    ],
)
def test_characters_are_made_plain(text, kept):
    assert CHARACTERS.decode(CHARACTERS.encode(text)) == kept


@given(st.text(max_size=60))
@settings(max_examples=100, deadline=None)
def test_characters_encode_any_text_into_ordinary_ids_and_change_no_plain_text(text):
    ids = CHARACTERS.encode(text)
    assert all(CHARACTERS.first_ordinary <= id_ < CHARACTERS.size for id_ in ids)
    assert CHARACTERS.encode(CHARACTERS.decode(ids)) == ids


def greedy(word: str, pieces: tuple[str, ...]) -> list[str]:
    """The longest known piece first (Wu et al. 2016), as slowly as it can be written."""
    found: list[str] = []
    while word:
        mark = "##" if found else ""
        fits = [mark + word[:n] for n in range(len(word), 0, -1) if mark + word[:n] in pieces]
        if not fits:
            return ["[UNK]"]
        found.append(fits[0])
        word = word[len(fits[0]) - len(mark) :]
    return found


@given(st.lists(st.text("unafblefims", min_size=1, max_size=9), max_size=5))
@settings(max_examples=100, deadline=None)
def test_word_pieces_are_the_longest_known_first(words):
    tokenizer = WordPieceTokenizer(PIECES)
    expected = [PIECES.index(piece) for word in words for piece in greedy(word, PIECES)]
    assert tokenizer.encode(" ".join(words)) == expected


def test_word_pieces_know_their_special_ids_and_write_words_back():
    tokenizer = WordPieceTokenizer(PIECES)
    assert (tokenizer.size, tokenizer.mask_id, tokenizer.separator_id, tokenizer.first_ordinary) == (14, 4, 3, 5)
    assert tokenizer.decode(tokenizer.encode("Unaffable films.")) == "unaffable films ."


def test_pieces_are_rewritten_as_bert_does():
    assert [from_sentencepiece(p) for p in ("▁", "▁the", "ing", "[MASK]", "▁[", "▁[unused]")] == [
        "[unused0]", "the", "##ing", "[MASK]", "[", "[unused]",
    ]  # fmt: skip


@pytest.mark.skipif(
    not (is_cached("bert-vocab") or shutil.which("npm")), reason="needs npm, which this machine has not"
)
def test_the_vocabulary_is_that_of_bert_base_uncased():
    """Ids as published with the model: https://huggingface.co/google-bert/bert-base-uncased (vocab.txt)."""
    try:
        tokenizer = wordpiece()
    except DataError as error:
        if "can't be downloaded" not in str(error):
            raise
        pytest.skip(str(error))
    assert tokenizer.size == 30_522
    assert (tokenizer.mask_id, tokenizer.separator_id, tokenizer.first_ordinary) == (103, 102, 999)
    assert tokenizer.encode("Hello world!") == [7592, 2088, 999]


def test_hub_text_needs_the_datasets_package(monkeypatch):
    imported = builtins.__import__

    def without(name, *arguments, **keywords):
        if name == "datasets":
            raise ImportError(name)
        return imported(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        DataError, match="owner/name comes from the Hugging Face hub, which needs: pip install datasets"
    ):
        load_hub_text("owner/name", "train")


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """The real datasets package, on local folders only."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    return datasets


@pytest.mark.usefixtures("no_network")
def test_hub_text_is_read_without_copies_and_gaps(tmp_path):
    folder = tmp_path / "films"
    folder.mkdir()
    (folder / "train.csv").write_text('review,stars\n"Good, long.",4\n,1\nBad.,1\n"Good, long.",3\n')
    (folder / "test.csv").write_text("review,stars\nOther.,2\n")
    assert load_hub_text(str(folder), "train", field="review") == ("Good, long.", "Bad.")
    assert load_hub_text(str(folder), "test", field="review") == ("Other.",)
    with pytest.raises(DataError, match="must have the columns text, but has review, stars"):
        load_hub_text(str(folder), "train")
    with pytest.raises(DataError, match="can't be loaded from the Hugging Face hub"):
        load_hub_text(str(folder), "dev", field="review")


@pytest.mark.usefixtures("no_network")
def test_hub_images_become_arrays_with_channels_first(tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    grey, colour = rng.integers(0, 256, (4, 6, 5), np.uint8), rng.integers(0, 256, (4, 6, 5, 3), np.uint8)
    for name, arrays in (("grey", grey), ("colour", colour)):
        for i, array in enumerate(arrays):
            folder = tmp_path / name / "train" / ("cat", "dog")[i % 2]
            folder.mkdir(parents=True, exist_ok=True)
            image_module.fromarray(array).save(folder / f"{i}.png")
        found = load_hub_images(str(tmp_path / name), "train")
        assert found.label_names == ("cat", "dog")
        assert found.labels.tolist() == [0, 0, 1, 1]
        expected = array_in_folder_order(arrays)
        assert found.images.shape == expected.shape
        assert (found.images == expected).all()


def array_in_folder_order(arrays: np.ndarray) -> np.ndarray:
    ordered = arrays[[0, 2, 1, 3]]
    return ordered[:, None] if ordered.ndim == 3 else ordered.transpose(0, 3, 1, 2)


@pytest.mark.usefixtures("no_network")
def test_hub_images_of_several_sizes_are_refused(tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    folder = tmp_path / "mixed" / "train" / "cat"
    folder.mkdir(parents=True)
    for size in (4, 5):
        image_module.fromarray(np.zeros((size, 4), np.uint8)).save(folder / f"{size}.png")
    (tmp_path / "mixed" / "train" / "dog").mkdir()
    image_module.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "mixed" / "train" / "dog" / "1.png")
    with pytest.raises(DataError, match="must be of one shape, but there are 2"):
        load_hub_images(str(tmp_path / "mixed"), "train")


def test_a_transformers_tokeniser_is_one_of_ours(tmp_path):
    from transformers import BertTokenizerFast

    (tmp_path / "vocab.txt").write_text("\n".join(PIECES))
    BertTokenizerFast(vocab=str(tmp_path / "vocab.txt")).save_pretrained(tmp_path / "saved")
    hub, ours = load_hub_tokenizer(str(tmp_path / "saved")), WordPieceTokenizer(PIECES)
    for name in ("size", "mask_id", "separator_id", "first_ordinary"):
        assert getattr(hub, name) == getattr(ours, name), name
    assert hub.encode("Unaffable films.") == ours.encode("Unaffable films.")


def test_a_tokeniser_that_is_nowhere_is_named(tmp_path):
    with pytest.raises(DataError, match=r"can't be loaded.*use characters or wordpiece"):
        load_hub_tokenizer(str(tmp_path))
