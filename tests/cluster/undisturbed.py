"""``python -m tests.cluster.undisturbed STUDY OUT``: a study without Ray, so that nothing can befall it.

One process trains, or several that torchrun's variables (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT) make a group.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from results import ResultStore
from results.schema import canonical_json
from study.agenda import Agenda
from study.crew import facts, work
from study.design import Design
from study.desk import Desk
from study.dispatch import Dispatch
from study.folder import write_study
from study.lane import PlannedTrial
from study.loading import load_study
from study.outcomes import Outcomes
from study.recorder import Recorder
from study.resolve import locate_workload, resolve
from study.team import Team
from study.team_desk import TeamDesk
from study.training import Training


class Silence:
    """An observer whom nothing interests."""

    def started(self, trial: PlannedTrial) -> None: ...
    def advanced(self, trial: PlannedTrial, step: int) -> None: ...
    def lost(self, trial: PlannedTrial) -> None: ...
    def stored(self, row: Mapping[str, Any]) -> None: ...
    def tick(self) -> None: ...


class OwnDesk(Desk):
    """A desk at which the driver listens whenever the crew asks: they are one process."""

    dispatch: Dispatch

    def ask(self, crew: str, facts: Mapping[str, Any]) -> Mapping[str, Any]:
        self.dispatch.hear(*self.collect())
        return super().ask(crew, facts)


def main(path: Path, out: Path) -> None:
    study = resolve(load_study(path))
    store, outcomes = ResultStore(out), Outcomes()
    write_study(store, study.config)

    def job(trial: PlannedTrial) -> dict[str, str]:
        return {
            "spec": canonical_json(trial.spec.to_dict()),
            "workload": locate_workload(trial.spec.workload, study.folder),
        }

    recorder = Recorder(
        store=store,
        outcomes=outcomes,
        study=study.config.name,
        code_version="undisturbed",
        arithmetic=study.arithmetic,
        observer=Silence(),
    )
    desk = OwnDesk()
    agenda = Agenda(Design(study.config), outcomes)
    desk.dispatch = Dispatch(agenda=agenda, desk=desk, recorder=recorder, job=job, places=1, retries=0)
    desk.dispatch.hand_out()
    training = Training()
    training.prepare(cpus=1, gpus=0)
    if "RANK" not in os.environ:
        work(desk, crew="alone", train=training.events, facts=facts())
    else:
        torch.distributed.init_process_group("gloo")
        shared = TeamDesk(desk, Team.of_process_group())  # only worker 0 comes to its desk
        work(shared, crew="alone", train=shared.training(training.events), facts=facts())
        torch.distributed.destroy_process_group()
    store.compact()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
