"""Studies whose trials are trained by two workers each: Ray Train inside Ray Tune, on one machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from results import ResultStore
from study import launch
from study.crew import work
from study.dispatch import Dispatch
from study.training import Training
from trainers.data.fetch import cache_folder

from ..trainers.helpers import prepared
from ..trainers.probe_cases import TINY_BERT
from .studies import Study
from .test_crew import FACTS, OneByOne
from .test_run import run

CACHE = str(cache_folder())  # before the home folder is another one
BERT: dict[str, Any] = {
    "name": "bert",
    "workload": "bert-mlm",
    "workload_settings": TINY_BERT,
    "optimizer": "adamw",
    "outcome": "value_at_budget",
    "batch_sizes": [8],
    "learning_rates": [0.01],
    "seeds": [0, 1, 2],
    "budget": {"steps": 12},
    "evaluation": {"points": 3},
    "engine": {"zero_stage": 2},
}

STRUCK = '''
import os
from pathlib import Path
from trainers.workloads.bert_mlm import BertMaskedLM


class Struck(BertMaskedLM):
    """In the first attempt at each trial worker 1 writes its number in the middle, and waits for what comes."""

    def train_batches(self, *, batch_size, seed):
        folder = Path(__file__).parent
        struck = folder / f"struck-{seed}"
        for number, batch in enumerate(super().train_batches(batch_size=batch_size, seed=seed)):
            if number == 6 and os.environ["RANK"] == "1" and not struck.exists():
                struck.touch()
                with open(folder / "pipe", "w") as pipe:
                    pipe.write(str(os.getpid()))
                with open(folder / "never") as pipe:
                    pipe.read()
            yield batch
'''
VICTIMS = ("worker 1", "ray::TrainController", "ray::ResourceTrainable")
"""A rank, Ray Train's controller, and the actor of the Tune trial."""


class Seen:
    """What there was on the cluster, looked at just before it ends, and which crews came."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.crews: list[str] = []
        self.came: list[float] = []
        self.placement_groups: list[str] = []
        cluster, hear = launch.cluster, Dispatch.hear

        @contextlib.contextmanager
        def watched(*arguments: Any, **named: Any) -> Iterator[Path]:
            with cluster(*arguments, **named) as scratch:
                yield scratch
                self.placement_groups = left()

        def heard(dispatch: Dispatch, epoch: str, messages: Any) -> None:
            came = [message["crew"] for message in messages if message["kind"] == "came"]
            self.crews += came
            self.came += [time.monotonic()] * len(came)
            hear(dispatch, epoch, messages)

        monkeypatch.setattr(launch, "cluster", watched)
        monkeypatch.setattr(Dispatch, "hear", heard)


def left() -> list[str]:
    """Return the states of placement groups, once they are gone or long after they should be."""
    from ray.util.placement_group import placement_group_table

    deadline = time.monotonic() + 30
    while True:
        states = [group["state"] for group in placement_group_table().values() if group["state"] != "REMOVED"]
        if not states or time.monotonic() > deadline:
            return states


def one_worker(rows: Any) -> dict[str, list[float]]:
    """Return the curves of the same trials on one worker."""
    desk = OneByOne()
    desk.offer(
        {"trial_id": row["trial_id"], "attempt": 0, "spec": alone(row["spec"]), "workload": "bert-mlm"}
        for row in rows.to_dict("records")
    )
    work(desk, crew="one", train=Training().events, facts=FACTS)
    ended = [message for message in desk.collect()[1] if message["kind"] == "ended"]
    assert {message["outcome"]["status"] for message in ended} == {"exhausted"}
    return {message["trial_id"]: [point["value"] for point in message["points"]] for message in ended}


def alone(spec: str) -> str:
    values = json.loads(spec)
    return json.dumps(values | {"engine": values["engine"] | {"workers": 1, "zero_stage": 0}})


def check_curves(out: Path) -> None:
    store = ResultStore(out)
    rows, curves = store.trials(), store.curves()
    expected = one_worker(rows)
    assert len(rows) == len(expected)
    for trial_id, values in expected.items():
        found = curves[curves["trial_id"] == trial_id]["value"].tolist()
        assert found == pytest.approx(values, rel=1e-5)


@pytest.mark.slow
def test_one_group_trains_trial_after_trial_to_the_losses_of_one_worker(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHLAW_CACHE", CACHE)
    prepared("bert-mlm", TINY_BERT)
    seen, out = Seen(monkeypatch), study.folder / "out"
    text = {"name": "pair", "resources": {"workers": 2, "max_concurrent": 1}, "sweeps": [BERT]}
    result = run(study.write_text(yaml.safe_dump(text)), out)
    assert result.exit_code == 0, result.output
    rows = ResultStore(out).trials()
    assert set(rows["status"]) == {"exhausted"}, rows["message"].tolist()
    assert len(rows) == rows["trial_id"].nunique() == 3
    assert set(rows["world_size"]) == {2}
    assert set(rows["zero_stage"]) == {2}
    check_curves(out)
    assert seen.crews == ["crew-0"]  # one crew is one call of Ray Train, and so one process group
    assert seen.placement_groups == []
    assert not list(Path(os.environ["HOME"]).iterdir())
    assert yaml.safe_load((out / "study.yaml").read_text())["resources"]["workers"] == 2


@pytest.mark.slow
def test_a_group_that_lost_any_of_its_processes_is_followed_by_another_with_the_same_losses(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    psutil = pytest.importorskip("psutil")
    monkeypatch.setenv("BATCHLAW_CACHE", CACHE)
    prepared("bert-mlm", TINY_BERT)
    (study.folder / "struck.py").write_text(STRUCK)
    os.mkfifo(study.folder / "pipe")
    os.mkfifo(study.folder / "never")
    seen, out = Seen(monkeypatch), study.folder / "out"
    moments: list[float] = []

    def strike() -> None:
        for victim in VICTIMS:
            with open(study.folder / "pipe") as pipe:
                number = int(pipe.read())
            if victim != "worker 1":
                names = {child.pid: " ".join(child.cmdline()) for child in psutil.Process().children(recursive=True)}
                (number,) = (pid for pid, name in names.items() if name.startswith(victim))
            os.kill(number, signal.SIGKILL)
            moments.append(time.monotonic())

    striker = threading.Thread(target=strike, daemon=True)
    striker.start()
    sweep = {**BERT, "workload": "struck.py:Struck", "seeds": list(range(len(VICTIMS)))}
    resources = {"workers": 2, "max_concurrent": 1, "checkpoint_seconds": 0.001}
    text = {"name": "pair", "resources": resources, "sweeps": [sweep]}
    result = run(study.write_text(yaml.safe_dump(text)), out)
    assert result.exit_code == 0, result.output
    assert not striker.is_alive()
    print("seconds from a kill to the next group:", [at - moments[n] for n, at in enumerate(seen.came[1:])])
    rows = ResultStore(out).trials()
    assert set(rows["status"]) == {"exhausted"}, rows["message"].tolist()
    assert set(rows["resumes"]) == {1}  # from the checkpoint that both workers wrote before
    check_curves(out)
    assert seen.crews == [f"crew-{number}" for number in range(1 + len(VICTIMS))]
    assert seen.placement_groups == []
    assert not list(Path(os.environ["HOME"]).iterdir())
