"""A workload in a file of a user's, which may import what lies beside it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainers import workloads
from trainers.workloads import load_workload

MINE = """
from trainers.workloads.quadratic import Quadratic
from {beside} import VALUE


class Mine(Quadratic):
    summary = VALUE

    def prepare(self):
        from {beside}_later import LATER

        self.later = LATER
"""


@pytest.fixture(autouse=True)
def _nothing_stays(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(workloads, "_FOLDERS", [])
    monkeypatch.setattr(workloads, "_NEIGHBOURS", {})
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("beside"):
            del sys.modules[name]


def write(folder: Path, beside: str, value: str) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "mine.py").write_text(MINE.format(beside=beside))
    (folder / f"{beside}.py").write_text(f"VALUE = {value!r}\n")
    (folder / f"{beside}_later.py").write_text(f"LATER = {value!r}\n")
    return f"{folder}/mine.py:Mine"


def test_a_file_may_import_what_lies_beside_it_at_once_and_later(tmp_path: Path) -> None:
    names = [write(tmp_path / "one", "beside_one", "1"), write(tmp_path / "two", "beside_two", "2")]
    loaded = [load_workload(name, {}) for name in names]
    assert [workload.summary for workload in loaded] == ["1", "2"]
    for workload in loaded:
        workload.prepare()
    assert [vars(workload)["later"] for workload in loaded] == ["1", "2"]


def test_what_is_installed_is_not_hidden_by_what_lies_beside_a_file(tmp_path: Path) -> None:
    name = write(tmp_path, "beside_three", "3")
    (tmp_path / "wave.py").write_text("raise AssertionError('the wrong module')\n")
    sys.modules.pop("wave", None)
    load_workload(name, {})
    import wave

    assert hasattr(wave, "Wave_read")


def test_of_equal_names_beside_two_files_each_gets_its_own(tmp_path: Path) -> None:
    names = [write(tmp_path / folder, "beside", folder) for folder in ("one", "two")]
    first, second = (load_workload(name, {}) for name in names)
    assert (first.summary, second.summary) == ("one", "two")
    assert load_workload(names[0], {}).summary == "one"
    second.prepare()  # what is imported later comes from the folder that was loaded last
    assert vars(second)["later"] == "one"


def test_what_is_installed_below_the_folder_is_not_forgotten(tmp_path: Path) -> None:
    name = write(tmp_path / "one", "beside", "1")
    installed = tmp_path / "one" / "environment"
    installed.mkdir()
    (installed / "beside_installed.py").write_text("")
    sys.path.append(str(installed))
    (tmp_path / "one" / "beside.py").write_text("import beside_installed\nVALUE = '1'\n")
    load_workload(name, {})
    kept = sys.modules["beside_installed"]
    load_workload(write(tmp_path / "two", "beside", "2"), {})
    assert sys.modules["beside_installed"] is kept


def test_one_folder_may_hold_several_workloads(tmp_path: Path) -> None:
    assert load_workload(write(tmp_path, "beside", "1"), {}).summary == "1"
    assert load_workload(write(tmp_path, "beside", "1"), {}).summary == "1"
    assert sys.path.count(str(tmp_path)) == 1
