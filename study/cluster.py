"""A Ray cluster for the length of one study: quiet, private, and gone afterwards."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

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
        ConfigError: the cluster can't be reached, or no trial fits on it.
    """
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


def _start(resources: Resources, scratch: Path) -> None:
    import ray

    ray.init(
        num_cpus=max(core_count(), resources.cpus_per_worker * (resources.max_concurrent or 1)),
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


def concurrency(resources: Resources) -> int:
    """Return how many trials run at a time on the cluster that is running.

    Raises:
        ConfigError: not even one fits.
    """
    import ray

    total = ray.cluster_resources()
    fit = int(total.get("CPU", 0) // resources.cpus_per_worker)
    if resources.gpus_per_worker:
        fit = min(fit, int(total.get("GPU", 0) / resources.gpus_per_worker))
    if fit < 1:
        raise ConfigError(
            f"resources: a trial must fit on the cluster, but needs {resources.cpus_per_worker} CPUs and "
            f"{resources.gpus_per_worker:g} GPUs where there are {total.get('CPU', 0):g} and {total.get('GPU', 0):g}"
        )
    return min(fit, resources.max_concurrent or fit)


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
