"""Options of ``batchlaw submit`` that write a file instead of sending a job."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from .errors import ConfigError
from .job_token import TOKEN_PATH
from .manifests.kuberay import kuberay_manifest
from .manifests.machines import Machines, machines_for
from .manifests.ray_up import Place, ray_up_file
from .manifests.slurm import slurm_script
from .package import describe
from .pins import installed_versions
from .resolve import ResolvedStudy

Kind = Literal["kuberay", "ray-up", "slurm"]
LOOPBACK = "127.0.0.1"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileOptions:
    """What the user says of the machines, besides the study; None and nothing are left to the defaults."""

    nodes: int = 1
    cpus_per_node: int | None = None
    gpus_per_node: int | None = None
    memory_gib_per_node: float | None = None
    dashboard_host: str = LOOPBACK
    image: str | None = None
    claim: str | None = None
    secret: str | None = None
    service_account: str | None = None
    partition: str | None = None
    time_limit: str | None = None
    place: Place = dataclasses.field(default_factory=lambda: Place(provider="local"))


def cluster_file(
    kind: Kind,
    study: ResolvedStudy,
    files: Mapping[str, Path],
    *,
    path: Path,
    out: str,
    options: FileOptions,
    any_versions: bool = False,
) -> str:
    """Return the text of a file that starts a cluster for ``study``.

    Args:
        kind: which file.
        study: resolved.
        files: its own files, see ``study_files``.
        path: of the study itself.
        out: where the results go.
        options: what else is known.
        any_versions: whether the study also runs with other versions than here.

    Raises:
        ConfigError: an option is missing, or would break out of its line.
    """
    _check_text(options)
    machines = machines_for(
        study.config,
        nodes=options.nodes,
        cpus=options.cpus_per_node,
        gpus=options.gpus_per_node,
        memory_gib=options.memory_gib_per_node,
    )
    name = study.config.name
    if kind == "kuberay":
        return _kuberay(study, files, out, machines, options, any_versions)
    if kind == "slurm":
        return slurm_script(
            name,
            study=path.resolve(),
            out=out,
            machines=machines,
            programs=Path(sys.executable).parent,
            dashboard_host=options.dashboard_host,
            partition=options.partition,
            time_limit=options.time_limit,
        )
    return ray_up_file(
        name,
        machines=machines,
        place=options.place,
        pins=installed_versions(),
        token_path=os.environ.get(TOKEN_PATH),
        dashboard_host=options.dashboard_host,
    )


def _kuberay(
    study: ResolvedStudy,
    files: Mapping[str, Path],
    out: str,
    machines: Machines,
    options: FileOptions,
    any_versions: bool,
) -> str:
    if options.image is None:
        raise ConfigError(
            "--kuberay needs --image: an image with batchlaw[train,cluster], which the registry gives to every node"
        )
    if options.dashboard_host != LOOPBACK:
        raise ConfigError(
            f"--kuberay takes no --dashboard-host, but got {options.dashboard_host}: KubeRay's operator must reach the "
            "job server of the pod, and a network policy keeps others away"
        )
    return kuberay_manifest(
        study,
        files,
        describe(study, out=out, any_versions=any_versions),
        machines=machines,
        image=options.image,
        claim=options.claim,
        secret=options.secret,
        service_account=options.service_account,
    )


def _check_text(options: FileOptions) -> None:
    """Refuse spaces and control characters in words that stand bare on a line of a file."""
    words: dict[str, str | None] = {
        "--partition": options.partition,
        "--time": options.time_limit,
        "--dashboard-host": options.dashboard_host,
        "--image": options.image,
        TOKEN_PATH: os.environ.get(TOKEN_PATH),
    }
    for what, word in words.items():
        if word is not None and (not word.isprintable() or (" " in word and what != TOKEN_PATH)):
            raise ConfigError(f"{what}: must be one word of printable letters, but got {word!r}")


def chosen_kind(*, kuberay: bool, ray_up: str | None, slurm: bool) -> Kind | None:
    """Return which file is asked for.

    Raises:
        ConfigError: more than one is.
    """
    kinds: Mapping[Kind, bool] = {"kuberay": kuberay, "ray-up": ray_up is not None, "slurm": slurm}
    asked = [kind for kind, wanted in kinds.items() if wanted]
    if len(asked) > 1:
        raise ConfigError(f"one file is written at a time, but got --{asked[0]} and --{asked[1]}")
    return asked[0] if asked else None
