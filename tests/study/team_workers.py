"""What each of two gloo processes does in the tests of teams: ``team_workers <folder>``.

The folder has the jobs in ``jobs.json``; each process leaves what its desk heard in ``told-<rank>.json``.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch

from study import team_desk
from study.crew import work
from study.team import GroupBroken, Team
from study.team_desk import TeamDesk
from study.training import Training

from .test_crew import FACTS, OneByOne


def main() -> None:
    folder, rank = Path(sys.argv[1]), int(os.environ["RANK"])
    team_desk.PATIENCE_SECONDS = 1.0
    training = Training()
    training.prepare(cpus=1, gpus=0.0)
    torch.distributed.init_process_group("gloo")
    desk, left = OneByOne(), ""
    desk.offer(json.loads((folder / "jobs.json").read_text()))
    team = Team.of_process_group()
    mine = TeamDesk(desk, team)
    try:
        work(mine, crew="pair", train=mine.training(training.events), facts=FACTS)
    except GroupBroken as error:
        left = str(error)
    (folder / f"told-{rank}.json").write_text(json.dumps({"told": desk.collect()[1], "left": left}))
    os._exit(0)  # a group that is broken would be waited for


if __name__ == "__main__":
    main()
