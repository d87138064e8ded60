"""Which code produced a row."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import subprocess
from pathlib import Path

from .packaged import packaged


def code_version() -> str:
    """Return the package's version, with the git revision where it runs from a checkout (``.dirty`` if edited).

    In a submitted job it is the version that was packaged.
    """
    package = packaged()
    if package is not None:
        return package.version
    try:
        version = importlib.metadata.version("batchlaw")
    except importlib.metadata.PackageNotFoundError:
        version = "unreleased"
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return version
    revision = _git(root, "rev-parse", "--short=12", "HEAD")
    if revision is None:
        return version
    edited = _git(root, "status", "--porcelain", "--untracked-files=no")
    return f"{version}+g{revision}{'.dirty' if edited else ''}"


@functools.cache
def code_digest() -> str:
    """Return the SHA-256 of our packages' source as it lies here, wherever it is installed."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for package in ("analysis", "results", "study", "trainers"):
        for path in sorted((root / package).rglob("*.py")):
            source = path.read_bytes()
            digest.update(f"{path.relative_to(root).as_posix()} {len(source)}\n".encode() + source)
    return digest.hexdigest()


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
