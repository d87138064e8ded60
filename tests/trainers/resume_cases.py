"""Runs that are cut off at a checkpoint, and short ways to say all that a run tells and leaves."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import torch
from fsspec.implementations.memory import MemoryFileSystem

from trainers.engine import DeepSpeedEngine
from trainers.keeper import Keeper
from trainers.loop import Finished, Kept, Measured, Probed, Resumed, train


class Eager(Keeper):
    """Wants a checkpoint wherever there may be one."""

    def due(self):
        return True


def own_memory():
    """A file system of its own: fsspec's in memory is otherwise shared by all of a process."""

    class Own(MemoryFileSystem):
        store: dict = {}
        pseudo_dirs = [""]
        cachable = False

    return Own()


def eager(filesystem, folder="/run", **origin):
    return Eager(filesystem, folder, every_seconds=0.0, origin=origin)


class Course:
    """A run, up to its end or to a checkpoint: what it told, its engine, and what it left."""

    def __init__(self, workload, settings, *, keeper=None, until=None, seed=0, **options):
        """Stop after the checkpoint of step ``until`` as a process does that is killed: nothing is told any more."""
        self.engine = None

        def build(*args):
            self.engine = DeepSpeedEngine(*args)
            return self.engine

        np.random.seed(seed)
        random.seed(seed)
        self.events = []
        for event in train(workload, settings, build_engine=build, keeper=keeper, **options):
            self.events.append(event)
            if isinstance(event, Kept) and event.step == until:
                break

    @property
    def curve(self):
        """What an undisturbed run and one that goes on must have in common: all but times and checkpoints."""
        return [
            _plain(event, leave_out={"resumes"})
            for event in self.events
            if isinstance(event, Measured | Probed | Finished)
        ]

    @property
    def left(self):
        """Weights, buffers, masters, the optimiser's state and what chance brings next, as plain numbers."""
        state = self.engine.read_state()
        tensors = {name: tensor.double().tolist() for name, tensor in {**state.common, **state.own}.items()}
        chance = [*torch.rand(3).tolist(), *np.random.rand(3), random.random()]
        return tensors | {"values": state.values, "chance": chance}

    @property
    def resumed(self):
        return next(event for event in self.events if isinstance(event, Resumed))

    @property
    def kept(self):
        return [event.step for event in self.events if isinstance(event, Kept)]


def _plain(event, *, leave_out):
    values = dataclasses.asdict(event)
    return repr({key: value for key, value in values.items() if "seconds" not in key and key not in leave_out})
