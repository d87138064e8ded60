"""A crew of several workers: Ray Train's ``TorchTrainer`` inside one Tune trial, called once for trial after trial.

Imports, data and the process group stay from one of our trials to the next. When a worker is lost, or one raises where
the others can't follow, the whole group ends with an error and another crew takes its place, as with a single worker.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import tune

from .capacity import worker_bundle
from .crew import facts, work
from .desk import STOP
from .desk_actor import RemoteDesk
from .lost_worker import cause_of_group_loss
from .placement import PlacementGroups, groups_of_this_job
from .resources import Resources
from .scratch import scratch_folder
from .team import GroupBroken, Team
from .team_desk import TeamDesk
from .training import Training

if TYPE_CHECKING:
    from ray.train.torch import TorchTrainer

GROUP_REQUEST = tune.PlacementGroupFactory([{"memory": 1}])
"""What Tune reserves for a group: one byte, as Ray Train reserves the workers' part itself. Nothing is refused."""
_TRAIN_ENVIRONMENT = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_TRAIN_ENABLE_CONTROLLER_STRUCTURED_LOGGING": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # an actor more; checkpoints do without the warning
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_TRAIN_ENABLE_WORKER_STRUCTURED_LOGGING": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # until a lost worker is noticed
    "RAY_TRAIN_METRICS_ENABLED": "0",
}


class WorkerLost(Exception):
    """A worker of the group is gone, or can't work with the others any more."""


class GroupCrew(tune.Trainable):
    """A crew of several workers. To Ray Tune it is one long trial, which ends when the desk sends it home."""

    most_trials: int | None = None
    """After so many a crew leaves, and another takes its place; a benchmark measures what that would cost."""

    def setup(self, config: Mapping[str, Any]) -> None:
        """Take what ``group_settings`` made, and the crew's name."""
        self._config = dict(config)

    def step(self) -> dict[str, Any]:
        """Work until there is nothing left to do."""
        for name, value in _TRAIN_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        import ray.train

        with scratch_folder() as scratch:
            try:
                self._trainer(scratch).fit()
            except ray.train.WorkerGroupError as error:
                raise WorkerLost(cause_of_group_loss(error.worker_failures)) from None
        return {"done": True}

    def _trainer(self, scratch: Path) -> TorchTrainer:
        import ray.train
        from ray.train.torch import TorchConfig, TorchTrainer

        config = self._config
        hidden = {} if config["gpus"] else {"CUDA_VISIBLE_DEVICES": ""}  # Ray no longer hides GPUs
        return TorchTrainer(
            _train_loop,
            train_loop_config={
                **{name: config[name] for name in ("crew", "desk", "code", "cpus", "gpus")},
                "most_trials": self.most_trials,
            },
            torch_config=TorchConfig(backend="nccl" if config["gpus"] else "gloo"),
            scaling_config=ray.train.ScalingConfig(
                num_workers=config["workers"],
                use_gpu=bool(config["gpus"]),
                resources_per_worker=config["resources_per_worker"],
                placement_strategy="STRICT_PACK" if config["one_node"] else "PACK",
            ),
            run_config=ray.train.RunConfig(  # type: ignore[call-arg]  # by its types it is Ray Train's first version
                name=config["crew"],
                storage_path=str(scratch),  # of this machine alone: nothing is reported, so no worker writes there
                failure_config=ray.train.FailureConfig(max_failures=0, max_preemption_failures=0),  # type: ignore[call-arg]
                worker_runtime_env={"env_vars": {**hidden, **config["environment"]}},
            ),
        )


def group_settings(resources: Resources, *, code: str, at_home: bool) -> dict[str, Any]:
    """Return what a group needs to know beyond what a single worker does.

    Args:
        resources: what its workers need.
        code: the digest of the driver's code, which each worker must have.
        at_home: whether the cluster is this machine alone, so that workers need talk to no other.
    """
    loopback = at_home and sys.platform == "linux"
    return {
        "code": code,
        "environment": {"GLOO_SOCKET_IFNAME": "lo"} if loopback else {},
        "one_node": resources.one_node,
        "resources_per_worker": worker_bundle(resources),
        "workers": resources.workers,
    }


def placement_groups_of(resources: Resources) -> PlacementGroups:
    """Return the placement groups of this study's groups."""
    return groups_of_this_job(worker_bundle(resources), resources.workers or 1)


def _train_loop(config: Mapping[str, Any]) -> None:
    """Work as one of the group, in the thread that Ray Train gives."""
    training = Training()
    training.prepare(cpus=config["cpus"], gpus=config["gpus"])  # threads and denormals: for this thread alone
    team = Team.of_process_group()
    own = facts() | {"placement_group": _placement_group()}
    known = team.read(team.post(own)) or [own]
    other = next((told for told in known if told["code"] != config["code"]), known[0])
    most = config["most_trials"]
    remote = RemoteDesk(config["desk"]) if most is None else _Leaving(config["desk"], most)
    desk = TeamDesk(remote, team, hardware=[told["hardware"] for told in known])
    try:
        work(desk, crew=config["crew"], train=desk.training(training.events), facts=other)
    except GroupBroken as error:
        raise RuntimeError(str(error)) from None


def _placement_group() -> str:
    import ray

    group = ray.util.get_current_placement_group()
    return "" if group is None else group.id.hex()


class _Leaving(RemoteDesk):
    """A desk that sends its crew home after so many trials."""

    def __init__(self, actor: Any, most_trials: int) -> None:
        super().__init__(actor)
        self._left = most_trials

    def ask(self, crew: str, facts: Mapping[str, Any]) -> Mapping[str, Any]:
        if self._left == 0:
            return STOP
        answer = super().ask(crew, facts)
        self._left -= answer["kind"] == "job"
        return answer
