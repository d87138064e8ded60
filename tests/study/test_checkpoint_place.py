"""Where checkpoints lie: whose they are is told by folders, which go when the trial is stored."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

import pytest

from results.storage import open_storage
from study.checkpoint_place import CheckpointPlace, keeper_of, sees

from ..results.conftest import gcs, gcs_server, s3, s3_server  # noqa: F401

STORED, OPEN, STRAY = "a" * 16, "b" * 16, "c" * 16


@pytest.fixture(params=["folder", "memory", "s3", "gs"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty place of each kind."""
    if request.param == "folder":
        return str(tmp_path)
    if request.param == "memory":
        return f"memory://{uuid.uuid4().hex}/study"
    request.getfixturevalue("s3" if request.param == "s3" else "gcs")
    return f"{request.param}://bucket/{uuid.uuid4().hex}/a study"


def files(url: str) -> list[str]:
    fs, root = open_storage(url).filesystem()
    fs.invalidate_cache()
    return sorted(path.strip("/").removeprefix(root.strip("/")).lstrip("/") for path in fs.find(root))


def put(url: str, *trial_ids: str) -> None:
    fs, root = open_storage(url).filesystem()
    for trial_id in trial_ids:
        fs.makedirs(f"{root}/checkpoints/{trial_id}/1", exist_ok=True)
        fs.pipe_file(f"{root}/checkpoints/{trial_id}/1/manifest.json", b"{}")


def place(url: str, *, every_seconds: float | None = 60.0) -> CheckpointPlace:
    made = CheckpointPlace(open_storage(url), every_seconds=every_seconds)
    assert made.open(is_stored=lambda name: name == STORED) == ""
    return made


def test_what_belongs_to_stored_trials_goes_at_the_start_and_all_at_the_end(url: str) -> None:
    put(url, STORED, OPEN, STRAY)
    here = place(url)
    assert files(url) == [f"checkpoints/{name}/1/manifest.json" for name in (OPEN, STRAY)] + ["checkpoints/token"]
    here.forget(OPEN)
    assert files(url) == [f"checkpoints/{STRAY}/1/manifest.json", "checkpoints/token"]
    here.close(is_stored=lambda name: name in (STORED, OPEN), finished=True)
    assert files(url) == []
    if "://" not in url:
        assert not Path(url, "checkpoints").exists()


def test_a_study_that_was_stopped_keeps_what_it_goes_on_from(url: str) -> None:
    here = place(url)
    put(url, OPEN, STORED)
    here.close(is_stored=lambda name: name == STORED, finished=False)
    assert files(url) == [f"checkpoints/{OPEN}/1/manifest.json"]


def test_a_trial_without_checkpoints_costs_no_look_at_the_storage(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here = place(url)
    put(url, OPEN)
    with monkeypatch.context() as patched:
        patched.setattr(CheckpointPlace, "_place", property(lambda _: pytest.fail("looked")))
        here.forget(OPEN)
        here.kept(OPEN)
    here.forget(OPEN)
    assert files(url) == ["checkpoints/token"]


def test_without_checkpoints_nothing_is_written(url: str) -> None:
    here = place(url, every_seconds=None)
    assert here.job(OPEN) == {"checkpoints": None}
    here.close(is_stored=lambda _: False, finished=True)
    assert files(url) == []


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "checkpoints" / "notes").mkdir(parents=True)
    (tmp_path / "checkpoints" / "notes" / "mine").touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine").touch()
    (tmp_path / "checkpoints" / STRAY).symlink_to(tmp_path / "elsewhere")
    place(str(tmp_path)).close(is_stored=lambda _: True, finished=True)
    assert (tmp_path / "checkpoints" / "notes" / "mine").exists()
    assert (tmp_path / "elsewhere" / "mine").exists()


def test_a_worker_sees_the_place_by_what_the_driver_of_this_run_wrote(url: str, tmp_path: Path) -> None:
    job = place(url).job(OPEN)["checkpoints"]
    assert sees(job)
    assert not sees({**job, "url": f"{url}/other"})
    place(url)  # another driver, as where the folder of one machine has the path of another one's
    assert not sees(job)


def test_a_checkpoint_is_kept_found_and_pruned_in_every_kind_of_place(url: str) -> None:
    job = place(url).job(OPEN)["checkpoints"]
    keeper = keeper_of(job, origin={"trial id": OPEN})
    for step in (8, 16, 24):
        written = keeper.save(step=step, common=b"c" * 70_000, own=b"%d" % step, run={"step": step}, origin={})
        assert written.problem == ""
    assert len(files(url)) == 2 * 3 + 1
    found, problems = keeper_of(job, origin={"trial id": OPEN}).load(lambda checkpoint: checkpoint, origin={})
    assert problems == []
    assert (found.step, found.own, found.run, len(found.common)) == (24, b"24", {"step": 24}, 70_000)
    other, problems = keeper_of(job, origin={"trial id": STRAY}).load(lambda checkpoint: checkpoint, origin={})
    assert other is None
    assert f"its trial id is {OPEN}" in problems[0]


def test_a_relative_folder_is_told_to_workers_as_a_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    job: dict[str, Any] = place("results/a::b*[c]").job(OPEN)["checkpoints"]
    os.chdir("/")
    assert sees(job)
    keeper = keeper_of(job, origin={"trial id": OPEN})
    assert keeper.save(step=1, common=b"c", own=b"o", run={}, origin={}).problem == ""
    (folder,) = (tmp_path / "results" / "a::b*[c]" / "checkpoints" / OPEN).iterdir()
    assert sorted(path.name for path in folder.iterdir()) == [
        "common.safetensors",
        "manifest.json",
        "rank-0.safetensors",
    ]


def test_a_storage_that_refuses_is_told_in_one_line_and_nothing_is_kept(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").touch()
    here = CheckpointPlace(open_storage(tmp_path), every_seconds=60.0)
    problem = here.open(is_stored=lambda _: False)
    assert problem.startswith(
        f"{tmp_path}: no checkpoints are kept, so that a trial whose worker is lost begins anew: "
    )
    assert "\n" not in problem
    assert here.job(OPEN) == {"checkpoints": None}
    here.close(is_stored=lambda _: True, finished=True)
    assert (tmp_path / "checkpoints").is_file()


def test_a_driver_whose_place_was_taken_over_leaves_the_other_ones_token(url: str) -> None:
    before, after = place(url), place(url)
    before.close(is_stored=lambda _: False, finished=False)
    assert sees(after.job(OPEN)["checkpoints"])
