"""Packaging a study for a cluster: our code, the resolved study and its files in one clean folder, and nothing else."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path

from .config import StudyConfig
from .folder import STUDY_FILE
from .loading import resolved_yaml
from .packaged import PACKAGED_FILE, ROOT, STUDY_FOLDER, Packaged
from .pins import installed_versions
from .resolve import ResolvedStudy
from .version import code_digest, code_version

PACKAGES = ("analysis", "results", "study", "trainers")
_DATA = ("analysis/page/assets/*", "study/examples/*.yaml", "study/presets/*.yaml")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Staged:
    """What was put into a folder."""

    folder: Path
    packaged: Packaged
    files: int
    size_bytes: int


def describe(study: ResolvedStudy, *, out: str, any_versions: bool = False) -> Packaged:
    """Return what a package made here and now says of itself; for the arguments see ``Packaged``."""
    return Packaged(
        version=code_version(),
        code=code_digest(),
        folder=str(study.folder.resolve()),
        out=out,
        any_versions=any_versions,
        pins=installed_versions(),
    )


def packaged_yaml(config: StudyConfig) -> str:
    """Return the resolved study as it is read beside its files."""
    return resolved_yaml(config.model_copy(update={"workload_folder": None}))


def stage(study: ResolvedStudy, files: Mapping[str, Path], folder: Path, packaged: Packaged) -> Staged:
    """Fill the empty ``folder`` with a package of ``study``.

    Args:
        study: resolved.
        files: its own files by their path relative to its folder; see ``study_files``.
        folder: becomes the working folder of the job, and the first place where Python looks for modules.
        packaged: what it says of itself; see ``describe``.
    """
    sources = {path.relative_to(ROOT).as_posix(): path for path in code_files()}
    sources |= {f"{STUDY_FOLDER}/{name}": path for name, path in files.items()}
    for name, path in sources.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    own = folder / STUDY_FOLDER
    own.mkdir(exist_ok=True)
    (own / STUDY_FILE).write_text(packaged_yaml(study.config), encoding="utf-8")
    (own / PACKAGED_FILE).write_text(packaged.to_json(), encoding="utf-8")
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return Staged(folder=folder, packaged=packaged, files=len(sizes), size_bytes=sum(sizes))


def code_files() -> list[Path]:
    """Return the files of our packages that run: source, presets, the report's assets."""
    source = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    data = [path for pattern in _DATA for path in ROOT.glob(pattern) if path.is_file()]
    return sorted({*source, *data})
