"""Trains twice in a process of its own, the second time with less address space than the first took."""

from __future__ import annotations

import json
import resource

import torch
from torch import nn

from trainers.loop import Measured, train
from trainers.process import prepare_process

from .helpers import run_settings
from .probe_cases import SmallCNN

WIDTH, BATCH = 8192, 2048


class Wide(SmallCNN):
    """Activations of 64 MiB for 2048 examples; blocks of that size go back to the system when they are freed."""

    name = "wide"

    def build_model(self, *, seed):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(25, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 2))


def address_space(name):
    with open("/proc/self/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(f"{name}:"))


def course():
    settings = run_settings(batch_size=BATCH, optimizer="adamw", learning_rate=0.01, budget={"steps": 3})
    *events, last = train(Wide(), settings)
    return {
        "losses": [list(event.values.values()) for event in events if isinstance(event, Measured)],
        "plan": [last.micro_batch_size, last.accumulation_steps, last.halvings],
    }


def main():
    prepare_process(threads=1)
    whole = course()
    now, most = address_space("VmSize"), address_space("VmPeak")
    limit = now + (most - now) // 2
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    print("FOUND", json.dumps([most - now, whole, course()]))


if __name__ == "__main__":
    main()
