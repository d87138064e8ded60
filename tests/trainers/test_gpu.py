"""What only a CUDA device can show. Needs torch, DeepSpeed, transformers and kornia, no Ray: ``make test-gpu``."""

import pytest
import torch

from trainers.engine import DeepSpeedEngine
from trainers.loop import Measured, train
from trainers.memory import DoesNotFit
from trainers.optimizers import ELEMENTWISE
from trainers.workloads import load_workload

from .helpers import BareEngine, run_settings
from .resume_cases import Course, eager, own_memory

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device"),
]

BERT = {"hidden_size": 32, "layers": 2, "sequence_length": 32, "validation_examples": 64}


def losses(workload, settings, engine=DeepSpeedEngine):
    return [
        e.values["train_loss"]
        for e in train(workload, settings, build_engine=engine)
        if "train_loss" in getattr(e, "values", {})
    ]


@pytest.mark.parametrize("zero_stage", [0, 1, 2, 3])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_zero_stage_and_type_follows_the_processors_run(zero_stage, dtype):
    workload = load_workload("bert-mlm", BERT)
    changes = {"batch_size": 32, "optimizer": "adamw", "learning_rate": 2e-3, "budget": {"steps": 30}}
    reference = losses(workload, run_settings(**changes), BareEngine)
    got = losses(workload, run_settings(**changes, engine={"dtype": dtype, "zero_stage": zero_stage}))
    # float32 differs by the order of sums; bfloat16 keeps 8 bits, a relative 2^-9 a rounding.
    assert got == pytest.approx(reference, rel=1e-3 if dtype == "float32" else 3e-2)


@pytest.mark.parametrize("optimizer", sorted(ELEMENTWISE | {"lamb", "muon"}))
def test_every_optimiser_trains_in_float32_as_on_the_processor(optimizer):
    workload = load_workload("bert-mlm", BERT)
    settings = run_settings(batch_size=32, optimizer=optimizer, learning_rate=1e-3, budget={"steps": 10})
    assert losses(workload, settings) == pytest.approx(losses(workload, settings, BareEngine), rel=2e-3)


@pytest.mark.parametrize("name", ["simsiam", "quadratic"])
def test_the_other_workloads_train_in_both_types(name):
    workload = load_workload(name, {})
    for dtype in ("float32", "bfloat16"):
        settings = run_settings(batch_size=64, learning_rate=0.05, budget={"steps": 20}, engine={"dtype": dtype})
        *events, last = train(workload, settings)
        assert last.status == "exhausted"
        assert [e for e in events if isinstance(e, Measured)]


def test_a_real_out_of_memory_halves_the_micro_batch_and_keeps_the_batch():
    workload = load_workload("bert-mlm", {**BERT, "hidden_size": 256, "sequence_length": 128})
    settings = run_settings(batch_size=512, optimizer="adamw", learning_rate=1e-3, budget={"steps": 3})
    whole = losses(workload, settings)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    list(train(workload, settings))
    peak = torch.cuda.max_memory_allocated()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.6 * peak / total)
    try:
        *events, last = train(workload, settings)
        assert 1 <= last.micro_batch_size < 512
        assert last.micro_batch_size * last.accumulation_steps == 512
        got = [e.values["train_loss"] for e in events if isinstance(e, Measured) and "train_loss" in e.values]
        assert got == pytest.approx(whole, rel=1e-3)
        assert torch.cuda.max_memory_allocated() <= 0.6 * peak * 1.01
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_memory_does_not_grow_from_trial_to_trial():
    workload = load_workload("bert-mlm", BERT)
    held = []
    for seed in range(6):
        list(train(workload, run_settings(batch_size=32, seed=seed, optimizer="adamw", budget={"steps": 5})))
        held.append(torch.cuda.memory_allocated())
    assert held[-1] <= held[1] + 2**20


@pytest.mark.parametrize("zero_stage", [0, 1, 2, 3])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_run_goes_on_from_a_checkpoint(zero_stage, dtype):
    """Weights come back bit for bit; sums on a GPU may be taken in another order in every run."""
    workload = load_workload("bert-mlm", {**BERT, "dropout": 0.1})
    settings = run_settings(
        batch_size=32,
        optimizer="adamw",
        learning_rate=2e-3,
        budget={"steps": 24},
        engine={"dtype": dtype, "zero_stage": zero_stage},
    )
    through, files = Course(workload, settings), own_memory()
    cut = Course(workload, settings, keeper=eager(files), until=16)
    engine = DeepSpeedEngine(workload, settings)
    engine.write_state(cut.engine.read_state())
    ours, theirs = engine.read_state(), cut.engine.read_state()
    for name, tensor in {**theirs.common, **theirs.own}.items():
        assert torch.equal({**ours.common, **ours.own}[name], tensor), name
    rest = Course(workload, settings, keeper=eager(files), seed=1)
    assert rest.resumed.step == 16
    for one, other in zip(through.measured, rest.measured, strict=True):
        assert other.values == pytest.approx(one.values, rel=1e-3 if dtype == "float32" else 3e-2)


def test_with_zero_a_real_out_of_memory_asks_for_less_and_the_run_goes_on():
    workload = load_workload("bert-mlm", {**BERT, "hidden_size": 256, "sequence_length": 128})
    settings = run_settings(
        batch_size=512, optimizer="adamw", learning_rate=1e-3, budget={"steps": 3}, engine={"zero_stage": 2}
    )
    whole = losses(workload, settings)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    list(train(workload, settings))
    peak, total = torch.cuda.max_memory_allocated(), torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.6 * peak / total)
    try:
        at_most, events = None, []
        while not events:
            try:
                events = list(train(workload, settings, micro_batch_at_most=at_most))
            except DoesNotFit as error:
                at_most = error.micro_batch_at_most
            torch.cuda.empty_cache()
        assert at_most < 512
        assert events[-1].micro_batch_size == at_most
        got = [e.values["train_loss"] for e in events if "train_loss" in getattr(e, "values", {})]
        assert got == pytest.approx(whole, rel=1e-3)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
