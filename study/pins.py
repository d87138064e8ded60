"""The versions of other people's packages that decide numbers: as installed here, and as a study was pinned to."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Mapping

from .packaged import packaged

PINNED = (
    "deepspeed",
    "kornia",
    "numpy",
    "pandas",
    "pyarrow",
    "pytorch-optimizer",
    "ray",
    "scikit-learn",
    "scipy",
    "tokenizers",
    "torch",
    "transformers",
)
_OF_THE_CLUSTER = {"ray"}
"""Every process of a cluster must have the same one, which is there before any job."""


def installed_versions() -> dict[str, str]:
    """Return the version of each pinned package that is installed here, by name."""
    versions = {}
    for name in PINNED:
        try:
            versions[name] = public(importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def public(version: str) -> str:
    """Return a version without what a build adds: torch calls its builds 2.9.0+cpu and 2.9.0+cu128."""
    return version.partition("+")[0]


def differences(pins: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """Return in words where ``here`` is not as pinned, such as ``torch 2.9.0 (pinned to 2.13.0)``."""
    return [
        f"{name} {here[name]} (pinned to {version})" if name in here else f"no {name} (pinned to {version})"
        for name, version in pins.items()
        if here.get(name) != version
    ]


@functools.cache
def unlike_the_package() -> list[str]:
    """Return in words where this machine is not as pinned by the package that the running code is part of, if it is."""
    package = packaged()
    return [] if package is None or package.any_versions else differences(package.pins, installed_versions())


def requirements(pins: Mapping[str, str]) -> list[str]:
    """Return the pins as pip reads them, without what only the cluster itself can install."""
    return [f"{name}=={version}" for name, version in pins.items() if name not in _OF_THE_CLUSTER]
