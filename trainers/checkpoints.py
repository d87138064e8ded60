"""What a run keeps of itself so that it can go on elsewhere, step for step the same, and how it does.

A checkpoint holds the engine's state, the random state, and where the run stands, its measurements included. Batches
are not in it: a workload's stream depends on the seed alone, so that it is made anew and the first ones left out.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import importlib.metadata
import itertools
import json
from collections.abc import Iterator
from typing import Any

import torch
from pydantic import BaseModel

from .chance import check_chance, read_chance, write_chance
from .deepspeed_state import EngineState
from .engine import Engine
from .events import Kept, Resumed
from .keeper import Checkpoint, Keeper
from .run_state import Run
from .settings import TrainSettings
from .tensor_file import CheckpointError, read_tensors, write_tensors
from .workload import Batch, Workload


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Found:
    """A checkpoint that was read and fits."""

    engine: EngineState
    chance: dict[str, torch.Tensor]
    chance_values: dict[str, Any]
    run: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run, while it runs. All workers make the same calls."""

    def __init__(
        self, keeper: Keeper, run: Run, *, engine: Engine, workload: Workload, settings: TrainSettings
    ) -> None:
        """Look at a run that has not begun."""
        self._keeper, self._run, self._engine = keeper, run, engine
        self._batch_size, self._last_step = settings.batch_size, settings.last_step
        self._origin = _origin(workload, settings)

    def take_up(self, batches: Iterator[Batch]) -> Resumed:
        """Put the run, ``batches`` and the random state where the last usable checkpoint stood, if there is one."""
        found, problems = self._keeper.load(self._use, origin=self._origin)
        run = self._run
        if found:
            self._engine.write_state(found.engine)
            plan = found.run["plan"]
            self._engine.plan = dataclasses.replace(
                self._engine.plan.limited(plan["micro_batch_size"]),
                halvings=plan["halvings"],
                micro_batch_at_most=plan["micro_batch_at_most"],
            )
            run.take_up(found.run)
            for _ in itertools.islice(batches, run.step):
                pass
            write_chance(found.chance, found.chance_values)  # last: what came before may have drawn
        return Resumed(
            step=run.step,
            examples=run.step * self._batch_size,
            train_seconds=run.clock.train_seconds,
            resumes=run.resumes,
            problems=tuple(problems),
        )

    def due(self) -> bool:
        """Return whether to save now, which may be done only where all losses have been read."""
        return self._keeper.due()

    def save(self) -> Kept:
        """Write a checkpoint of this moment."""
        run, plan, state = self._run, self._engine.plan, self._engine.read_state()
        chance, chance_values = read_chance()
        written = self._keeper.save(
            step=run.step,
            common=write_tensors(state.common, {}),
            own=write_tensors({**state.own, **chance}, {"engine": state.values, "chance": chance_values}),
            run={
                **run.known(),
                "plan": {
                    "micro_batch_size": plan.micro_batch_size,
                    "halvings": plan.halvings,
                    "micro_batch_at_most": plan.micro_batch_at_most,
                },
            },
            origin=self._origin,
        )
        return Kept(
            step=run.step,
            examples=run.step * self._batch_size,
            train_seconds=run.clock.train_seconds,
            **dataclasses.asdict(written),
        )

    def _use(self, checkpoint: Checkpoint) -> _Found:
        """Return what a checkpoint holds.

        Raises:
            CheckpointError: It does not fit this run.
        """
        common, _ = read_tensors(checkpoint.common)
        own, values = read_tensors(checkpoint.own)
        chance = {name: own.pop(name) for name in list(own) if name.startswith("chance ")}
        check_chance(chance)
        state = EngineState(common=common, own=own, values=values["engine"])
        self._engine.check_state(state)
        copy.deepcopy(self._run).take_up(checkpoint.run)  # raises where something is missing or no number
        if not 0 < checkpoint.run["step"] <= self._last_step:
            raise CheckpointError(f"it stands at step {checkpoint.run['step']} of {self._last_step}")
        return _Found(engine=state, chance=chance, chance_values=values["chance"], run=checkpoint.run)


def _origin(workload: Workload, settings: TrainSettings) -> dict[str, str]:
    """Return what must be the same for a run to go on; the trial's id and the code are for the caller to add."""
    own = workload.settings.model_dump(mode="json") if isinstance(workload.settings, BaseModel) else None
    return {
        "trial": _digest(settings.model_dump(mode="json")),
        "workload": f"{workload.name} {_digest(own)}",
        "torch": torch.__version__,
        "deepspeed": importlib.metadata.version("deepspeed"),
    }


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]
