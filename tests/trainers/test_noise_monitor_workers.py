"""Two and four workers, DDP and every ZeRO stage, against single-example gradients on one."""

import json
import os
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from .noise_workers import BATCH, STEPS, loss_of, model_and_data, slow_reference

ROOT = Path(__file__).parents[2]


ZERO = [(stage, managed) for stage in (0, 1, 2, 3) for managed in (True, False)]
TWO_WORKERS = {
    "ddp": {"kind": "ddp", "pieces": 2},
    "ddp accumulating, clipped": {"kind": "ddp", "pieces": 8, "clip": 1e-3, "rate": 0.0},
    "averaged by the loop": {"kind": "manual", "pieces": 4},
    "not averaged": {"kind": "manual", "pieces": 4, "forget": True},
    "uneven": {"kind": "uneven", "bounds": [4]},
    **{f"zero {stage} {managed}": {"kind": "deepspeed", "stage": stage, "managed": managed} for stage, managed in ZERO},
    **{f"clipped {stage}": {"kind": "deepspeed", "stage": stage, "clip": 1e-3, "rate": 0.0} for stage in range(4)},
    "clipped within step": {"kind": "deepspeed", "stage": 0, "managed": False, "clip": 1e-3},
    **{f"bf16 {stage}": {"kind": "deepspeed", "stage": stage, "dtype": "bf16", "rate": 0.0} for stage in range(4)},
    **{
        f"fp16 {stage}": {"kind": "deepspeed", "stage": stage, "dtype": "fp16", "rate": 0.0, "scale_power": 18}
        for stage in range(4)
    },
}
if find_spec("accelerate"):
    TWO_WORKERS["trainer"] = {"kind": "trainer"}


def run_workers(world, jobs):
    """Run all jobs in ``world`` processes, one start for all; return what each worker found, by job."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world)}
    told = json.dumps([{"pieces": 4, **job} for job in jobs.values()])
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.trainers.noise_workers", told],
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [p.returncode for p in processes] == [0] * world, outputs[0][1][-2000:]
    found = [
        [json.loads(line.removeprefix("FOUND ")) for line in out.splitlines() if line.startswith("FOUND ")]
        for out, _ in outputs
    ]
    return dict(zip(jobs, zip(*found, strict=True), strict=True))


@pytest.fixture(scope="module")
def two_workers():
    return run_workers(2, TWO_WORKERS)


def check(found, *, pieces=4, rate=0.1, skipped=0, rel=1e-5):
    """Every worker knows the same, and it is what single-example gradients on one worker give."""
    grad_sq, grad_var = slow_reference(pieces=pieces, rate=rate, first=skipped)
    for values in found:
        assert values[:2] == [pytest.approx(grad_sq, rel=rel), pytest.approx(grad_var, rel=rel)]
        assert values[2:5] == [STEPS - skipped, skipped, BATCH]


def test_ddp_shards_equal_one_worker(two_workers):
    check(two_workers["ddp"], pieces=2)
    assert two_workers["ddp"][0][5] == 8, "steps are read in groups: the last few by close()"


def test_ddp_with_accumulation_and_clipping_equals_one_worker(two_workers):
    check(two_workers["ddp accumulating, clipped"], pieces=8, rate=0.0)


def test_gradients_that_the_loop_averages_itself_equal_one_worker(two_workers):
    check(two_workers["averaged by the loop"])


def test_forgetting_to_average_is_found_out(two_workers):
    assert all("workers' gradients must be equal" in str(message) for message in two_workers["not averaged"])


def test_uneven_shares_are_weighed(two_workers):
    """Shares of 4 and 12: |g|² = (|G|² − Σ|wᵢ mᵢ|²)/(1 − Σ wᵢ²), from single-example gradients."""
    model, inputs, answers = model_and_data(torch.float64)
    expected = []
    for x, y in zip(inputs, answers, strict=True):
        gradients = torch.stack(
            [
                torch.cat(
                    [g.flatten() for g in torch.autograd.grad(loss_of(model, x[[i]], y[[i]]), model.parameters())]
                )
                for i in range(BATCH)
            ]
        )
        first, second = gradients[:4].sum(dim=0) / BATCH, gradients[4:].sum(dim=0) / BATCH
        expected.append(float(2 * first.dot(second) / (1 - (4**2 + 12**2) / BATCH**2)))
    for values in two_workers["uneven"]:
        assert values[0] == pytest.approx(sum(expected) / STEPS, rel=1e-5)


@pytest.mark.parametrize(("stage", "managed"), ZERO)
def test_zero_shards_equal_one_worker(two_workers, stage, managed):
    check(two_workers[f"zero {stage} {managed}"])


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_clipping_by_deepspeed_leaves_no_trace(two_workers, stage):
    check(two_workers[f"clipped {stage}"], rate=0.0)


def test_clipping_between_averaging_and_step_is_refused(two_workers):
    assert all(
        "gradient_clipping must be 0 to be measured" in message for message in two_workers["clipped within step"]
    )


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_bfloat16_gradients_differ_by_their_rounding_only(two_workers, stage):
    check(two_workers[f"bf16 {stage}"], rate=0.0, rel=0.03)


def test_float16_without_zero_is_refused(two_workers):
    assert all("float16 with ZeRO stage 0" in message for message in two_workers["fp16 0"])


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_the_loss_scale_leaves_no_trace_and_overflows_do_not_count(two_workers, stage):
    skipped = two_workers[f"fp16 {stage}"][0][3]
    assert 0 < skipped < STEPS / 2, "the scale starts too high and is halved until it fits"
    check(two_workers[f"fp16 {stage}"], rate=0.0, skipped=skipped, rel=0.01)


@pytest.mark.skipif("trainer" not in TWO_WORKERS, reason="needs accelerate")
def test_the_transformers_trainer_on_two_workers_equals_one(two_workers):
    from .test_noise_callback import data, llama, slow_steps

    expected = slow_steps(
        llama(), data(uneven=True), weighted=True, items_of=lambda labels: labels[:, 1:], pieces=4, steps=2
    )
    for values in two_workers["trainer"]:
        assert values[:2] == pytest.approx(expected, rel=1e-6)
        assert values[2:5] == [2, 0, BATCH]


@pytest.mark.slow
def test_four_workers_equal_one():
    check(run_workers(4, {"averaged by the loop": {"kind": "manual"}})["averaged by the loop"])


@pytest.mark.slow
def test_ddp_and_zero_on_four_workers_equal_one():
    check(run_workers(4, {"ddp": {"kind": "ddp"}})["ddp"])
    for found in run_workers(
        4, {str(stage): {"kind": "deepspeed", "stage": stage, "pieces": 8} for stage in range(4)}
    ).values():
        check(found, pieces=8)
