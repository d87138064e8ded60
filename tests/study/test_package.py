"""What is packaged of a study, and that it is the same study on the other side."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from study import package, training
from study import pins as pins_module
from study import study_files as study_files_module
from study.crew import CannotTrain
from study.design import Design
from study.errors import ConfigError
from study.loading import load_study
from study.package import describe, stage
from study.packaged import PACKAGED_FILE, ROOT, STUDY_FOLDER, arrived, read_packaged, travelling
from study.pins import PINNED, differences, installed_versions, public, requirements, unlike_the_package
from study.resolve import ResolvedStudy, resolve
from study.study_files import study_files
from study.submitted import check_versions
from study.version import code_digest

from .studies import Study


def resolved(study: Study, **sweep: object) -> ResolvedStudy:
    return resolve(load_study(study.write(**sweep)))


@pytest.fixture
def crowded(study: Study) -> ResolvedStudy:
    """A study in a folder where much else lies."""
    for name, text in {
        "helper.py": "x = 1",
        "parts/__init__.py": "",
        "parts/deep/more.py": "",
        "notes/thoughts.py": "",
        ".env": "PASSWORD=sentinel",
        ".gitignore": "*",
        "data/rows.csv": "1,2",
        "data/.gitignore": "*.csv",
        "results/old.parquet": "",
    }.items():
        path = study.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return resolved(study)


def test_a_package_holds_the_code_the_study_and_its_own_files(crowded: ResolvedStudy, tmp_path: Path) -> None:
    folder = tmp_path / "package"
    staged = stage(crowded, study_files(crowded), folder, describe(crowded, out="/data/x"))
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    own = {name.removeprefix(f"{STUDY_FOLDER}/") for name in files if name.startswith(STUDY_FOLDER)}
    assert own == {"bowl.py", "helper.py", "parts/__init__.py", "parts/deep/more.py", "study.yaml", "packaged.json"}
    ours = {name for name in files if not name.startswith(STUDY_FOLDER)}
    assert {name.split("/")[0] for name in ours} == {"analysis", "results", "study", "trainers"}
    assert {Path(name).suffix for name in ours} == {".py", ".yaml", ".css", ".js"}
    assert "study/presets/quick.yaml" in ours
    assert "analysis/page/assets/report.js" in ours
    assert staged.files == len(files)
    assert staged.size_bytes < 5_000_000


def test_further_files_are_packaged_when_asked_for(crowded: ResolvedStudy) -> None:
    files = study_files(crowded, include=["data", "results/old.parquet"])
    # An ignore file would hide the others from Ray.
    assert {"data/rows.csv", "results/old.parquet", "bowl.py"} <= set(files)
    assert "data/.gitignore" not in files


def test_the_packaged_code_runs_by_itself_and_says_where_it_is_from(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package, "code_version", lambda: "0.1.0+gfeed")
    config = resolved(study)
    staged = stage(config, study_files(config), tmp_path / "package", describe(config, out="s3://bucket/x"))
    program = (
        "import json, study.version as v, study.packaged as p, study.loading as l, study.resolve as r, pathlib\n"
        "s = r.resolve(l.load_study(pathlib.Path('submitted_study/study.yaml')))\n"
        "print(json.dumps([v.__file__, v.code_version(), v.code_digest(), p.packaged().out, s.config.workload_folder]))"
    )
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=staged.folder, env=bare, capture_output=True, text=True, check=True
    )
    file, version, code, out, folder = json.loads(done.stdout.splitlines()[-1])
    assert file == str(staged.folder / "study" / "version.py")
    assert (version, code, out) == ("0.1.0+gfeed", code_digest(), "s3://bucket/x")
    assert folder == str(study.folder)  # the stored study can be run where it came from


def test_the_packaged_study_has_the_same_trials(study: Study, tmp_path: Path) -> None:
    config = resolved(study)
    folder = stage(config, study_files(config), tmp_path / "package", describe(config, out="/x")).folder
    loaded = load_study(folder / STUDY_FOLDER / "study.yaml")
    assert loaded.folder == folder / STUDY_FOLDER
    before, after = ([trial.trial_id for trial in Design(c).trials({})] for c in (config.config, loaded.config))
    assert before == after != []


@pytest.mark.parametrize("workload", ["{outside}/bowl.py:Bowl", "../{outside.name}/bowl.py:Bowl"])
def test_workloads_outside_the_studys_folder_are_refused(study: Study, workload: str) -> None:
    study.write()
    inside = Study(folder=study.folder / "inside")
    inside.folder.mkdir()
    name = workload.replace("{outside}", str(study.folder)).replace("{outside.name}/", "")
    config = resolve(load_study(inside.write(workload=name)))
    with pytest.raises(ConfigError, match="packages files of its own folder alone") as error:
        study_files(config)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("include", "message"),
    [("../x", "its own folder alone"), ("/etc/passwd", "its own folder alone"), ("nothing", "no such file or folder")],
)
def test_further_files_must_be_there_and_inside(study: Study, include: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        study_files(resolved(study), include=[include])


def test_too_much_is_refused_by_the_name_of_the_largest(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    config = resolved(study)
    (study.folder / "large.bin").write_bytes(bytes(3_000_000))
    monkeypatch.setattr(study_files_module, "LARGEST_BYTES", 2_000_000)
    with pytest.raises(ConfigError, match=r"at most 2 MB together, but are 3\.0 MB, the largest being large\.bin"):
        study_files(config, include=["large.bin"])


def test_locations_travel_between_copies_of_the_package() -> None:
    here, there = Path("/tmp/session_1/package_a"), Path("/scratch/session_2/package_b")
    location = f"{here}/{STUDY_FOLDER}/sub/mine.py:Mine"
    assert arrived(travelling(location, root=here), root=there) == f"{there}/{STUDY_FOLDER}/sub/mine.py:Mine"
    for other in ("bert-mlm", "/home/me/mine.py:Mine", f"{here}/study/x.py"):
        assert arrived(travelling(other, root=here), root=there) == other


def test_a_package_must_say_what_it_is(tmp_path: Path) -> None:
    for text in (
        "",
        "[]",
        '{"version": "1"}',
        '{"version": "1", "code": "", "folder": "", "out": "", "any_versions": false, "pins": 3}',
    ):
        (tmp_path / PACKAGED_FILE).write_text(text)
        with pytest.raises(ConfigError, match="submit the study again"):
            read_packaged(tmp_path)


def test_pins_are_what_is_installed_here() -> None:
    import torch

    pins = installed_versions()
    assert pins["torch"] == torch.__version__.split("+")[0]
    assert set(pins) <= set(PINNED)
    assert public("2.9.0+cu128") == "2.9.0"
    assert differences(pins, pins) == []
    assert differences({"torch": "2.9.0", "kornia": "1.0"}, {"torch": "2.8.0"}) == [
        "torch 2.8.0 (pinned to 2.9.0)",
        "no kornia (pinned to 1.0)",
    ]
    assert requirements({"ray": "2.60.0", "torch": "2.9.0"}) == ["torch==2.9.0"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pins": {"numpy": "1.0"}}, r"has numpy .* \(pinned to 1\.0\); use an image"),
        ({"code": "0" * 64}, "batchlaw .* but runs code"),
    ],
)
def test_a_job_ends_where_versions_differ(study: Study, change: dict[str, object], message: str) -> None:
    described = describe(resolved(study), out="/x")
    check_versions(described)
    values = {**json.loads(described.to_json()), **change}
    (study.folder / PACKAGED_FILE).write_text(json.dumps(values))
    with pytest.raises(ConfigError, match=message):
        check_versions(read_packaged(study.folder))


def test_a_worker_with_other_packages_takes_no_trial(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    described = describe(resolved(study), out="/x")
    for change, refuses in [({}, False), ({"pins": {"numpy": "1.0"}}, True)]:
        for any_versions in (False, True):
            other = dataclasses.replace(described, any_versions=any_versions, **change)
            monkeypatch.setattr(pins_module, "packaged", lambda other=other: other)
            unlike_the_package.cache_clear()
            assert bool(unlike_the_package()) == (refuses and not any_versions)
    monkeypatch.setattr(training, "unlike_the_package", lambda: ["numpy 2.4 (pinned to 1.0)"])
    with pytest.raises(CannotTrain, match=r"process \d+ on .* has numpy 2\.4 \(pinned to 1\.0\)"):
        next(training.Training().events({}))
    unlike_the_package.cache_clear()


def test_this_code_is_no_package() -> None:
    assert not (ROOT / STUDY_FOLDER).exists()
