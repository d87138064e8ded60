import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from study.scratch import scratch_folder

ABANDON = """
import os
from study.scratch import scratch_folder
with scratch_folder() as folder:
    print(folder, flush=True)
    os.kill(os.getpid(), 9)
"""


@pytest.fixture
def _temporary_root(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="s", dir="/tmp") as root:
        monkeypatch.setenv("TMPDIR", root)
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield
        monkeypatch.undo()


@pytest.mark.usefixtures("_temporary_root")
def test_the_folder_is_gone_afterwards_and_spares_the_living() -> None:
    with scratch_folder() as first:
        (first / "file").write_text("x")
        with scratch_folder() as second:
            assert first.is_dir()
            assert first != second
        assert not second.exists()
    assert not first.exists()


@pytest.mark.usefixtures("_temporary_root")
def test_what_a_killed_run_leaves_goes_with_the_next() -> None:
    root = Path(__file__).resolve().parents[2]
    killed = subprocess.run([sys.executable, "-c", ABANDON], cwd=root, capture_output=True, text=True, check=False)
    left = Path(killed.stdout.strip())
    assert left.is_dir()
    with scratch_folder():
        assert not left.exists()
