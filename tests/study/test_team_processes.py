"""Teams of two gloo processes: the same losses as one worker's, and no trace of a trial in those that follow."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from results.schema import canonical_json
from study.crew import work
from study.training import Training
from trainers.data.fetch import cache_folder

from ..trainers.helpers import prepared
from ..trainers.probe_cases import TINY_BERT
from .test_crew import FACTS, OneByOne

ROOT = Path(__file__).parents[2]
CACHE = str(cache_folder())  # before the home folder is another one
STAGES = (0, 1, 2, 3)

FAULTY = '''
import os
from study.crew import CannotTrain
from study.training import Training
from tests.study.bowl import Bowl


class Faulty(Bowl):
    """Raises on the ranks that a trial's seed stands for, bit by bit, in the middle of a step."""

    def train_batches(self, *, batch_size, seed):
        for number, batch in enumerate(super().train_batches(batch_size=batch_size, seed=seed)):
            if number == 3 and seed >> int(os.environ["RANK"]) & 1:
                raise ValueError(f"seed {seed}\\nsecond line")
            yield batch
'''


def job(
    name: str, *, workers: int = 2, stage: int = 0, seed: int = 0, rate: float = 0.01, **more: Any
) -> dict[str, Any]:
    spec = {
        "workload_settings": TINY_BERT,
        "batch_size": 8,
        "learning_rate": rate,
        "seed": seed,
        "optimizer": "adamw",
        "optimizer_settings": {},
        "schedule": {"name": "constant"},
        "budget": {"steps": 12},
        "target": None,
        "evaluation": {"points": 3},
        "engine": {"workers": workers, "zero_stage": stage},
        **more,
    }
    workload = spec.pop("workload", "bert-mlm")
    return {"trial_id": name, "attempt": 0, "spec": canonical_json(spec), "workload": workload}


def run_pair(folder: Path, jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Run jobs in two processes; return what each rank left."""
    folder.mkdir()
    (folder / "jobs.json").write_text(json.dumps(jobs))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    common |= {"PYTHONPATH": str(ROOT)}
    processes = []
    for rank in range(2):
        with open(folder / f"{rank}.log", "w") as log:
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.study.team_workers", str(folder)],
                    env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                    cwd=ROOT,
                    stdout=log,
                    stderr=log,
                )
            )
    try:
        codes = [process.wait(timeout=600) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert codes == [0, 0], [(folder / f"{rank}.log").read_text()[-1500:] for rank in range(2)]
    return [json.loads((folder / f"told-{rank}.json").read_text()) for rank in range(2)]


def ended(told: list[dict[str, Any]], name: str) -> dict[str, Any]:
    (message,) = [each for each in told if each.get("trial_id") == name and each["kind"] == "ended"]
    return message


def curve(message: dict[str, Any]) -> list[tuple[int, str, float]]:
    assert message["outcome"]["status"] == "exhausted", message["outcome"]["message"]
    return [(point["step"], point["name"], point["value"]) for point in message["points"]]


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Run all jobs with one start of the processes, which takes longer than the jobs."""
    folder = tmp_path_factory.mktemp("team")
    (folder / "faulty.py").write_text(FAULTY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BATCHLAW_CACHE", CACHE)
        prepared("bert-mlm", TINY_BERT)
        # Each stage's trial comes once early, and once late, after those of the other stages and of another rate.
        early = [job(f"early {stage}", stage=stage) for stage in STAGES]
        others = [job("other", stage=1, rate=0.1, seed=1)]
        late = [job(f"late {stage}", stage=stage) for stage in reversed(STAGES)]
        bowl = {"workload": f"{folder}/faulty.py:Faulty", "workload_settings": {}, "optimizer": "sgd", "rate": 0.25}
        faulty = [job(name, seed=seed, **bowl) for name, seed in (("both", 3), ("none", 0), ("second", 2), ("next", 0))]
        return run_pair(folder / "pair", [*early, *others, *late, *faulty])


def test_trials_of_a_group_leave_no_trace_in_the_next_ones_and_are_those_of_one_worker(
    left: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHLAW_CACHE", CACHE)
    told = left[0]["told"]
    alone = OneByOne()
    alone.offer([job("alone", workers=1)])
    work(alone, crew="one", train=Training().events, facts=FACTS)
    expected = curve(ended(list(alone.collect()[1]), "alone"))  # type: ignore[arg-type]
    for stage in STAGES:
        found = curve(ended(told, f"early {stage}"))
        assert found == curve(ended(told, f"late {stage}"))
        assert [point[:2] for point in found] == [point[:2] for point in expected]
        assert [point[2] for point in found] == pytest.approx([point[2] for point in expected], rel=1e-5)
        assert found != curve(ended(told, "other"))


def test_a_group_outlives_what_all_raise_and_not_what_one_raises(left: list[dict[str, Any]]) -> None:
    first, second = left
    both = ended(first["told"], "both")
    assert (both["outcome"]["status"], both["outcome"]["message"]) == ("failed", "ValueError: seed 3")
    assert ended(first["told"], "none")["outcome"]["status"] == "reached"
    # It alone can tell; the first one waits for it in the middle of a step, until the connection breaks.
    assert [each["trial_id"] for each in second["told"] if each["kind"] == "ended"] == ["second"]
    assert ended(second["told"], "second")["outcome"]["message"] == "ValueError: seed 2"
    assert second["left"] == "worker 1 of 2 raised alone: ValueError: seed 2"
    assert first["left"] == "the workers stopped at different points: ValueError: seed 2"
    assert not [each for each in first["told"] if each["kind"] == "ended" and each["trial_id"] in ("second", "next")]
