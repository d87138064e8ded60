"""Striking a study on a cluster: what is run, which faults come in which order, and who follows whom is killed."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from results import ResultStore

from .nodes import Nodes
from .struck_study import StruckStudy

KINDS = {"worker": 50, "raylet": 7, "node": 8, "driver": 20, "desk": 10, "node and driver": 5}
"""How many of a hundred faults are of which kind."""
PAUSE_SECONDS = (2.0, 8.0)
PATIENCE_SECONDS = 300.0
MOST_STOPPED = 10
TRIALS_A_FAULT = 2.5
RETRIES = 1000
"""A worker dies every few seconds, so that three losses say nothing about a trial."""
TINY_BERT = {"hidden_size": 8, "heads": 1, "layers": 1, "sequence_length": 8, "validation_examples": 16}


def sweeps(seeds: int) -> list[dict[str, Any]]:
    """Return the study's sweeps: 16 trials a seed, of 0.1 to 2.5 s."""
    paced = {"dimensions": 50, "target_loss": 0.6}
    every = {"seeds": list(range(seeds)), "budget": {"steps": 40, "stop_at_target": False}}
    return [
        {"name": "short", **every, "workload_settings": {**paced, "seconds_a_batch": 0.005}},
        {"name": "middle", **every, "workload_settings": {**paced, "seconds_a_batch": 0.02}},
        {"name": "long", **every, "workload_settings": {**paced, "seconds_a_batch": 0.06}, "batch_sizes": [4]},
        {"name": "bowl", **every, "workload": "bowl.py:Bowl", "workload_settings": {}, "batch_sizes": [2]},
        {
            "name": "text",
            **every,
            "workload": "bert-mlm",
            "workload_settings": TINY_BERT,
            "optimizer": "adamw",
            "outcome": "value_at_budget",
            "target": None,
            "batch_sizes": [8, 16],
            "learning_rates": [0.01],
            "budget": {"steps": 10},
        },
        {"name": "longest", **every, "workload_settings": {**paced, "seconds_a_batch": 0.07}, "batch_sizes": [8]},
    ]


TRIALS_A_SEED = 16


def plan(faults: int, rng: random.Random) -> list[str]:
    """Return the kinds of so many faults, in the order in which they come."""
    kinds = [
        kind for kind, share in KINDS.items() if kind != "worker" for _ in range(max(1, round(share * faults / 100)))
    ]
    kinds += ["worker"] * (faults - len(kinds))
    rng.shuffle(kinds)
    return kinds[:faults]


class Striker:
    """Strikes a study until all faults are spent, and lets it end."""

    def __init__(
        self, nodes: Nodes, study: StruckStudy, *, rng: random.Random, seeds: int, say: Callable[[str], None]
    ) -> None:
        """Start the study with so many seeds."""
        self._nodes = nodes
        self._study = study
        self._rng = rng
        self._seeds = seeds
        self._say = say
        self._pause = threading.Event()
        self.faults: Counter[str] = Counter()
        self.stopped = 0
        self._study.write(*sweeps(seeds), resources={"retries": RETRIES})
        self._driver = study.start(nodes)

    def strike(self, kind: str) -> str:
        """Wait for a victim, then for a moment, and strike; return who was struck."""
        until = time.monotonic() + PATIENCE_SECONDS
        pause = self._rng.uniform(*PAUSE_SECONDS)
        paused = False
        while time.monotonic() < until:
            self._see_to_the_driver()
            if self._nodes.crews() or kind != "worker":
                if not paused:
                    self._pause.wait(pause)
                    paused = True
                    continue
                victim = self._strikes[kind]()
                if victim:
                    self.faults[kind] += 1
                    return victim
            self._pause.wait(0.2)
        raise AssertionError(f"no victim for {kind} in {PATIENCE_SECONDS:g} s; drivers said:\n{self._study.said()}")

    def finish(self) -> int:
        """Let the study end; return how many trials had to be asked for once more."""
        while self._study.end(self._driver, seconds=1800.0) != 0:
            self._see_to_the_driver()
        rows = ResultStore(self._study.out).trials(("status", "message"))
        failed = int((rows["status"] == "failed").sum())
        if failed:
            assert self._study.end(self._study.start(self._nodes, "--retry-failed"), seconds=600.0) == 0
        return failed

    def end(self) -> None:
        """Kill the driver if it is still there."""
        if self._driver.poll() is None:
            self._driver.kill()
        self._driver.wait()

    # -- strikes ------------------------------------------------------------------------------------

    @property
    def _strikes(self) -> dict[str, Callable[[], str]]:
        return {
            "worker": self._strike_worker,
            "desk": self._strike_desk,
            "raylet": lambda: self._strike_node(self._nodes.kill_raylet),
            "node": lambda: self._strike_node(self._nodes.kill_node),
            "driver": self._strike_driver,
            "node and driver": lambda: f"{self._strike_driver(restart=False)}, {self._strike_node_and_go_on()}",
        }

    def _strike_worker(self) -> str:
        crews = self._nodes.crews()
        if not crews:
            return ""
        crew = self._rng.choice(crews)
        return f"process {crew.pid}" if self._nodes.kill_actor(crew) else ""

    def _strike_desk(self) -> str:
        desk = self._nodes.desk()
        return f"process {desk.pid}" if desk and self._nodes.kill_actor(desk) else ""

    def _strike_node(self, kill: Callable[[Any], None]) -> str:
        node = self._rng.choice(self._nodes.nodes[1:])
        kill(node)
        self._nodes.add_node(environment=self._study.environment)
        return f"node {node.node_id[:8]}"

    def _strike_node_and_go_on(self) -> str:
        struck = self._strike_node(self._nodes.kill_node)
        self._driver = self._study.start(self._nodes)
        return struck

    def _strike_driver(self, *, restart: bool = True) -> str:
        pid = self._driver.pid
        self._driver.kill()
        self._driver.wait()
        if restart:
            self._driver = self._study.start(self._nodes)
        return f"process {pid}"

    def _see_to_the_driver(self) -> None:
        """Follow a driver that has ended by another one, with more to do where all was done."""
        code = self._driver.poll()
        if code is None:
            return
        if code == 0:
            self._seeds += 1
            self._study.write(*sweeps(self._seeds), resources={"retries": RETRIES})
        else:
            self.stopped += 1
            assert self.stopped <= MOST_STOPPED, f"drivers end by themselves; they said:\n{self._study.said()}"
            self._say(f"a driver ended by itself with {code}: {self._study.said().splitlines()[-1]}")
        self._driver = self._study.start(self._nodes)
