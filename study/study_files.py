"""Which files a study needs besides the platform: those of its workloads, and those that the user names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from .errors import ConfigError
from .resolve import ResolvedStudy, file_and_rest

LARGEST_BYTES = 50_000_000
_IGNORE_FILES = {".gitignore", ".rayignore"}
"""Ray leaves out what such a file names, wherever it lies in a package."""


def study_files(study: ResolvedStudy, *, include: Sequence[str] = ()) -> dict[str, Path]:
    """Return the files to package, by their path relative to the study's folder.

    A workload's file, and the Python files and packages beside it, since it may import them.

    Args:
        study: whose workloads.
        include: further files and folders, relative to the study's folder.

    Raises:
        ConfigError: a file lies outside the study's folder or does not exist, or they are too large together.
    """
    folder = study.folder.resolve()
    files: dict[str, Path] = {}
    for sweep in study.config.sweeps:
        name, _ = file_and_rest(sweep.workload)
        if name:
            path = _inside(folder, name, what="workload")
            for found in (path, *_python_beside(path.parent)):
                files[found.relative_to(folder).as_posix()] = found
    for name in include:
        path = _inside(folder, name, what="--include")
        if not path.exists():
            raise ConfigError(f"--include {name}: there is no such file or folder in {folder}")
        for found in _all_below(path):
            files[found.relative_to(folder).as_posix()] = found
    _check_size(files)
    return dict(sorted(files.items()))


def _inside(folder: Path, name: str, *, what: str) -> Path:
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise ConfigError(
            f"{what} {name}: a submitted study packages files of its own folder alone; move it below {folder} and "
            "write its path relative to that"
        )
    return folder / name


def _python_beside(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.suffix == ".py" and path.is_file():
            yield path
        elif (path / "__init__.py").is_file():
            yield from (found for found in path.rglob("*.py") if found.is_file())


def _all_below(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for found in path.rglob("*"):
        if found.is_file() and found.name not in _IGNORE_FILES and "__pycache__" not in found.parts:
            yield found


def _check_size(files: dict[str, Path]) -> None:
    sizes = {name: path.stat().st_size for name, path in files.items()}
    total = sum(sizes.values())
    if total > LARGEST_BYTES:
        largest = max(sizes, key=sizes.__getitem__)
        raise ConfigError(
            f"a submitted study's own files are at most {LARGEST_BYTES / 1e6:g} MB together, but are "
            f"{total / 1e6:,.1f} MB, the largest being {largest} with {sizes[largest] / 1e6:,.1f} MB; keep data in a "
            "storage that the cluster reads"
        )
