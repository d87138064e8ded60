"""A generated Slurm script with Ray's own ``symmetric-run``, on one machine in the place of an allocation."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from results import ResultStore
from study.cli import app

from .studies import Study

# A process namespace of its own: Ray refuses to start beside another Ray, and stops every one that it sees.
NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]


def executable(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("unshare") is None or subprocess.run([*NAMESPACE, "true"], check=False).returncode != 0,
    reason="needs the right to make a process namespace",
)
def test_the_script_runs_the_study_and_leaves_nothing(study: Study, tmp_path: Path) -> None:
    programs, out = tmp_path / "slurm", tmp_path / "it's $(out)"
    programs.mkdir()
    executable(programs / "scontrol", "echo 127.0.0.1")
    executable(programs / "srun", 'while [[ "$1" == --* ]]; do shift; done; exec "$@"')
    path = study.write(batch_sizes=[2, 4], learning_rates=[0.25, 0.5], seeds=[0])
    script = CliRunner().invoke(app, ["submit", str(path), "--slurm", "--out", str(out)])
    assert script.exit_code == 0, script.output

    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    job = str(os.getpid())
    environment = {**kept, "PATH": f"{programs}:{os.environ['PATH']}", "SLURM_JOB_ID": job, "SLURM_JOB_NODELIST": "x"}
    done = subprocess.run(
        [*NAMESPACE, "bash"],
        input=script.stdout,
        env={**environment, "SLURM_JOB_NUM_NODES": "1"},
        cwd=tmp_path,
        text=True,
        capture_output=True,
        timeout=280,
        check=False,
    )
    shutil.rmtree(f"/tmp/ray-{job}", ignore_errors=True)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert "4 trials stored in" in done.stdout
    assert len(ResultStore(out).trials()) == 4
    assert not list(Path(os.environ["HOME"]).rglob("*"))
