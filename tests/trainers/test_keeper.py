"""Where checkpoints lie: whole or not at all, the last two, the newest that is whole; and storage that fails."""

import errno
import json
import pickle

import fsspec
import pytest

from trainers import keeper as module
from trainers.keeper import Keeper
from trainers.tensor_file import CheckpointError

from .resume_cases import Eager, own_memory

ORIGIN = {"trial": "a1"}


@pytest.fixture(params=["local", "memory"])
def place(request, tmp_path):
    return (fsspec.filesystem("file"), f"{tmp_path}/run") if request.param == "local" else (own_memory(), "/run")


def keep(place, **options):
    return Eager(*place, every_seconds=0.0, **options)


def save(keeper, step, *, own=None):
    return keeper.save(
        step=step, common=b"common %d" % step, own=own or b"own %d" % step, run={"step": step}, origin=ORIGIN
    )


def load(keeper, use=lambda found: found, **origin):
    return keeper.load(use, origin=ORIGIN | origin)


def files(place):
    fs, folder = place
    return sorted(path.removeprefix(folder).lstrip("/") for path in fs.find(folder))


def path_of(place, step, file):
    fs, folder = place
    (found,) = [path for path in fs.find(folder) if f"/{step:012d}-" in path and path.endswith(file)]
    return found


def test_what_was_saved_comes_back_and_is_the_newest(place):
    for step in (8, 16):
        written = save(keep(place), step)
        assert (written.problem, written.file_bytes) == ("", len(b"common %down %d" % (step, step)))
    found, problems = load(keep(place))
    assert (found.step, found.common, found.own, found.run) == (16, b"common 16", b"own 16", {"step": 16})
    assert problems == []


def test_the_last_two_are_kept(place):
    keeper = keep(place)
    for step in (8, 16, 24, 1000):
        save(keeper, step)
    assert {path.split("-")[0] for path in files(place)} == {f"{step:012d}" for step in (24, 1000)}
    assert len(files(place)) == 6


def test_nothing_is_made_before_there_is_something_to_keep(place):
    keeper = keep(place)
    assert load(keeper) == (None, [])
    assert not place[0].exists(place[1])


def test_numbers_that_json_has_no_name_for_come_back(place):
    keeper = keep(place)
    keeper.save(step=1, common=b"", own=b"", run={"value": float("nan"), "more": [float("-inf"), 0.1]}, origin=ORIGIN)
    assert repr(load(keeper)[0].run) == "{'value': nan, 'more': [-inf, 0.1]}"


CUTS = [0, 1, 4, 5]


@pytest.mark.parametrize("file", ["common.safetensors", "rank-0.safetensors", "manifest.json"])
@pytest.mark.parametrize("end", CUTS)
def test_a_file_that_was_cut_is_seen_and_the_checkpoint_before_is_taken(place, file, end):
    keeper = keep(place)
    save(keeper, 8)
    save(keeper, 16)
    path = path_of(place, 16, file)
    place[0].pipe_file(path, place[0].cat_file(path)[:end])
    found, (problem,) = load(keep(place))
    assert found.step == 8
    said = "manifest.json is not what was written" if file == "manifest.json" else f"{file} has {end} bytes of "
    assert problem.startswith("checkpoint 000000000016-")
    assert said in problem
    assert "\n" not in problem


