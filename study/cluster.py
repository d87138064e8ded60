"""A Ray cluster for the length of one study: quiet, private, and gone afterwards."""

from __future__ import annotations

import collections
import contextlib
import logging
import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

from .capacity import Capacity, Node, capacity
from .config import Resources
from .cores import core_count
from .errors import ConfigError, first_line
from .scratch import scratch_folder

_QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",  # the new output prints a table even when silent
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # the worker hides unused GPUs itself
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # rows are stored by the recorder alone
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # the launcher stops the study itself
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # stored rows are the state; Tune's snapshots grow with the study
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "60",
}


@contextlib.contextmanager
def cluster(resources: Resources, *, address: str | None) -> Iterator[Path]:
    """Start a cluster on this machine, or join the one at ``address``; yield a scratch folder.

    What Ray writes goes to the scratch folder, which is removed at the end. Nothing is written to the home folder:
    a local cluster gets a token of its own through the environment unless the user has chosen otherwise.

    Raises:
        ConfigError: the cluster can't be reached, or the one on this machine could never have what a trial asks for.
    """
    if address is None:
        _check_custom(resources)
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if address is None and "RAY_AUTH_MODE" not in os.environ:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    import ray

    _read_environment_again()

    logging.getLogger("ray").setLevel(logging.CRITICAL)
    hush_raylet()
    with scratch_folder() as scratch:
        try:
            if address is None:
                _start(resources, scratch)
            else:
                _join(address)
            yield scratch
        finally:
            ray.shutdown()


def _read_environment_again() -> None:
    """Let Ray see the token that was just set: it reads the environment once, when a process first imports it."""
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


def hush_raylet() -> None:
    """Drop the coloured lines about workers that died, which Ray prints to stdout: the trial's row says it."""
    from ray._private import worker

    worker.print_to_stdstream = lambda *_, **__: None


def spare_trackers() -> None:
    """Keep Tune from importing MLflow and W&B wherever they are installed, to count callbacks for usage statistics.

    That takes seconds, and MLflow would write to the home folder and call its makers.
    """
    from ray.air._internal import usage

    usage.tag_callbacks = lambda *_, **__: False


def _start(resources: Resources, scratch: Path) -> None:
    import ray

    crew_cpus = resources.cpus_per_worker * (resources.workers or 1)
    ray.init(
        num_cpus=max(core_count(), crew_cpus * (resources.max_concurrent or 1)),
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.CRITICAL,
        _temp_dir=str(scratch / "ray"),
    )


def _join(address: str) -> None:
    import ray

    _check_address(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ConfigError(f"--address {address}: no Ray cluster answers: {first_line(error)}") from None


def survey(resources: Resources, address: str) -> tuple[list[Node], Capacity]:
    """Return what the cluster at ``address`` has, and how much fits on it.

    Raises:
        ConfigError: the cluster can't be reached.
    """
    with cluster(resources, address=address):
        found = nodes()
    return found, capacity(resources, found)


def nodes() -> list[Node]:
    """Return what there is on the cluster that is running, in the order of names."""
    import ray

    alive = [node for node in ray.nodes() if node["Alive"]]
    hosts = collections.Counter(node["NodeManagerHostname"] for node in alive)
    found = []
    for node in alive:
        host = node["NodeManagerHostname"]
        name = host if hosts[host] == 1 else f"{host}/{node['NodeID'][:6]}"
        found.append(Node(name=name, has=node["Resources"]))
    return sorted(found, key=lambda node: node.name)


def _check_custom(resources: Resources) -> None:
    """Refuse what a cluster started here would not have; Ray finds out by itself which accelerators there are."""
    own = [name for name in resources.custom if not name.startswith("accelerator_type:")]
    if own:
        raise ConfigError(
            f"resources: custom ones are what a cluster was started with, but a cluster started here has no {own[0]}; "
            "join one that has it with --address, or leave custom out"
        )


def _check_address(address: str) -> None:
    """Refuse what Ray would wait minutes for, or can't serve from here."""
    if "://" in address:
        raise ConfigError(
            f"--address {address}: must be auto or host:port of a cluster that this machine belongs to; "
            "from outside, submit the command as a Ray job"
        )
    host, _, port = address.rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError as error:
        raise ConfigError(f"--address {address}: no Ray cluster answers: {first_line(error)}") from None
