"""``python -m tests.cluster.campaign --faults 100 --seed 0``: a long study on three nodes, struck again and again.

Order, kinds and pauses come from the seed; what a strike finds does not, as trials and starts take their time. The
same command follows every driver that is killed, and another node every node. A study that ends before the last
fault is extended by a seed and goes on. At the end its rows are compared with those of the same study where nothing
befell it.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from results import ResultStore

from .nodes import Nodes
from .struck_study import StruckStudy
from .verdict import Verdict

KINDS = {"worker": 50, "raylet": 7, "node": 8, "driver": 20, "desk": 10, "node and driver": 5}
"""How many of a hundred faults are of which kind."""
PAUSE_SECONDS = (2.0, 8.0)
PATIENCE_SECONDS = 300.0
TRIALS_A_FAULT = 2.5
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a campaign came to."""

    faults: Counter[str]
    verdict: Verdict
    differing: list[str]
    given_up: int
    """Trials that were struck three times, stored as failed, and asked for once more by ``--retry-failed``."""
    stopped: int
    """Drivers that ended by themselves before their study was done."""
    left_behind: str
    """Processes, placement groups and files that stayed; empty where there are none."""
    seconds: float

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return self.verdict.good and not self.stopped and not self.left_behind


class Campaign:
    """Strikes a study until all faults are spent, and lets it end."""

    def __init__(self, nodes: Nodes, study: StruckStudy, *, rng: random.Random, seeds: int) -> None:
        """Start the study with so many seeds."""
        self._nodes = nodes
        self._study = study
        self._rng = rng
        self._seeds = seeds
        self._pause = threading.Event()
        self.faults: Counter[str] = Counter()
        self.stopped = 0
        self._study.write(*sweeps(seeds))
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
            self._study.write(*sweeps(self._seeds))
        else:
            self.stopped += 1
            say(f"a driver ended by itself with {code}: {self._study.said().splitlines()[-1]}")
        self._driver = self._study.start(self._nodes)


def run(faults: int, seed: int, folder: Path) -> Outcome:
    """Run a campaign below an empty folder."""
    begun = time.monotonic()
    rng = random.Random(seed)
    study = StruckStudy(folder)
    kinds = plan(faults, rng)
    with Nodes(head_environment=study.environment) as nodes:
        for _ in range(2):
            nodes.add_node(environment=study.environment)
        campaign = Campaign(nodes, study, rng=rng, seeds=max(1, round(faults * TRIALS_A_FAULT / TRIALS_A_SEED)))
        try:
            for number, kind in enumerate(kinds, start=1):
                victim = campaign.strike(kind)
                spent = time.monotonic() - begun
                left = spent / number * (faults - number)
                say(
                    f"[{number}/{faults}] {spent / 60:.1f} min  {kind}: {victim}; {study.stored()} trials stored; "
                    f"about {left / 60:.0f} min left"
                )
            given_up = campaign.finish()
        finally:
            campaign.end()
        try:
            nodes.settle()
            left_behind = ""
        except AssertionError as error:
            left_behind = str(error)
    verdict, differing = study.judge()
    return Outcome(
        faults=campaign.faults,
        verdict=verdict,
        differing=differing,
        given_up=given_up,
        stopped=campaign.stopped,
        left_behind=left_behind,
        seconds=time.monotonic() - begun,
    )


def table(outcome: Outcome) -> list[dict[str, Any]]:
    """Return a row for each kind of fault, and one for all of them with the verdict."""
    verdict = dataclasses.asdict(outcome.verdict)
    rows: list[dict[str, Any]] = [{"kind": kind, "faults": outcome.faults[kind]} for kind in KINDS]
    return [
        *rows,
        {
            "kind": "all",
            "faults": outcome.faults.total(),
            **verdict,
            "given_up": outcome.given_up,
            "drivers_stopped": outcome.stopped,
            "left_behind": len(outcome.left_behind.splitlines()),
            "minutes": round(outcome.seconds / 60, 1),
        },
    ]


def write_csv(rows: list[dict[str, Any]], path: Path) -> None:
    """Write the table."""
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[-1]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def main() -> int:
    """Run a campaign as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--csv", type=Path, help="where the table is written")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="campaign-") as folder:
        outcome = run(options.faults, options.seed, Path(folder))
    rows = table(outcome)
    for row in rows[:-1]:
        say(f"{row['kind']:>16}  {row['faults']}")
    for name, value in rows[-1].items():
        say(f"{name:>16}  {value}")
    for line in (*outcome.differing, *outcome.left_behind.splitlines()):
        say(line)
    if options.csv is not None:
        write_csv(rows, options.csv)
    return 0 if outcome.good else 1


if __name__ == "__main__":
    sys.exit(main())
