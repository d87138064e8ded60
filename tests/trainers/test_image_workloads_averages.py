"""Averages of weights in what they train in: bfloat16, and pieces on the workers of ZeRO stage 3."""

import pytest
import torch
from torch import nn

import trainers.engine
from trainers.engine import DeepSpeedEngine
from trainers.loop import Measured, train
from trainers.workloads import load_workload
from trainers.workloads.averaging import WeightAverage
from trainers.workloads.float32_buffers import Float32Buffers
from trainers.workloads.siamese_teacher import Teacher

from .helpers import run_settings

SMALL = {
    "byol": {"width": 4, "hidden_size": 16, "projection_size": 8},
    "bert-classify": {
        "hidden_size": 16,
        "layers": 1,
        "sequence_length": 16,
        "validation_examples": 64,
        "average_decay": 0.5,
    },
}


@pytest.fixture
def apart(monkeypatch):
    """Stage 3 with every tensor in pieces: it keeps those of less than 100,000 elements whole."""
    configuration = trainers.engine._configuration

    def sharding(*args):
        found = configuration(*args)
        found["zero_optimization"]["stage3_param_persistence_threshold"] = 0
        return found

    monkeypatch.setattr(trainers.engine, "_configuration", sharding)


def averaged():
    model = nn.Linear(3, 2)
    model.average = WeightAverage(model)
    return model


def test_an_average_of_weights_in_bfloat16_keeps_the_digits_that_a_step_adds():
    model = averaged().bfloat16()
    begun = model.average.average0.clone()
    with torch.no_grad():
        model.weight.add_(1.0)
    for _ in range(50):
        model.average.update(model, decay=0.999, step=100_000)
    assert {buffer.dtype for buffer in model.buffers()} == {torch.float32}
    expected = model.weight.float() - (model.weight.float() - begun) * 0.999**50
    torch.testing.assert_close(model.average.average0, expected)
    own = model.weight.detach().clone()
    with model.average.in_place(model), torch.no_grad():
        assert torch.equal(model.weight, expected.bfloat16())
        assert model(torch.ones(1, 3, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert torch.equal(model.weight, own)


@pytest.mark.parametrize("build", [lambda student: Teacher(student), lambda student: WeightAverage(student)])
def test_casting_a_model_leaves_every_digit_of_an_average(build):
    torch.manual_seed(0)
    part = build(nn.Linear(3, 2))
    assert isinstance(part, Float32Buffers)
    before = [buffer.clone() for buffer in part.buffers()]
    both = nn.ModuleList([part]).bfloat16().to(torch.device("cpu"), torch.float16)
    for buffer, expected in zip(both.buffers(), before, strict=True):
        assert torch.equal(buffer, expected)
        assert not torch.equal(buffer.bfloat16().float(), expected), "nothing was there to lose"


def last(name, **engine):
    settings = run_settings(
        batch_size=8, learning_rate=0.05, budget={"steps": 4}, evaluation={"points": 2}, engine=engine
    )
    return [e.values for e in train(load_workload(name, SMALL[name]), settings) if isinstance(e, Measured)][-1]


@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_run_in_bfloat16_is_nearly_that_in_float32(name):
    assert last(name, dtype="bfloat16")["train_loss"] == pytest.approx(last(name)["train_loss"], rel=0.1, abs=0.02)


@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_run_in_pieces_is_that_of_whole_weights(name, apart):
    assert last(name, zero_stage=3) == pytest.approx(last(name, zero_stage=0), rel=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_in_pieces_are_averaged_judged_and_given_back(apart, dtype):
    workload = load_workload("bert-classify", SMALL["bert-classify"])
    engine = DeepSpeedEngine(workload, run_settings(learning_rate=0.5, engine={"zero_stage": 3, "dtype": dtype}))
    batches = workload.train_batches(batch_size=8, seed=0)
    assert engine.model.classifier.weight.numel() == 0, "the weights are not in pieces"
    whole = [engine.whole_model().classifier.weight.clone()]
    for step in (1, 2):
        engine.step(next(batches), rate_factor=1.0)
        workload.after_step(engine.model, step=step)
        whole.append(engine.whole_model().classifier.weight.clone())
    expected = whole[0].float()
    for step, weight in enumerate(whole[1:], start=1):
        kept = min(0.5, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * weight.float()
    before = [parameter.clone() for parameter in engine.whole_model().parameters()]
    with engine.model.average.in_place(engine.model):
        inside = engine.whole_model().classifier.weight
        torch.testing.assert_close(inside.float(), expected.to(inside.dtype).float(), rtol=1e-5, atol=1e-6)
        assert not torch.equal(inside, whole[-1])
        engine.model.eval()
        batch = next(batches)
        with torch.no_grad():  # a forward pass takes weights apart and together again
            losses = [workload.loss(engine.model, batch) for _ in range(2)]
        assert torch.equal(*losses)
    for found, expected in zip(engine.whole_model().parameters(), before, strict=True):
        assert torch.equal(found, expected)
