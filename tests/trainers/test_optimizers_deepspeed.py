"""Every optimiser through deepspeed.initialize on the CPU against the same optimiser in a plain loop."""

import os
from typing import Any

import pytest
import torch
from torch import nn

from trainers.optimizers import ELEMENTWISE, OPTIMIZERS, build_optimizer
from trainers.pristine import pristine

BATCH_SIZE, RATE = 32, 0.02


@pytest.fixture(scope="module")
def deepspeed() -> Any:
    """One worker in this process; no kernels are compiled, and no port is opened."""
    for key, value in {"DS_ACCELERATOR": "cpu", "DS_SKIP_CUDA_CHECK": "1", "LOCAL_RANK": "0"}.items():
        os.environ.setdefault(key, value)
    library = pytest.importorskip("deepspeed")
    library.ops.__compatible_ops__ = {}
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    if not library.comm.is_initialized():
        library.init_distributed("gloo", auto_mpi_discovery=False, verbose=False)
    return library


def make_model() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.Linear(16, 16), nn.Linear(16, 4))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.bfloat16())  # so that both number formats start at the same weights
    return model


def flat(model: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().float().flatten() for parameter in model.parameters()])


def make_engine(deepspeed: Any, name: str, settings: dict, *, stage: int, bfloat16: bool) -> Any:
    model = make_model()
    optimizer = build_optimizer(name, settings, model, learning_rate=RATE, batch_size=BATCH_SIZE)
    configuration = {
        "train_batch_size": BATCH_SIZE,
        "zero_allow_untested_optimizer": True,
        "zero_optimization": {"stage": stage},
        "bf16": {"enabled": bfloat16},
        "gradient_clipping": 0.0,
    }
    with pristine(optimizer):
        engine, *_ = deepspeed.initialize(
            model=model, optimizer=optimizer, config=configuration, dist_init_required=False
        )
    assert not optimizer.state
    assert all(group["lr"] == RATE for group in optimizer.param_groups)
    return engine


def batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    truth = torch.randn(8, 4, generator=generator)
    inputs = [torch.randn(BATCH_SIZE, 8, generator=generator) for _ in range(10)]
    return [(x, x @ truth) for x in inputs]


def train_plainly(name: str, settings: dict) -> torch.Tensor:
    model = make_model()
    optimizer = build_optimizer(name, settings, model, learning_rate=RATE, batch_size=BATCH_SIZE)
    for x, y in batches():
        optimizer.zero_grad()
        (model(x) - y).square().mean().backward()
        optimizer.step()
    return flat(model)


def train_engine(engine: Any, dtype: torch.dtype) -> torch.Tensor:
    for x, y in batches():
        engine.backward((engine(x.to(dtype)).float() - y).square().mean())
        engine.step()
    return flat(engine.module)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
@pytest.mark.parametrize("stage", [0, 1])
def test_float32_is_the_plain_loop_where_tensors_may_be_flattened(deepspeed, name, stage):
    settings = {"weight_decay": 0.5}
    found = train_engine(make_engine(deepspeed, name, settings, stage=stage, bfloat16=False), torch.float32)
    expected = train_plainly(name, settings)
    alike = torch.allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert alike == (stage == 0 or name in ELEMENTWISE)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_bfloat16_starts_at_the_same_weights_and_goes_nearly_the_same_way(deepspeed, name):
    settings = {"weight_decay": 0.5}
    engine = make_engine(deepspeed, name, settings, stage=0, bfloat16=True)
    start = flat(engine.module)
    assert torch.equal(start, flat(make_model()))
    moved, expected = train_engine(engine, torch.bfloat16) - start, train_plainly(name, settings) - start
    # Rounding turns the sign of gradients near zero, and each turn is a whole step the other way.
    share = 0.2 if name == "sign-sgd" else 0.1
    assert (moved - expected).norm() < share * expected.norm()


def test_without_care_the_wrapper_would_decay_the_weights_and_count_a_step(deepspeed):
    """The reason for ``pristine``; when this fails, DeepSpeed has mended it."""
    model = make_model()
    optimizer = build_optimizer("adamw", {"weight_decay": 5.0}, model, learning_rate=RATE, batch_size=BATCH_SIZE)
    deepspeed.initialize(
        model=model,
        optimizer=optimizer,
        config={"train_batch_size": BATCH_SIZE, "bf16": {"enabled": True}},
        dist_init_required=False,
    )
    assert {float(state["step"]) for state in optimizer.state.values()} == {1.0}
    masters = [parameter for group in optimizer.param_groups for parameter in group["params"] if parameter.ndim >= 2]
    started = [parameter for parameter in make_model().parameters() if parameter.ndim >= 2]
    for master, start in zip(masters, started, strict=True):
        torch.testing.assert_close(master.detach(), 0.9 * start.detach())
