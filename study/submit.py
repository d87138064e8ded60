"""What is submitted of a study: where its results go, how the job is called, what its command is."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from .config import StudyConfig
from .errors import ConfigError
from .job_server import STOP_SECONDS, Job, JobServer
from .locations import passwords
from .package import Staged, describe, stage
from .packaged import STUDY_FOLDER
from .pins import requirements
from .resolve import ResolvedStudy

STUDY_KEY, OUT_KEY, VERSION_KEY = "batchlaw_study", "batchlaw_out", "batchlaw_version"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Submission:
    """How a study is to be submitted."""

    study: ResolvedStudy
    files: Mapping[str, Path]
    """See ``study_files``."""
    out: str
    """See ``results_place``."""
    install_pins: bool = False
    """Whether pip installs the pinned packages on every machine first."""
    any_versions: bool = False
    """Whether the job also runs where the packages or the code are other ones than here."""
    retry_failed: bool = False
    cpus: float = 0.0
    """Processors that the driver is to have reserved."""


def results_place(config: StudyConfig, out: str | None) -> str:
    """Return where a submitted study's results go: ``out``, or a folder below the study's ``storage_path``.

    Raises:
        ConfigError: neither is given, or a machine of the cluster alone would know what it means.
    """
    given = out if out is not None else config.storage_path
    if given is None:
        raise ConfigError(
            f"results/{config.name} would be a folder of the cluster's head, which nobody keeps; give storage_path in "
            "the study, or --out: a URL such as s3://bucket/studies, or the absolute path of a mounted folder"
        )
    what = "storage_path" if out is None else "--out"
    if passwords(given):
        raise ConfigError(
            f"{what}: must hold no password, since it is kept beside the results; machines get what opens a "
            "storage from their own environment"
        )
    if "://" not in given and not PurePosixPath(given).is_absolute():
        raise ConfigError(
            f"{what}: must be a URL or an absolute path, since it is read on another machine, but got {given}"
        )
    return given if out is not None else f"{given.rstrip('/')}/{config.name}"


def entrypoint(submission: Submission) -> str:
    """Return the shell command of the job. No word of it comes from the study: a shell on the cluster reads it.

    ``exec`` lets the signal that stops the job reach Python.
    """
    words = ["exec", "python", "-m", "study.submitted", STUDY_FOLDER]
    words += ["--retry-failed"] if submission.retry_failed else []
    return " ".join(words)


def submit(server: JobServer, submission: Submission) -> tuple[str, Staged]:
    """Package the study, send it, and return the job's name and what was sent.

    Raises:
        ConfigError: the server refuses it.
    """
    name = submission.study.config.name
    package = describe(submission.study, out=submission.out, any_versions=submission.any_versions)
    with tempfile.TemporaryDirectory(prefix="batchlaw-package-") as folder:
        staged = stage(submission.study, submission.files, Path(folder), package)
        job = server.submit(
            Path(folder),
            name=f"batchlaw-{name}",
            entrypoint=entrypoint(submission),
            environment={"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS)},
            packages=requirements(staged.packaged.pins) if submission.install_pins else [],
            metadata={STUDY_KEY: name, OUT_KEY: submission.out, VERSION_KEY: staged.packaged.version},
            cpus=submission.cpus,
        )
    return job, staged


def find_running(server: JobServer, name: str, out: str) -> Job | None:
    """Return the job that runs the study ``name`` into ``out`` on ``server``, if there is one."""
    wanted = {STUDY_KEY: name, OUT_KEY: out}
    return next((job for job in reversed(server.jobs()) if wanted.items() <= job.metadata.items()), None)


def already_running(job: Job, out: str) -> ConfigError:
    """Return the error of a second job for the same results."""
    return ConfigError(
        f"one job at a time may write to {out}, but {job.name} does; follow it with --follow, or end it with --stop"
    )
