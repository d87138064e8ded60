"""``batchlaw submit`` against a job server that only keeps what it is told."""

import io
import json
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from study import job_server
from study.cli import app
from study.errors import ConfigError
from study.job_server import JobServer

from .job_server_stub import JobServerStub, job_server_stub
from .studies import Study

TOKEN = "correct0horse0battery0staple"
SENTINEL = "sentinel-4711"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SECRET_ACCESS_KEY", "WANDB_API_KEY", "PGPASSWORD"):
        monkeypatch.setenv(name, SENTINEL)
    # Ray prefers these to the address that it is given.
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:1")
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:1")


@pytest.fixture
def server() -> Iterator[JobServerStub]:
    with job_server_stub(token=TOKEN) as stub:
        yield stub


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)


def submit(path: Path, server: JobServerStub, *options: object) -> Result:
    words = ["submit", path, "--address", server.address, *options]
    return CliRunner().invoke(app, [str(word) for word in words])


def assert_one_line(result: Result, *parts: str) -> None:
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    for part in parts:
        assert part in result.stderr
    assert TOKEN not in result.output


@pytest.mark.usefixtures("token")
def test_a_submission_sends_the_package_and_no_secret(server: JobServerStub, study: Study) -> None:
    out = "/data/a b; touch $(x) 'y'"
    result = submit(study.write(), server, "--out", out)
    assert result.exit_code == 0, result.output
    [job] = server.jobs.values()
    # A shell on the cluster reads the command, so nothing of the study may be in it.
    assert job["entrypoint"] == "exec python -m study.submitted submitted_study"
    assert job["metadata"].items() >= {"batchlaw_study": "bowls", "batchlaw_out": out}.items()
    assert set(job["runtime_env"]) == {"working_dir", "env_vars"}
    assert job["runtime_env"]["env_vars"] == {"RAY_JOB_STOP_WAIT_TIME_S": "30"}
    [upload] = server.uploads
    package = zipfile.ZipFile(io.BytesIO(upload))
    assert json.loads(package.read("submitted_study/packaged.json"))["out"] == out
    assert b"class Bowl" in package.read("submitted_study/bowl.py")
    sent = json.dumps(job) + "".join(package.read(name).decode(errors="replace") for name in package.namelist())
    assert TOKEN not in sent + result.output
    assert SENTINEL not in sent + result.output
    assert server.secrets_seen_unasked == []
    assert f"results: {out}" in result.stdout
    assert "--stop" in result.stdout


@pytest.mark.usefixtures("token")
def test_a_file_outside_is_not_sent(server: JobServerStub, study: Study) -> None:
    result = submit(study.write(), server, "--out", "/x", "--include", "../y")
    assert_one_line(result, "--include ../y", "its own folder alone")
    assert server.jobs == {}


@pytest.mark.usefixtures("token")
def test_pins_are_installed_when_asked_for(server: JobServerStub, study: Study) -> None:
    options = ("--out", "/x", "--install-pins", "--entrypoint-cpus", 0.5)
    assert submit(study.write(), server, *options).exit_code == 0
    [job] = server.jobs.values()
    pip = job["runtime_env"]["pip"]
    assert any(line.startswith("torch==") for line in pip["packages"])
    assert not any(line.startswith("ray") for line in pip["packages"])
    assert pip["pip_check"] is False
    assert job["entrypoint_num_cpus"] == 0.5


@pytest.mark.usefixtures("token")
def test_results_go_below_the_storage_path(server: JobServerStub, study: Study) -> None:
    path = study.write()
    path.write_text(f"storage_path: s3://bucket/studies/\n{path.read_text()}")
    assert submit(path, server).exit_code == 0
    [job] = server.jobs.values()
    assert job["metadata"]["batchlaw_out"] == "s3://bucket/studies/bowls"


