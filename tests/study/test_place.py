"""Results in an object store, as far as no trial is run: every command reads and writes there as in a folder."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
import yaml

from results import ResultStore, Storage, open_storage
from study.folder import open_folder
from study.place import ResultsPlace, default_place, publishing
from study.resolve import ResolvedStudy

from ..results.conftest import s3, s3_server
from ..results.object_server import ObjectServer
from ..results.rows import row
from .studies import Study, resolved_config
from .test_cli import assert_one_line, batchlaw
from .test_half_done import reached, resolved, store

__all__ = ["resolved", "s3", "s3_server"]


@pytest.fixture
def url() -> str:
    return f"memory://{uuid.uuid4().hex}/studies"


def files(folder: Path) -> list[str]:
    found = [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "__pycache__"]
    return sorted(path.relative_to(folder).as_posix() for path in found)


def test_commands_answer_from_a_url_as_from_a_folder(
    resolved: ResolvedStudy, url: str, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = files(tmp_path)
    said = {}
    for place in (f"{url}/bowls", str(tmp_path / "out")):
        store(resolved, place, {"fast": reached, "slow": reached})
        for arguments in (
            ["status", place],
            ["report", place],
            ["plan", study.folder / "study.yaml", "--out", place],
            ["run", study.folder / "study.yaml", "--out", place, "--no-report"],
            ["predict", place, "--batch-size", "16", "--sweep", "fast"],
            ["fit", place, "--resamples", "40", "--processes", "1", "--out", f"{place}-fit"],
            ["predict", f"{place}-fit", "--batch-size", "16"],
        ):
            result = batchlaw(*arguments)
            assert result.exit_code == 0, result.output
            said.setdefault(place, []).append(result.stdout.replace(place, "PLACE"))
    there, here = said.values()
    assert there == here
    assert "18 of 18 trials stored" in here[0]
    assert "report: PLACE/report.html" in here[1]
    assert "nothing to run: all 18 trials are stored in PLACE" in here[3]
    assert "report: PLACE-fit/report.html" in here[5]
    written = [name for name in files(tmp_path) if name not in before]
    assert {name.partition("/")[0] for name in written} == {"out", "out-fit"}  # of the URL, nothing lies here
    for name in written:
        storage = open_storage(f"{url}/bowls{'-fit' if name.startswith('out-fit') else ''}")
        assert storage.is_file(name.partition("/")[2]), name
    cells = open_storage(f"{url}/bowls").read("tables/cells.csv")
    assert cells == (tmp_path / "out" / "tables" / "cells.csv").read_bytes()


def test_without_an_out_results_go_to_the_storage_path_of_the_study(
    resolved: ResolvedStudy, url: str, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = study.folder / "study.yaml"
    for place, storage_path in ((url, url), (url, f"{url}/"), ("shared", "shared"), (str(tmp_path), str(tmp_path))):
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "storage_path": storage_path}))
        store(resolved, f"{place}/bowls", {"fast": reached} if place != url or storage_path == url else {})
        result = batchlaw("plan", path)
        assert "9 stored, 9 to run" in result.stdout, result.output
    config = resolved_config({})
    assert str(default_place(config)) == "results/shape"
    assert str(default_place(config).beside("-probe")) == "results/shape-probe"


def test_a_storage_path_survives_beside_the_results(resolved: ResolvedStudy, url: str) -> None:
    config = resolved.config.model_copy(update={"storage_path": url})
    place = default_place(config)
    store(ResolvedStudy(**{**vars(resolved), "config": config}), str(place), {})
    assert open_folder(place)[0] == config


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("s3://key:hunter2@bucket/a", "s3://…@bucket/a: keys and options belong into the environment"),
        ("s3://bucket/a?secret_key=hunter2", "s3://bucket/a: keys and options belong into the environment"),
        ("s3://bucket/../other", "without empty parts"),
        ("nothing://bucket/a", "no storage is known by nothing://"),
    ],
)
def test_what_can_not_be_a_place_is_one_line_in_every_command(
    place: str, said: str, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(study.folder)
    path = study.write()
    (study.folder / "runs.csv").write_text("batch_size,lr,loss,steps\n8,0.1,1.0,10\n", encoding="utf-8")
    before = files(study.folder)
    for arguments in (
        ["plan", path, "--out", place],
        ["run", path, "--out", place],
        ["probe", path, "--out", place],
        ["status", place],
        ["report", place],
        ["fit", "runs.csv", "--out", place],
        ["tradeoff", "runs.csv", "--out", place],
        ["predict", place, "--batch-size", "8"],
        ["predict", "--from-probe", place, "--batch-size", "8"],
    ):
        result = batchlaw(*arguments)
        assert_one_line(result, said)
        assert "hunter2" not in result.output
    path.write_text(f"storage_path: '{place}'\n" + path.read_text())
    result = batchlaw("plan", path)
    assert_one_line(result, f"{path}:1: storage_path: ", said)
    assert "hunter2" not in result.output
    assert [name for name in files(study.folder) if name not in before] == []


def test_files_of_loggers_come_from_the_url_and_go_back_there(resolved: ResolvedStudy, s3: ObjectServer) -> None:
    pytest.importorskip("tensorboardX")
    place = f"s3://bucket/{uuid.uuid4().hex}/bowls"
    store(resolved, place, {"fast": reached})
    first = batchlaw("export", place, "--tensorboard")
    assert first.exit_code == 0, first.output
    fs, root = open_storage(place).filesystem()
    written = {path: fs.cat_file(path) for path in fs.find(f"{root}/loggers/tensorboard")}
    assert len(written) == 9
    again = batchlaw("export", place, "--tensorboard")  # sees what is there, and leaves it as it is
    assert again.exit_code == 0, again.output
    assert {path: fs.cat_file(path) for path in fs.find(f"{root}/loggers")} == written


def test_a_study_is_no_url(url: str) -> None:
    assert_one_line(batchlaw("plan", f"{url}/study.yaml"), "a study is a file of this machine")


def test_what_is_not_there_is_named_by_its_url(url: str) -> None:
    assert_one_line(batchlaw("status", url), f"{url}: holds no study.yaml")
    assert_one_line(batchlaw("predict", url, "--batch-size", "8"), f"{url}: no such folder")
    open_storage(url).write("tables/cells.csv", b"a,b\n1,2\n")
    assert_one_line(batchlaw("predict", url, "--batch-size", "8"), f"{url}/tables/cells.csv: needs the columns")


def test_a_place_is_named_as_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for text, shown in (("a/", "a"), ("./a//b", "a/b"), ("s3://bucket/a/", "s3://bucket/a"), ("~/a", "~/a")):
        assert str(ResultsPlace.of(text)) == shown
    assert ResultsPlace.of("a").where("report.html") == "a/report.html"
    assert ResultsPlace.of("s3://bucket/a").where("report.html") == "s3://bucket/a/report.html"


def test_what_is_made_appears_whole_with_the_pages_last_and_not_at_all_after_an_error(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = ResultStore(url)
    written: list[str] = []
    write = type(results.storage).write

    def watch(storage: Storage, name: str, data: bytes) -> None:
        written.append(name)
        write(storage, name, data)

    monkeypatch.setattr(type(results.storage), "write", watch)

    def fail_half_way() -> None:
        with publishing(results) as made:
            (made / "report.html").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert written == []
    with publishing(results) as made:
        (made / "report.html").write_text("page")
        (made / "tables").mkdir()
        (made / "tables" / "z.csv").write_text("z")
    assert written == ["tables/z.csv", "report.html"]

    def refuse() -> None:
        raise OSError("another run took over")

    results.before_writing = refuse
    with pytest.raises(OSError, match="took over"), publishing(results) as made:
        (made / "report.html").write_text("late")
    assert results.storage.read("report.html") == b"page"


def test_a_name_leads_to_no_other_study(url: str) -> None:
    """Names of studies hold no slash, so that each has its own place below the storage."""
    results = ResultStore(ResultsPlace.of(f"{url}/a").storage)
    results.append(row("a" * 16))
    assert len(ResultsPlace.of(f"{url}/ab").store().trials()) == 0
