from pathlib import Path

import pytest

from .studies import Study


@pytest.fixture(autouse=True)
def _scratch_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(folder=tmp_path)
