"""Runs that are cut off at a checkpoint, and short ways to say all that a run tells and leaves."""

from __future__ import annotations

import dataclasses
import random
import weakref

import numpy as np
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem

from trainers.engine import DeepSpeedEngine
from trainers.keeper import Keeper
from trainers.loop import Finished, Kept, Measured, Probed, Resumed, train


def quick_ones(all_of_them, *quick):
    """Return parameters of a test, of which all but the ``quick`` ones run in the slow suite alone."""
    assert set(quick) <= set(all_of_them)
    slow = pytest.mark.slow
    return [name if name in quick else pytest.param(name, marks=slow) for name in sorted(all_of_them)]


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
        self.engine, self._settings = None, settings

        def build(*args):
            self.engine = DeepSpeedEngine(*args)
            return self.engine

        next(workload.train_batches(batch_size=1, seed=0))  # what it imports may draw from Python's generator, once
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
        chance = [*torch.rand(3).tolist(), *np.random.rand(3), random.random()]
        state = self.engine.read_state()
        tensors = {**state.common, **state.own}
        if self._settings.engine.zero_stage == 3:
            tensors = self._whole(tensors)
        numbers = {name: tensor.double().tolist() for name, tensor in tensors.items()}
        return numbers | {"values": state.values, "chance": chance}

    def _whole(self, parts):
        """Put parts together: DeepSpeed fills up the last of them with whatever lay there."""
        from deepspeed.utils import safe_get_full_fp32_param

        whole = self.engine.whole_model()
        state = self.engine.whole_optimizer(whole).state
        found = {name: tensor for name, tensor in parts.items() if name.startswith("buffer ")}
        for (name, weight), sharded in zip(whole.named_parameters(), self.engine.model.parameters(), strict=True):
            found[f"weight {name}"] = weight
            found |= {f"state {name} {key}": torch.as_tensor(value) for key, value in state.get(weight, {}).items()}
            if sharded.requires_grad:
                found[f"master {name}"] = safe_get_full_fp32_param(sharded)
        return found

    @property
    def measured(self):
        return [event for event in self.events if isinstance(event, Measured)]

    @property
    def resumed(self):
        return next(event for event in self.events if isinstance(event, Resumed))

    @property
    def kept(self):
        return [event.step for event in self.events if isinstance(event, Kept)]


def _plain(event, *, leave_out):
    values = dataclasses.asdict(event)
    return repr({key: value for key, value in values.items() if "seconds" not in key and key not in leave_out})


class Cramped:
    """A workload that runs out of memory where a pass has more than ``limit`` examples, from pass ``since`` on."""

    def __init__(self, inner, limit, *, since=0, error=None, in_backward=False):
        self._inner, self._limit, self._since, self._in_backward = inner, limit, since, in_backward
        self._error = error or RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes")
        self.passes, self.held, self.still_held = 0, [], 0

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def loss(self, model, batch):
        self.still_held += sum(ref() is not None for ref in self.held)
        size = len(batch["tokens"] if isinstance(batch, dict) else batch[0])
        loss = self._inner.loss(model, batch)
        self.passes += 1
        if size <= self._limit or self.passes <= self._since:
            return loss
        activation = loss * 1.0
        self.held.append(weakref.ref(activation))
        if self._in_backward:
            return _Raises.apply(activation, self._error)
        raise type(self._error)(*self._error.args)  # a new one: an error that is kept keeps what its frames hold


class _Raises(torch.autograd.Function):
    @staticmethod
    def forward(ctx, loss, error):
        ctx.error = error
        return loss * 1.0

    @staticmethod
    def backward(ctx, _gradient):
        raise type(ctx.error)(*ctx.error.args)