@pytest.mark.parametrize("file", ["common.safetensors", "rank-0.safetensors", "manifest.json"])
def test_a_changed_bit_is_seen(place, file):
    keeper = keep(place)
    save(keeper, 8)
    save(keeper, 16)
    path = path_of(place, 16, file)
    content = bytearray(place[0].cat_file(path))
    content[len(content) // 2] ^= 1
    place[0].pipe_file(path, bytes(content))
    found, (problem,) = load(keep(place))
    assert found.step == 8
    assert f"{file} is not what was written" in problem


@pytest.mark.parametrize("file", ["common.safetensors", "rank-0.safetensors", "manifest.json"])
def test_a_checkpoint_that_lacks_a_file_is_not_used(place, file):
    keeper = keep(place)
    save(keeper, 8)
    save(keeper, 16)
    place[0].rm(path_of(place, 16, file))
    assert load(keep(place))[0].step == 8
    place[0].rm(path_of(place, 8, file))
    assert load(keep(place))[0] is None


@pytest.mark.parametrize(
    "content", [b"null", b"[]", b'{"sha256": 1, "checkpoint": 2}', b"{}", b"\xff", pickle.dumps(1)]
)
def test_a_manifest_of_something_else_is_not_used(place, content):
    keeper = keep(place)
    save(keeper, 8)
    place[0].pipe_file(path_of(place, 8, "manifest.json"), content)
    assert load(keep(place))[0] is None


def test_files_that_are_not_ours_are_left_alone(place):
    fs, folder = place
    keeper = keep(place)
    fs.makedirs(f"{folder}/notes", exist_ok=True)
    fs.pipe_file(f"{folder}/notes/000000000099-manifest.json", b"{}")
    for step in (8, 16, 24):
        save(keeper, step)
    assert load(keeper)[0].step == 24
    assert fs.exists(f"{folder}/notes/000000000099-manifest.json")


def test_a_half_written_checkpoint_of_another_process_is_not_removed_nor_used(place):
    fs, folder = place
    keeper = keep(place)
    save(keeper, 8)
    fs.makedirs(f"{folder}/000000000020-00000000", exist_ok=True)
    fs.pipe_file(f"{folder}/000000000020-00000000/rank-0.safetensors", b"x")
    for step in (16, 24):
        save(keeper, step)
    assert fs.exists(f"{folder}/000000000020-00000000/rank-0.safetensors")
    save(keeper, 32)
    assert not fs.exists(f"{folder}/000000000020-00000000")
    assert load(keeper)[0].step == 32


@pytest.mark.parametrize(
    ("mine", "said"),
    [
        ({"origin": {"code": "77e0"}}, "its code is 91af, and this run's 77e0"),
        ({}, "its code is 91af, and this run's unknown"),
    ],
)
def test_a_checkpoint_of_another_origin_is_named_and_not_used(place, mine, said):
    save(keep(place, origin={"code": "91af"}), 8)
    found, (problem,) = load(keep(place, **mine))
    assert found is None
    assert said in problem
    found, (problem,) = load(keep(place, origin={"code": "91af"}), trial="b2")
    assert (found, problem.split(": ")[1]) == (None, "its trial is a1, and this run's b2")


def test_a_checkpoint_of_another_format_is_not_used(place, monkeypatch):
    save(keep(place), 8)
    monkeypatch.setattr(module, "_FORMAT", 2)
    found, (problem,) = load(keep(place))
    assert found is None
    assert "its format is 1, and this code reads 2" in problem


def test_a_checkpoint_that_its_user_refuses_is_passed_over(place):
    keeper = keep(place)
    save(keeper, 8)
    save(keeper, 16)

    def use(found):
        if found.step == 16:
            raise CheckpointError("wrong shape\nand more")
        return found

    found, (problem,) = load(keeper, use)
    assert found.step == 8
    assert problem.endswith("is not used: wrong shape")


class Failing:
    """A file system that fails in one call."""

    def __init__(self, inner, call, error):
        self._inner, self._call, self._error = inner, call, error

    def __getattr__(self, name):
        if name == self._call:
            return self._fail
        return getattr(self._inner, name)

    def _fail(self, *_args, **_kwargs):
        raise self._error


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("call", ["makedirs", "pipe_file"])
@pytest.mark.parametrize("error", [FULL, OSError(errno.EROFS, "Read-only file system"), RuntimeError("503\nlater")])
def test_storage_that_can_not_be_written_is_told_and_the_last_checkpoint_stays(call, error):
    inner = own_memory()
    save(keep((inner, "/run")), 8)
    written = save(keep((Failing(inner, call, error), "/run")), 16)
    assert written.problem == f"{type(error).__name__}: {str(error).splitlines()[0]}"
    assert load(keep((inner, "/run")))[0].step == 8


def test_a_manifest_that_can_not_be_written_is_told():
    inner = own_memory()

    class NoManifest(Failing):
        def _fail(self, path, content):
            if path.endswith(".json"):
                raise self._error
            inner.pipe_file(path, content)

    written = save(keep((NoManifest(inner, "pipe_file", FULL), "/run")), 8)
    assert "No space left on device" in written.problem
    assert load(keep((inner, "/run")))[0] is None


@pytest.mark.parametrize("call", ["ls", "cat_file", "rm", "exists"])
def test_storage_that_can_not_be_read_or_tidied_is_a_start_from_the_beginning(call):
    inner = own_memory()
    save(keep((inner, "/run")), 8)
    failing = keep((Failing(inner, call, RuntimeError("gone")), "/run"))
    assert save(failing, 16).problem == ""
    found, problems = load(failing)
    if call in ("ls", "cat_file"):
        assert found is None
        assert all("gone" in problem for problem in problems)
        assert problems
    else:
        assert found.step == 16


def test_checkpoints_are_due_in_time_and_never_take_more_than_a_twentieth_of_it(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])

    class Slow(Failing):
        def _fail(self, path, content):
            now[0] += 2.0
            self._inner.pipe_file(path, content)

    keeper = Keeper(Slow(own_memory(), "pipe_file", None), "/run", every_seconds=60.0)
    assert not keeper.due()
    now[0] += 59.9
    assert not keeper.due()
    now[0] += 0.2
    assert keeper.due()
    assert save(keeper, 8).seconds == 6.0  # three files
    now[0] += 119.0
    assert not keeper.due()
    now[0] += 1.5
    assert keeper.due()


def test_a_keeper_in_a_hurry_is_due_once():
    keeper = Keeper(own_memory(), "/run", every_seconds=1e9)
    assert not keeper.due()
    keeper.hurry()
    assert keeper.due()
    save(keeper, 8)
    assert not keeper.due()


def test_a_manifest_can_be_read_by_hand(place):
    save(keep(place, origin={"code": "91af"}), 8)
    told = json.loads(json.loads(place[0].cat_file(path_of(place, 8, "manifest.json")))["checkpoint"])
    assert told["origin"] == {"code": "91af", "trial": "a1"}
    assert told["files"]["rank-0.safetensors"]["bytes"] == 5