def test_the_token_may_be_in_a_file(server: JobServerStub, study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    file = study.folder / "token"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(file))
    path = study.write()
    assert_one_line(submit(path, server, "--out", "/x"), f"RAY_AUTH_TOKEN_PATH={file}", "No such file")
    file.write_text(" \n")
    assert_one_line(submit(path, server, "--out", "/x"), "must hold a token", "holds none")
    file.write_text(f"{TOKEN}\n")
    done = submit(path, server, "--out", "/x")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ([], ["results/bowls would be a folder of the cluster's head", "storage_path", "--out"]),
        (["--out", "results"], ["--out: must be a URL or an absolute path", "got results"]),
        (["--out", "s3://me:secret@bucket"], ["--out: must hold no password", "from their own environment"]),
        (["--out", "/x", "--follow", "--stop"], ["leave out --follow"]),
        (["--out", "/x", "--install-pins", "--any-versions"], ["leave out --any-versions"]),
        (["--out", "/x", "--slurm"], ["leave out --slurm"]),
        (["--out", "/x"], ["the cluster asks for a token; set RAY_AUTH_TOKEN"]),
        (["--out", "/x", "--no-token"], ["the cluster asks for a token; leave out --no-token"]),
    ],
)
def test_what_can_not_be_sent_is_said_in_one_line(
    server: JobServerStub, study: Study, options: list[str], parts: list[str]
) -> None:
    result = submit(study.write(), server, *options)
    assert_one_line(result, *parts)
    assert "secret" not in result.output
    assert server.jobs == {}


@pytest.mark.usefixtures("token")
def test_a_study_with_a_password_is_not_sent(server: JobServerStub, study: Study) -> None:
    path = study.write()
    path.write_text(f"storage_path: s3://u:hunter2@b\n{path.read_text()}")
    storage = submit(path, server)
    assert_one_line(storage, "storage_path", "password")
    logger = submit(study.write(loggers={"optuna": "postgresql://u:hunter2@h/d"}), server, "--out", "/x")
    assert_one_line(logger, "loggers.optuna", "holds a password")
    assert "hunter2" not in storage.output + logger.output
    assert server.jobs == {}


@pytest.mark.usefixtures("token")
def test_a_variable_in_place_of_a_password_is_sent_as_it_is(
    server: JobServerStub, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PASSWORD", SENTINEL)
    path = study.write(loggers={"optuna": "postgresql://u:${PASSWORD}@h/d"})
    done = submit(path, server, "--out", "/x")
    assert done.exit_code == 0, done.output
    package = zipfile.ZipFile(io.BytesIO(server.uploads[0]))
    sent = package.read("submitted_study/study.yaml").decode()
    assert "${PASSWORD}" in sent
    assert SENTINEL not in sent


def test_the_wrong_token_is_refused(server: JobServerStub, study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "wrong0token")
    result = submit(study.write(), server, "--out", "/x")
    assert_one_line(result, server.address, "the cluster refuses the token")
    assert "wrong0token" not in result.output


@pytest.fixture
def token_mode() -> Iterator[None]:
    """A process as of a shell from which a cluster with tokens was started."""
    from study.cluster import _read_environment_again

    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RAY_AUTH_MODE", "token")
        patched.setenv("RAY_AUTH_TOKEN", SENTINEL)
        _read_environment_again()
        yield
    _read_environment_again()


@pytest.mark.usefixtures("token_mode")
def test_an_open_cluster_gets_neither_code_nor_token_unless_trusted(study: Study) -> None:
    with job_server_stub(token=None) as server:
        path = study.write()
        assert_one_line(submit(path, server, "--out", "/x"), "lets anybody run code on it", "say --no-token")
        server.mode = 404  # a Ray that is too old for tokens
        assert_one_line(submit(path, server, "--out", "/x"), "lets anybody run code on it")
        assert server.uploads == []
        assert submit(path, server, "--out", "/x", "--no-token").exit_code == 0
        assert len(server.jobs) == 1
        assert server.secrets_seen_unasked == []


@pytest.mark.parametrize(("mode", "part"), [(b"<html>", "but something else"), (500, "says 500")])
def test_other_servers_are_told_from_job_servers(server: JobServerStub, study: Study, mode: Any, part: str) -> None:
    server.mode = mode
    assert_one_line(submit(study.write(), server, "--out", "/x"), "no Ray job server answers there", part)


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("auto", ["must be the URL of a cluster's job server", "batchlaw run --address"]),
        ("10.0.0.1:6379", ["must be the URL"]),
        ("ray://x:10001", ["must be the URL"]),
        ("http://x:port", ["must be the URL"]),
        ("http://u:hunter2@x", ["without a user or password"]),
        ("http://127.0.0.1:9", ["no job server answers", "Connection refused", "ssh -L"]),
    ],
)
def test_addresses_that_are_none(study: Study, address: str, parts: list[str]) -> None:
    result = CliRunner().invoke(app, ["submit", str(study.write()), "--out", "/x", "--address", address])
    assert_one_line(result, *parts)
    assert "hunter2" not in result.output


def test_an_address_is_required(study: Study) -> None:
    assert_one_line(CliRunner().invoke(app, ["submit", str(study.write())]), "--address is required")


