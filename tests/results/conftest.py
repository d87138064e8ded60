from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from .gcs_server import GcsHandler
from .object_server import ObjectServer, serving
from .s3_server import S3Handler


@pytest.fixture(scope="session")
def s3_server() -> Iterator[ObjectServer]:
    with serving(S3Handler) as server:
        yield server


@pytest.fixture(scope="session")
def gcs_server() -> Iterator[ObjectServer]:
    with serving(GcsHandler) as server:
        yield server


@pytest.fixture
def s3(s3_server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> ObjectServer:
    """The server at which s3:// is found."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": s3_server.endpoint,
    }.items():
        monkeypatch.setenv(name, value)
    s3_server.fault = lambda method, path: None
    return s3_server


@pytest.fixture
def gcs(gcs_server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> ObjectServer:
    """The server at which gs:// is found."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_server.endpoint)
    gcs_server.fault = lambda method, path: None
    return gcs_server


@pytest.fixture(params=["folder", "memory", "s3", "gs"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty place of each kind."""
    own = uuid.uuid4().hex
    if request.param == "folder":
        return str(tmp_path / "study")
    if request.param == "memory":
        return f"memory://{own}/study"
    request.getfixturevalue("s3" if request.param == "s3" else "gcs")
    return f"{request.param}://bucket/{own}/a study"
