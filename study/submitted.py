"""What a submitted job runs: ``python -m study.submitted FOLDER``, the folder as ``study.package`` made it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .errors import ConfigError
from .folder import STUDY_FILE
from .packaged import Packaged, read_packaged
from .pins import differences, installed_versions
from .terminal import line
from .version import code_digest

USER_ERROR = 2


def check_versions(package: Packaged) -> None:
    """Check that this machine has the packages, and runs the code, that the study was packaged with.

    Raises:
        ConfigError: it has or runs other ones.
    """
    other = differences(package.pins, installed_versions())
    if other:
        raise ConfigError(
            f"the cluster must have the packages that the study was submitted with, but has {', '.join(other)}; use an "
            "image with them, or submit with --install-pins or --any-versions"
        )
    if code_digest() != package.code:
        raise ConfigError(
            f"the cluster must run the code that the study was submitted with, batchlaw {package.version} (code "
            f"{package.code[:12]}), but runs code {code_digest()[:12]}; use an image with it, or submit with "
            "--any-versions"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Check the versions, then run the study as ``batchlaw run`` does on the cluster that this machine belongs to."""
    parser = argparse.ArgumentParser(prog="python -m study.submitted")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--retry-failed", action="store_true")
    chosen = parser.parse_args(arguments)
    try:
        package = read_packaged(chosen.folder)
        if not package.any_versions:
            check_versions(package)
    except ConfigError as error:
        line(f"batchlaw: {error}", err=True)
        sys.exit(USER_ERROR)
    from .cli import app

    retry = ["--retry-failed"] if chosen.retry_failed else []
    app(["run", str(chosen.folder / STUDY_FILE), "--out", package.out, "--address", "auto", *retry])


if __name__ == "__main__":
    main()
