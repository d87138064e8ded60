"""What a study does with a part of a GPU. Needs a CUDA device, and Ray: ``make test-gpu``."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from results import ResultStore
from study.cli import app

from .studies import Study

torch = pytest.importorskip("torch")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device"),
]

# Each of two trials says that it runs, and goes on when it hears the other one.
MEETING = """
import os
import select

import torch

from bowl import Bowl


class Meeting(Bowl):
    name = "meeting"

    def train_batches(self, *, batch_size, seed):
        ends = [os.open(f"{self.settings.pipe}-{n}", os.O_RDWR) for n in range(2)]
        os.write(ends[seed], f"{os.environ['CUDA_VISIBLE_DEVICES']} {os.getpid()}".encode())
        if not select.select([ends[1 - seed]], [], [], 120)[0]:
            raise TimeoutError("no other trial runs meanwhile")
        heard = os.read(ends[1 - seed], 200).decode()
        with open(f"{self.settings.pipe}-heard-{seed}", "w") as file:
            file.write(heard)
        most = torch.cuda.get_per_process_memory_fraction()
        if most != 0.5:
            raise RuntimeError(f"may take {most} of the memory")
        yield from super().train_batches(batch_size=batch_size, seed=seed)
"""


def test_two_trials_run_at_once_on_halves_of_a_gpu(study: Study, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    for number in range(2):
        os.mkfifo(f"{pipe}-{number}")
    path = study.write(
        resources={"gpus_per_worker": 0.5, "max_concurrent": 2},
        workload="meeting.py:Meeting",
        workload_settings={"pipe": str(pipe)},
        batch_sizes=[2],
        learning_rates=[0.25],
        seeds=[0, 1],
    )
    (study.folder / "meeting.py").write_text(MEETING)
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["run", str(path), "--out", str(out), "--quiet", "--no-report"])
    assert result.exit_code == 0, result.output
    rows = ResultStore(out).trials()
    assert set(rows["status"]) == {"reached"}, rows["message"].tolist()
    assert rows["hardware"].unique().tolist() == [torch.cuda.get_device_name()]
    (gpu, process), (other_gpu, other_process) = (Path(f"{pipe}-heard-{n}").read_text().split() for n in range(2))
    assert gpu == other_gpu
    assert process != other_process
