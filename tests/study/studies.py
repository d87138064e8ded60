"""Studies for the tests, written as YAML, and resolved without trainers where only their shape matters."""

from __future__ import annotations

import dataclasses
import math
import shutil
from pathlib import Path
from typing import Any

import yaml

from study.config import StudyConfig
from study.design import Design, PlannedTrial

BOWL = Path(__file__).with_name("bowl.py")

SWEEP: dict[str, Any] = {
    "name": "bowl",
    "workload": "bowl.py:Bowl",
    "optimizer": "sgd",
    "outcome": "steps_to_target",
    "batch_sizes": [2, 4],
    "learning_rates": [0.25, 0.5],
    "seeds": [0, 1],
    "budget": {"steps": 40},
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """A study's YAML in a folder, beside the workload that it names."""

    folder: Path

    def write(
        self,
        *,
        name: str = "bowls",
        resources: dict[str, Any] | None = None,
        loggers: dict[str, Any] | None = None,
        **sweep: Any,
    ) -> Path:
        """Write the study and return its file; keys of the sweep replace those of ``SWEEP``."""
        shutil.copy(BOWL, self.folder / "bowl.py")
        study = {"name": name, "resources": resources or {}, "loggers": loggers or {}, "sweeps": [{**SWEEP, **sweep}]}
        return self.write_text(yaml.safe_dump(study, sort_keys=False))

    def write_text(self, text: str) -> Path:
        path = self.folder / "study.yaml"
        path.write_text(text)
        return path


def resolved_config(*sweeps: dict[str, Any]) -> StudyConfig:
    """Return a config as ``resolve`` leaves it, where nothing is asked of the trainers."""
    complete = {
        "target": {"metric": "loss", "mode": "min", "value": 0.1},
        "engine": {"dtype": "float32", "zero_stage": 0},
    }
    return StudyConfig.model_validate({"name": "shape", "sweeps": [{**SWEEP, **complete, **sweep} for sweep in sweeps]})


def design(**sweep: Any) -> Design:
    return Design(resolved_config(sweep))


def row(trial: PlannedTrial, *, status: str = "reached", steps: float = math.nan, value: float = 0.0) -> dict[str, Any]:
    """Return the columns of a stored trial that the study itself reads."""
    return {
        "trial_id": trial.trial_id,
        "sweep": trial.sweep,
        "workload": trial.spec.workload,
        "optimizer": trial.spec.optimizer,
        "batch_size": trial.spec.batch_size,
        "status": status,
        "message": "",
        "steps_to_target": steps if status == "reached" else math.nan,
        "value": value,
        "steps": trial.steps,
        "train_seconds": 1.0,
        "evaluate_seconds": 0.5,
        "setup_seconds": 0.5,
        "probe_seconds": 0.0,
    }
