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
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from .nodes import Nodes
from .strikes import KINDS, TRIALS_A_FAULT, TRIALS_A_SEED, Striker, plan
from .struck_study import StruckStudy
from .verdict import Verdict


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a campaign came to."""

    faults: Counter[str]
    verdict: Verdict
    differing: list[str]
    given_up: int
    """Trials that were struck too often, stored as failed, and asked for once more by ``--retry-failed``."""
    stopped: int
    """Drivers that ended by themselves before their study was done."""
    left_behind: str
    """Processes, placement groups and files that stayed; empty where there are none."""
    seconds: float

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return self.verdict.good and not (self.given_up or self.stopped or self.left_behind)


def run(faults: int, seed: int, folder: Path) -> Outcome:
    """Run a campaign below an empty folder."""
    begun = time.monotonic()
    rng = random.Random(seed)
    study = StruckStudy(folder)
    kinds = plan(faults, rng)
    with Nodes(head_environment=study.environment) as nodes:
        for _ in range(2):
            nodes.add_node(environment=study.environment)
        seeds = max(1, round(faults * TRIALS_A_FAULT / TRIALS_A_SEED))
        striker = Striker(nodes, study, rng=rng, seeds=seeds, say=say)
        try:
            for number, kind in enumerate(kinds, start=1):
                victim = striker.strike(kind)
                spent = time.monotonic() - begun
                left = spent / number * (faults - number)
                say(
                    f"[{number}/{faults}] {spent / 60:.1f} min  {kind}: {victim}; {study.stored()} trials stored; "
                    f"about {left / 60:.0f} min left"
                )
            given_up = striker.finish()
        finally:
            striker.end()
        try:
            nodes.settle()
            left_behind = ""
        except AssertionError as error:
            left_behind = str(error)
    verdict, differing = study.judge()
    return Outcome(
        faults=striker.faults,
        verdict=verdict,
        differing=differing,
        given_up=given_up,
        stopped=striker.stopped,
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
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through all that cleans up
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
