"""WordNet's reader against the published counts, a second way to read the files, and the format's description."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter

import pytest

from trainers.data.fetch import fetch, is_cached
from trainers.data.source import SOURCES
from trainers.data.wordnet import PREDICATES, Synset, parse_synset, synsets
from trainers.errors import DataError


@pytest.fixture(scope="module")
def words() -> tuple[Synset, ...]:
    if not (is_cached("wordnet") or shutil.which("apt-get")):
        pytest.skip("needs apt-get, which this machine has not")
    try:
        return synsets()
    except DataError as error:
        if "can't be downloaded" not in str(error):
            raise
        pytest.skip(str(error))


def test_the_counts_are_the_published_ones(words: tuple[Synset, ...]) -> None:
    """wnstats(7) of WordNet 3.0: sets and pairs of word and sense by part of speech."""
    assert Counter(s.key[0] for s in words) == {"n": 82_115, "v": 13_767, "a": 18_156, "r": 3_621}
    senses: Counter[str] = Counter()
    for synset in words:
        senses[synset.key[0]] += len({lemma.lower() for lemma in synset.lemmas})  # A and a are one word there
    assert senses == {"n": 146_312, "v": 25_047, "a": 30_002, "r": 5_580}
    # Shared knowledge of the files: examples, and sets with three texts or more.
    assert sum(len(s.examples) for s in words) == 48_339
    assert sum(1 + len(s.examples) >= 3 for s in words) == 9_804
    assert all(s.definition for s in words)
    assert len({name for s in words for name, _ in s.pointers}) == len(PREDICATES) == 16


def test_pointers_are_those_that_a_pattern_finds_in_the_files(words: tuple[Synset, ...]) -> None:
    """The other way, for one set in twenty: dpkg unpacks, and a pattern finds each pointer without counting fields."""
    if not shutil.which("dpkg"):
        pytest.skip("needs dpkg")
    pattern = re.compile(r" ([^\s0-9a-z][a-z]?) (\d{8}) ([nvar]) [0-9a-f]{4}(?= )")
    content = subprocess.run(["dpkg", "--fsys-tarfile", fetch("wordnet")], capture_output=True, check=True).stdout
    lines = re.findall(rb"^\d{8} \d\d [nvasr] .*?\|", content, re.MULTILINE)
    assert len(lines) == len(words)
    by_key = {s.key: s for s in words}
    for line in lines[::20]:
        text = line.decode("latin-1")
        place, _, kind, *_ = text.split()
        synset = by_key[kind.replace("s", "a") + place]
        expected = {(PREDICATES[symbol], k + key) for symbol, key, k in pattern.findall(text) if symbol in PREDICATES}
        assert set(synset.pointers) == expected
        assert len(synset.pointers) == len(expected)


def test_every_pointer_leads_somewhere_and_inverses_come_in_pairs(words: tuple[Synset, ...]) -> None:
    links = {(s.key, name, key) for s in words for name, key in s.pointers}
    keys = {s.key for s in words}
    assert len(keys) == len(words)
    assert {key for _, _, key in links} <= keys
    for name, inverse in (("part_of", "has_part"), ("member_of", "has_member"), ("substance_of", "has_substance")):
        forth = {(a, b) for a, n, b in links if n == name}
        back = {(b, a) for a, n, b in links if n == inverse}
        assert forth == back != set()


def test_a_wheel_is_part_of_a_car(words: tuple[Synset, ...]) -> None:
    by_key = {s.key: s for s in words}
    (wheel,) = (s for s in words if "car wheel" in s.lemmas)
    assert wheel.definition == "a wheel that has a tire and rim and hubcap; used to propel the car"
    named = {(name, by_key[key].lemmas[0]) for name, key in wheel.pointers}
    assert {("is_a", "wheel"), ("has_part", "hubcap")} <= named
    (car,) = (s for s in words if s.lemmas[:2] == ("car", "auto"))
    assert car.examples == ("he needs a car to get to work",)
    (hubcap,) = (s for s in words if s.lemmas == ("hubcap",))
    assert ("part_of", wheel.key) in hubcap.pointers


def test_a_line_is_read_as_the_format_says() -> None:
    # A satellite of an adjective with a marker, a hexadecimal number of words, one pointer twice by word, odd quotes.
    words = " ".join(f"word_{number} 0" for number in range(17))
    line = (
        f"00000042 00 s 12 early(a) 0 {words} 003 & 00000007 a 0000 ! 00000009 a 0101 ! 00000009 a 0201 | being soon: "
    )
    synset = parse_synset(line + '"an early end"; "soon", said he; "', "a")
    assert synset.key == "a00000042"
    assert synset.lemmas == ("early", *(f"word {number}" for number in range(17)))
    assert synset.definition == "being soon"
    assert synset.examples == ("an early end", "soon")
    assert synset.pointers == (("similar_to", "a00000007"), ("antonym_of", "a00000009"))
    # Verbs have sentence frames behind the pointers.
    verb = parse_synset("00000001 29 v 01 sigh 0 001 @ 00000002 v 0000 02 + 02 00 + 08 00 | breathe  ", "v")
    assert verb == Synset("v00000001", ("sigh",), "breathe", (), (("is_a", "v00000002"),))


@pytest.mark.parametrize("line", ["", "no set", "00000042 00 s 02 one 0 | too short", "00000042 00 s 01 one 0 000"])
def test_a_line_of_another_form_is_refused(line: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        parse_synset(line, "a")


def test_an_archive_with_other_files_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    from trainers.data import wordnet

    contents = dict.fromkeys(SOURCES["wordnet"].members, b"  licence\n00000042 nothing\n")
    monkeypatch.setattr(wordnet, "read_members", lambda path, members: contents)
    with pytest.raises(
        DataError, match=r"data\.noun must hold sets of words as in wndb\(5\), but has '00000042 nothing'"
    ):
        wordnet._read(tmp_path / "other")
