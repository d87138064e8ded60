"""Nothing that stands in a study, in a row or in a shared folder makes a run read or write anywhere else."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path

import pytest

from results import ResultStore, open_storage
from results.parts import part_of
from study.errors import ConfigError
from study.loading import load_study

from ..results.rows import points, row

HOSTILE_NAMES = ["../x", "/etc/passwd", "a/b", "..", ".", ".hidden", "a\nb", "<script>", "a b", "", "x" * 101, "a\\b"]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize("where", ["study", "sweep"])
def test_a_name_is_no_path(name: str, where: str, tmp_path: Path) -> None:
    text = f"name: {json.dumps(name if where == 'study' else 'a')}\nsweeps:\n"
    text += f"  - name: {json.dumps(name if where == 'sweep' else 'a')}\n"
    text += "    workload: quadratic\n    optimizer: sgd\n    outcome: value_at_budget\n    batch_sizes: [2]\n"
    text += "    learning_rates: [0.1]\n    budget: {steps: 2}\n"
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="name: ") as caught:
        load_study(path)
    assert "\n" not in str(caught.value)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "precious").write_text("kept")
    return folder


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    folder.mkdir()
    return folder


def assert_untouched(outside: Path) -> None:
    assert [path.name for path in outside.iterdir()] == ["precious"]
    assert (outside / "precious").read_text() == "kept"


def forged(trial_id: str) -> bytes:
    """A part with a good checksum, as anybody can make one."""
    honest = part_of(row("a" * 16), {"curves": [], "probes": []})
    payload = honest.partition(b"\n")[2].replace(b'"' + b"a" * 16 + b'"', json.dumps(trial_id).encode())
    return f"batchlaw-part 1 {hashlib.sha256(payload).hexdigest()}\n".encode() + payload


@pytest.mark.parametrize("trial_id", ["../../outside/precious", "/etc/passwd", "b" * 16, "", "a" * 15 + "/"])
def test_a_part_with_the_id_of_another_file_is_named_and_moves_nothing(
    trial_id: str, inside: Path, outside: Path
) -> None:
    store = ResultStore(inside)
    store.append(row("c" * 16), points(1))
    (outside / "precious.json").write_text("kept")
    (inside / "parts" / f"{'a' * 16}.json").write_bytes(forged(trial_id))
    stored = store.read()
    assert stored.trials["trial_id"].tolist() == ["c" * 16]
    (skipped,) = stored.skipped
    assert skipped.path.endswith(f"{'a' * 16}.json")
    assert store.compact() == 1
    assert (outside / "precious.json").read_text() == "kept"
    assert [path.name for path in (inside / "parts").iterdir()] == [f"{'a' * 16}.json"]  # left for whoever forged it


def test_the_forgery_is_well_made(inside: Path) -> None:
    store = ResultStore(inside)
    store.storage.write(f"parts/{'a' * 16}.json", forged("a" * 16))
    assert store.read().trials["trial_id"].tolist() == ["a" * 16]


@pytest.mark.parametrize("folder", ["parts", "compacted"])
def test_a_folder_that_is_a_link_to_elsewhere_is_refused(folder: str, inside: Path, outside: Path) -> None:
    (inside / folder).symlink_to(outside)
    store = ResultStore(inside)
    for act in (store.read, lambda: store.append(row("a" * 16)), store.compact):
        with pytest.raises(OSError, match="symbolic link") as caught:
            act()
        assert caught.value.errno == errno.ELOOP
        assert str(inside / folder) in str(caught.value.filename)
    assert_untouched(outside)


def test_a_part_that_is_a_link_to_elsewhere_is_not_read(inside: Path, outside: Path) -> None:
    (outside / f"{'a' * 16}.json").write_bytes(forged("a" * 16))
    (inside / "parts").mkdir()
    (inside / "parts" / f"{'a' * 16}.json").symlink_to(outside / f"{'a' * 16}.json")
    stored = ResultStore(inside).read()
    assert len(stored.trials) == 0
    (skipped,) = stored.skipped
    assert "symbolic link" in skipped.reason


def test_a_link_in_the_place_of_a_file_or_of_its_half_written_self_is_replaced(inside: Path, outside: Path) -> None:
    storage = open_storage(inside)
    (inside / f".study.yaml.{os.getpid()}.tmp").symlink_to(outside / "precious")
    storage.write("study.yaml", b"ours")
    assert (inside / "study.yaml").read_bytes() == b"ours"
    assert [path.name for path in inside.iterdir()] == ["study.yaml"]
    assert_untouched(outside)


def test_a_folder_of_results_may_itself_be_reached_by_a_link(inside: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(inside)
    ResultStore(tmp_path / "link").append(row("a" * 16))
    assert ResultStore(inside).read().trials["trial_id"].tolist() == ["a" * 16]


def test_a_pipe_among_the_parts_is_not_waited_for(inside: Path) -> None:
    (inside / "parts").mkdir()
    os.mkfifo(inside / "parts" / f"{'a' * 16}.json")
    assert len(ResultStore(inside).read().trials) == 0
