"""A driver whose trials wait to be let go: plans a study on a cluster, then runs it, and looks at the nodes often.

Trials train nothing. In the folder ``places`` each one writes who runs it, and ends once there is a file ``go``.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ray
from ray import tune

from results import ResultStore
from study import room
from study.cli import app
from study.crew import facts, work
from study.design import Design
from study.desk_actor import RemoteDesk
from study.launch import run_missing
from study.loading import load_study
from study.resolve import resolve
from trainers.events import Finished

PATIENCE_SECONDS = 120.0


class Waiting(tune.Trainable):
    """A crew whose trials wait."""

    def setup(self, config: Mapping[str, Any]) -> None:
        self._config = config

    def step(self) -> dict[str, Any]:
        work(RemoteDesk(self._config["desk"]), crew=self._config["crew"], train=wait_to_be_let_go, facts=facts())
        return {"done": True}


def wait_to_be_let_go(job: Mapping[str, Any]) -> Iterator[Any]:
    folder, seed = Path(os.environ["PLACES"]), json.loads(job["spec"])["seed"]
    place = {
        "seed": seed,
        "node_id": ray.get_runtime_context().get_node_id(),
        "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
    }
    own = folder / f"{seed}-{os.getpid()}.json"
    own.with_suffix(".new").write_text(json.dumps(place))
    own.with_suffix(".new").rename(own)
    until, pause = time.monotonic() + PATIENCE_SECONDS, threading.Event()
    while not (folder / "go").exists():
        if time.monotonic() > until:
            raise TimeoutError("nobody let this trial go")
        pause.wait(0.05)
    yield Finished(
        status="exhausted",
        message="",
        steps=1,
        examples=2,
        steps_to_target=None,
        value=1.0,
        train_seconds=0.0,
        evaluate_seconds=0.0,
        setup_seconds=0.0,
        probe_seconds=0.0,
        world_size=1,
        micro_batch_size=2,
        accumulation_steps=1,
        device_batch_size=2,
        dtype="float32",
        zero_stage=0,
        hardware="none",
    )


class Silence:
    """Hears everything and says nothing."""

    def started(self, trial: object) -> None:
        pass

    def advanced(self, trial: object, step: int) -> None:
        pass

    def lost(self, trial: object) -> None:
        pass

    def stored(self, row: object) -> None:
        pass

    def tick(self) -> None:
        pass


def main(path: str, out: str, address: str) -> None:
    app(["plan", path, "--out", out, "--address", address], standalone_mode=False)
    sys.stdout.flush()
    room.READ_SECONDS = 0.2
    study = resolve(load_study(Path(path)))
    summary = run_missing(
        study, Design(study.config), ResultStore(out), observer=Silence(), address=address, worker=Waiting
    )
    print(summary.trials, summary.concurrency)


if __name__ == "__main__":
    main(*sys.argv[1:])
