"""A small training script, and a short way to run it as one trial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainers.script import Script, ScriptSettings
from trainers.script_run import run_script
from trainers.settings import TrainSettings

REPOSITORY = Path(__file__).resolve().parents[2]

BOWL = f"""
import math, os, sys, time
sys.path.insert(0, {str(REPOSITORY)!r})
from trainers.reporting import batchlaw_report

batch_size, rate, seed, steps = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
theta = 1.0
for step in range(1, steps + 1):
    theta -= rate * theta
    batchlaw_report(step=step, loss=theta**2 / 2)
"""
"""Gradient descent down θ²/2 from 1: the loss after n steps is (1 − η)^(2n)/2."""

ARGUMENTS = ["{batch_size}", "{learning_rate}", "{seed}", "{steps}"]


def changed(*changes: tuple[str, str]) -> str:
    """Return the script with each first text replaced by the second."""
    text = BOWL
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


def write_script(folder: Path, text: str = BOWL) -> Path:
    path = folder / "bowl_script.py"
    path.write_text(text)
    return path


def settings(**changes: Any) -> TrainSettings:
    values: dict[str, Any] = {
        "batch_size": 8,
        "learning_rate": 0.25,
        "seed": 0,
        "optimizer": "sgd",
        "optimizer_settings": {},
        "schedule": {"name": "constant"},
        "budget": {"steps": 10},
        "target": None,
        "evaluation": {},
        "engine": {},
    }
    return TrainSettings.from_dict(values | changes)


def run(folder: Path, text: str = BOWL, *, trial: dict[str, Any] | None = None, **own: Any) -> list[Any]:
    """Return the events of a trial."""
    script = Script(ScriptSettings(arguments=ARGUMENTS, **own), path=str(write_script(folder, text)))
    return list(run_script(script, settings(**(trial or {}))))
