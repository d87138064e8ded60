"""The job server of a Ray cluster, as far as studies need it: submit, find, follow, stop."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import importlib.util
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .errors import ConfigError, first_line
from .job_access import authentication_mode, checked_address, refused
from .job_token import read_token

STOP_SECONDS = 30
"""How long a job that is asked to stop may take to store and unlock, before it is killed."""
_POLL_SECONDS = 0.5
_RECONNECTS = 20
_ENDED = {"SUCCEEDED", "FAILED", "STOPPED"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """What a job server says of a job."""

    name: str
    status: str
    """PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED."""
    message: str
    metadata: Mapping[str, str]
    exit_code: int | None

    @property
    def ended(self) -> bool:
        """Whether nothing of it runs any more."""
        return self.status in _ENDED


class JobServer:
    """The job server at ``address``. Every method raises ``ConfigError`` where it does not answer, or refuses."""

    def __init__(self, address: str, client: Any) -> None:
        """Speak through ``client``, a ``JobSubmissionClient``."""
        self.address = address
        self._client = client

    def submit(
        self,
        package: Path,
        *,
        name: str,
        entrypoint: str,
        environment: Mapping[str, str],
        packages: list[str],
        metadata: Mapping[str, str],
        cpus: float,
    ) -> str:
        """Send the folder ``package`` and run ``entrypoint``, a shell command, in it.

        Args:
            package: unpacked as the working folder of every process of the job.
            name: begins the job's name, which no other job ever had.
            entrypoint: shell command.
            environment: variables of every process of the job; anybody who may ask the server reads them.
            packages: what pip is to install on every machine before.
            metadata: what the server tells of the job.
            cpus: what the command itself is to have reserved; 0 runs it on the head.

        Returns:
            The job's name.
        """
        runtime: dict[str, Any] = {"working_dir": str(package), "env_vars": dict(environment)}
        if packages:
            runtime["pip"] = {"packages": packages, "pip_check": False}
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        with self._answers():
            return self._client.submit_job(
                entrypoint=entrypoint,
                submission_id=f"{name}-{stamp}-{secrets.token_hex(2)}",
                runtime_env=runtime,
                metadata=dict(metadata),
                entrypoint_num_cpus=cpus or None,
            )

    def jobs(self) -> list[Job]:
        """Return the jobs that were submitted and have not ended, the newest last."""
        with self._answers():
            details = self._client.list_jobs()
        submitted = sorted((d for d in details if d.submission_id), key=lambda d: d.start_time or 0)
        return [job for job in map(_job, submitted) if not job.ended]

    def job(self, name: str) -> Job:
        """Return what is known of the job ``name``."""
        with self._answers():
            return _job(self._client.get_job_info(name))

    def stop(self, name: str, *, seconds: float = STOP_SECONDS + 30.0) -> Job:
        """Ask a job to stop, and wait until it has, at most for ``seconds``."""
        with self._answers():
            self._client.stop_job(name)
        deadline = time.monotonic() + seconds
        while not (job := self.job(name)).ended and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        return job

    def follow(self, name: str, say: Callable[[str], None]) -> Job:
        """Pass every line that a job prints to ``say`` until it ends, over dropped connections too."""
        log = _Log(say)
        failures = 0
        while True:
            seen = log.length
            with self._answers():
                try:
                    asyncio.run(self._tail(name, log))
                except (RuntimeError, OSError, _aiohttp_error()):
                    failures = 0 if log.length > seen else failures + 1
                    if failures > _RECONNECTS:
                        raise
            job = self.job(name)
            if job.ended:
                log.end()
                return job
            time.sleep(_POLL_SECONDS)

    async def _tail(self, name: str, log: _Log) -> None:
        log.begin_again()
        async for chunk in self._client.tail_job_logs(name):
            log.add(chunk)

    @contextlib.contextmanager
    def _answers(self) -> Iterator[None]:
        import requests
        from ray.exceptions import AuthenticationError

        try:
            yield
        except AuthenticationError as error:
            raise refused(self.address, missing="required" in str(error)) from None
        except (requests.exceptions.RequestException, ConnectionError, _aiohttp_error()) as error:
            raise ConfigError(f"{self.address}: the job server does not answer: {first_line(error)}") from None
        except (RuntimeError, ValueError) as error:
            raise ConfigError(f"{self.address}: the job server refuses: {first_line(error)}") from None


class _Log:
    """A job's log in whole lines. A connection tells it from the start: what was passed on before is left out."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.length = 0
        self._say = say
        self._skip = 0
        self._rest = ""

    def begin_again(self) -> None:
        self._skip = self.length

    def add(self, text: str) -> None:
        fresh = text[self._skip :]
        self._skip = max(0, self._skip - len(text))
        self.length += len(fresh)
        *lines, self._rest = (self._rest + fresh).split("\n")
        for line in lines:
            self._say(line)

    def end(self) -> None:
        if self._rest:
            self._say(self._rest)
        self._rest = ""


def open_job_server(address: str, *, token: bool = True) -> JobServer:
    """Return the job server at the URL ``address``.

    Args:
        address: such as ``http://127.0.0.1:8265``.
        token: whether the server must ask for a token, which is then sent; False is for one that asks for none.

    Raises:
        ConfigError: it does not answer, anybody may run code on it, or it refuses the token.
    """
    address = checked_address(address)
    if any(importlib.util.find_spec(name) is None for name in ("ray", "aiohttp", "requests")):
        raise ConfigError("submitting needs Ray's job client: pip install 'batchlaw[cluster]'")
    asks = authentication_mode(address) != "disabled"
    if token and not asks:
        raise ConfigError(
            f"{address}: a cluster must ask for a token before a study is sent to it, but this one lets anybody run "
            "code on it; start its nodes with RAY_AUTH_MODE=token, or say --no-token"
        )
    if not token and asks:
        raise ConfigError(f"{address}: the cluster asks for a token; leave out --no-token")
    secret = read_token() if token else None
    if token and secret is None:
        raise refused(address, missing=True)
    # An empty header too is one of our own, beside which Ray sends no token, whatever its variables say.
    headers = {"Authorization": f"Bearer {secret}" if secret else ""}
    server = JobServer(address, None)
    with server._answers(), _address_alone():
        server._client = _client(address, headers)
    return server


def _client(address: str, headers: dict[str, str]) -> Any:
    from ray.job_submission import JobSubmissionClient

    for name in ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk", "ray._private.runtime_env"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return JobSubmissionClient(address, headers=headers)


@contextlib.contextmanager
def _address_alone() -> Iterator[None]:
    """Hide the variables that Ray prefers to the address that it is given."""
    hidden = {name: os.environ.pop(name, None) for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")}
    try:
        yield
    finally:
        os.environ.update({name: value for name, value in hidden.items() if value is not None})


def _job(details: Any) -> Job:
    return Job(
        name=details.submission_id,
        status=str(getattr(details.status, "value", details.status)),
        message=details.message or "",
        metadata=dict(details.metadata or {}),
        exit_code=details.driver_exit_code,
    )


def _aiohttp_error() -> type[Exception]:
    import aiohttp

    return aiohttp.ClientError
