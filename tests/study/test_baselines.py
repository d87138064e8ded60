"""What trivial methods reach, kept and said beside the answer."""

from pathlib import Path

from results import ResultStore
from study.baselines import baseline_sentences, read_baselines, write_baselines

FOUND = {"simsiam": {"raw pixels": 0.91088, "untrained encoder": 0.87373}}


def test_baselines_are_said_beside_the_answer() -> None:
    assert baseline_sentences(FOUND) == ["simsiam: without this training, raw pixels 0.9109, untrained encoder 0.8737."]


def test_baselines_are_kept_beside_the_rows(tmp_path: Path) -> None:
    assert read_baselines(tmp_path) == {}
    write_baselines(ResultStore(tmp_path), FOUND)
    assert read_baselines(tmp_path) == FOUND
