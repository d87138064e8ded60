"""Workloads small enough for a dense Hessian, plain autograd to compare with, and short ways to read rows."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from trainers.batching import cut, rebatch
from trainers.loop import Probed, train
from trainers.probes.cost import ProbeCost
from trainers.probes.gradients import HeldLoss
from trainers.probes.rows import Rows
from trainers.probes.sizes import ProbeSizes
from trainers.reading import Settings
from trainers.workload import Target, Workload
from trainers.workloads import load_workload

from .helpers import BareEngine, run_settings

TINY_BERT = {"hidden_size": 8, "heads": 1, "layers": 1, "sequence_length": 8, "validation_examples": 16}
TINY_SIMSIAM = {"width": 2, "projection_size": 4, "predictor_size": 2}
EVERYTHING = ["two_batch", "per_example", "curvature", "one_step", "line_search"]


class Nothing(Settings):
    pass


class SmallCNN(Workload):
    """Two classes of random pictures; convolution, tanh, linear."""

    name, summary, metrics, Settings = "small-cnn", "", ("loss",), Nothing

    def __init__(self, settings=None):
        self.settings, self.target = settings, Target(metric="loss", mode="min")

    def build_model(self, *, seed):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(18, 2))

    def train_batches(self, *, batch_size, seed):
        generator = torch.Generator().manual_seed(seed % 2**31)

        def blocks():
            while True:
                labels = torch.randint(0, 2, (64,), generator=generator)
                yield torch.randn(64, 1, 5, 5, generator=generator) + labels[:, None, None, None], labels

        return rebatch(blocks(), batch_size)

    def loss(self, model, batch):
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    def evaluate(self, model):
        return {"loss": float(self.loss(model, next(self.train_batches(batch_size=64, seed=1))))}


class DenseQuadratic(Workload):
    """½θᵀHθ + mean(ξ)·θ with H far from diagonal; Σ is diagonal with unequal elements."""

    name, summary, metrics, Settings = "dense-quadratic", "", ("loss",), Nothing
    dimensions = 12

    def __init__(self, settings=None):
        self.settings, self.target = settings, Target(metric="loss", mode="min")
        rng = np.random.default_rng(0)
        root = rng.normal(size=(self.dimensions, self.dimensions)) + 0.3
        self.hessian = root @ root.T / self.dimensions
        self.variance = rng.uniform(1.0, 20.0, self.dimensions)
        self.start = rng.normal(size=self.dimensions)
        self.gradient = self.hessian @ self.start
        self._hessian = torch.tensor(self.hessian, dtype=torch.float32)
        self._deviation = torch.tensor(np.sqrt(self.variance), dtype=torch.float32)

    def build_model(self, *, seed):
        model = nn.Module()
        model.theta = nn.Parameter(torch.tensor(self.start, dtype=torch.float32))
        return model

    def train_batches(self, *, batch_size, seed):
        generator = torch.Generator().manual_seed(seed)

        def blocks():
            while True:
                yield torch.randn(256, self.dimensions, generator=generator) * self._deviation

        return rebatch(blocks(), batch_size)

    def loss(self, model, batch):
        return 0.5 * model.theta @ self._hessian @ model.theta + batch.mean(dim=0) @ model.theta

    def evaluate(self, model):
        return {"loss": float(0.5 * model.theta @ self._hessian @ model.theta)}


def workload_named(name):
    if name == "small-cnn":
        return SmallCNN()
    if name == "dense-quadratic":
        return DenseQuadratic()
    small = {"bert-mlm": TINY_BERT, "simsiam": TINY_SIMSIAM, "quadratic": {"dimensions": 10}}
    return load_workload(name, small[name])


class ProbedEngine(BareEngine):
    """The bare loop, with its weights and its optimiser shown."""

    def whole_model(self):
        return self.model

    def whole_optimizer(self, model):
        return self._optimizer


def probe(workload, probes, *, engine=ProbedEngine, **changes):
    """The first probe of a run, as a list of rows."""
    settings = run_settings(**{"budget": {"steps": 1}, "evaluation": {"points": 1}} | changes, probes=probes)
    return list(next(e for e in train(workload, settings, build_engine=engine) if isinstance(e, Probed)).rows)


def values(rows, name, batch_size=None, *, scope="all", rate=None):
    """total / count by draw, for rows of one name and batch size."""
    found = [
        row
        for row in rows
        if row.name == name
        and row.scope == scope
        and batch_size in (None, row.batch_size)
        and (rate is None or row.rate == rate)
    ]
    assert [row.draw for row in found] == list(range(len(found)))
    assert found
    return np.array([row.total / row.count for row in found])


def sizes_of(*, small=2, large=8, curvature=8, reference=8, ladder=(), independent=True, additive=True, unit=1):
    return ProbeSizes(
        small=small,
        large=large,
        curvature=curvature,
        reference=reference,
        ladder=ladder,
        unit=unit,
        independent=independent,
        additive=additive,
        coupled_pass=curvature,
        free_pass=5,  # divides nothing, so that passes of unequal sizes are weighed
    )


def held(workload, *, seed=0):
    loss = HeldLoss(workload, workload.build_model(seed=seed), ProbeCost())
    return loss, Rows(step=0, examples=0, scopes=loss.names, per_layer=True)


def trained(model):
    """The parameters that are trained: rotary positions, say, are not."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def plain_gradient(workload, batch, *, seed=0, first=0, last=None):
    """The gradient by ``backward`` on a fresh model, one tensor a parameter."""
    model = workload.build_model(seed=seed)
    workload.loss(model, batch if last is None else cut(batch, first, last)).backward()
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in trained(model)]


def square(gradient):
    return sum(float((g.double() ** 2).sum()) for g in gradient)