def test_without_the_job_client_it_is_named(
    server: JobServerStub, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_server.importlib.util, "find_spec", lambda name: None)
    assert_one_line(submit(study.write(), server, "--out", "/x"), "pip install 'batchlaw[cluster]'")


@pytest.mark.usefixtures("token")
def test_a_study_runs_once_and_is_stopped_by_its_name(server: JobServerStub, study: Study) -> None:
    path = study.write()
    server.add("other-study", status="RUNNING", batchlaw_study="other", batchlaw_out="/x")
    server.add("other-place", status="RUNNING", batchlaw_study="bowls", batchlaw_out="/y")
    server.add("ended", status="FAILED", batchlaw_study="bowls", batchlaw_out="/x")
    assert_one_line(submit(path, server, "--out", "/x", "--stop"), "no job of the study bowls into /x runs there")
    done = submit(path, server, "--out", "/x")
    assert done.exit_code == 0, done.output
    [name] = set(server.jobs) - {"other-study", "other-place", "ended"}
    assert_one_line(submit(path, server, "--out", "/x"), "one job at a time may write to /x", name)
    result = submit(path, server, "--out", "/x", "--stop")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{name} has ended (stopped); what is stored in /x stays\n"
    assert ("POST", f"/api/jobs/{name}/stop") in server.requests
    assert [job["status"] for job in server.jobs.values()] == ["RUNNING", "RUNNING", "FAILED", "STOPPED"]


class Tail:
    """A client whose connection drops after each of ``parts``, and tells the log from its start every time."""

    def __init__(self, parts: list[str], *, status: str = "SUCCEEDED", code: int | None = 0) -> None:
        self.parts, self.calls, self.status, self.code = parts, 0, status, code

    async def tail_job_logs(self, name: str) -> AsyncIterator[str]:
        self.calls += 1
        for part in self.parts[: self.calls]:
            yield part
        if self.calls < len(self.parts):
            raise RuntimeError("WebSocket connection closed unexpectedly")

    def get_job_info(self, name: str) -> Any:
        status = self.status if self.calls >= len(self.parts) else "RUNNING"
        return SimpleNamespace(
            submission_id=name, status=status, message="", metadata={}, driver_exit_code=self.code, start_time=0
        )


def test_a_log_is_followed_over_dropped_connections_without_repeating(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_server, "_POLL_SECONDS", 0.0)
    lines: list[str] = []
    client = Tail(["first\nsec", "ond\n", "", "third\nlast"])
    job = JobServer("http://x", client).follow("job", lines.append)
    assert lines == ["first", "second", "third", "last"]
    assert (job.status, job.exit_code, client.calls) == ("SUCCEEDED", 0, 4)


def test_a_server_that_stays_away_ends_the_following(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_server, "_POLL_SECONDS", 0.0)
    with pytest.raises(ConfigError, match="closed unexpectedly"):
        JobServer("http://x", Tail([""] * 100)).follow("job", lambda _: None)


@pytest.mark.parametrize(
    ("status", "code", "exit_code", "message"),
    [
        ("SUCCEEDED", 0, 0, ""),
        ("FAILED", 2, 2, ""),
        ("FAILED", None, 1, "failed: "),
        ("STOPPED", None, 130, "was stopped"),
    ],
)
@pytest.mark.usefixtures("token")
def test_following_ends_as_the_job_does(
    server: JobServerStub,
    study: Study,
    monkeypatch: pytest.MonkeyPatch,
    status: str,
    code: int | None,
    exit_code: int,
    message: str,
) -> None:
    server.add("running", status="RUNNING", batchlaw_study="bowls", batchlaw_out="/x")
    tail = Tail(["a \x1b[31mline\n"], status=status, code=code)
    follow = JobServer.follow
    monkeypatch.setattr(JobServer, "follow", lambda _, name, say: follow(JobServer("x", tail), name, say))
    result = submit(study.write(), server, "--out", "/x", "--follow")
    assert result.exit_code == exit_code, result.output
    assert result.stdout == "running runs already, into /x\na \N{REPLACEMENT CHARACTER}[31mline\n"
    assert message in result.stderr
    assert len(server.jobs) == 1  # nothing was submitted


@pytest.mark.usefixtures("token")
def test_an_interrupt_leaves_the_job_alone(
    server: JobServerStub, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(JobServer, "follow", interrupted)
    result = submit(study.write(), server, "--out", "/a b", "--follow")
    assert result.exit_code == 130
    [name] = server.jobs
    assert result.stderr == f"batchlaw: {name} goes on; the same command shows it again, --stop ends it\n"
    assert server.jobs[name]["status"] == "RUNNING"
