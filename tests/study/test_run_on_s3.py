"""A whole study on Ray whose results lie in an object store, and nowhere else."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from results import ResultStore, open_storage
from study.lease import CLAIMS

from ..results.conftest import s3, s3_server
from ..results.object_server import ObjectServer
from .studies import Study
from .test_cli import batchlaw

__all__ = ["s3", "s3_server"]

STUDY = """
name: small
storage_path: {place}
resources: {{max_concurrent: 1}}
defaults: {{workload: quadratic, optimizer: sgd, outcome: steps_to_target, budget: {{steps: 400}}}}
sweeps:
  - {{name: plain, batch_sizes: [8, 16], learning_rates: [0.05, 0.1]}}
"""


def test_a_study_runs_into_an_object_store(study: Study, s3: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(study.folder)
    place = f"s3://bucket/{uuid.uuid4().hex}"
    path = study.write_text(STUDY.format(place=place))
    ran = batchlaw("run", path, "--quiet")
    assert ran.exit_code == 0, ran.output
    assert f"4 of 4 trials to run, into {place}/small" in ran.stdout
    assert f"report: {place}/small/report.html" in ran.stdout

    stored = ResultStore(f"{place}/small").read()
    assert stored.skipped == []
    assert sorted(zip(stored.trials["batch_size"], stored.trials["learning_rate"], strict=True)) == [
        (batch_size, rate) for batch_size in (8, 16) for rate in (0.05, 0.1)
    ]
    assert set(stored.curves["trial_id"]) == set(stored.trials["trial_id"])
    storage = open_storage(f"{place}/small")
    assert storage.names("parts") == []  # all in tables
    assert storage.names(CLAIMS) == []  # nobody writes there any more
    assert b"<html" in storage.read("report.html")
    status = batchlaw("status", f"{place}/small")
    assert "4 of 4 trials stored" in status.stdout
    again = batchlaw("run", path, "--quiet", "--no-report")
    assert f"nothing to run: all 4 trials are stored in {place}/small" in again.stdout

    here = [file.relative_to(study.folder).as_posix() for file in study.folder.rglob("*")]
    assert here == ["study.yaml"]
    assert not list(Path.home().iterdir())
