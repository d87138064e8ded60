"""What each of several gloo processes does in the tests of the noise monitor: ``noise_workers '<list of jobs>'``.

The examples of a job are the same however many workers share them, so that every way must give the same estimate.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys

import torch
from torch import nn

STEPS, BATCH = 10, 16


def model_and_data(dtype=torch.float32):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 5), nn.Tanh(), nn.Linear(5, 3, bias=False))
    return model.to(dtype), torch.randn(STEPS, BATCH, 6).to(dtype), torch.randn(STEPS, BATCH, 3).to(dtype)


def loss_of(model, x, y):
    return (model(x) - y).square().mean()


def slow_reference(*, pieces, rate=0.1, first=0):
    """Mean |g|² and tr Σ over steps of plain SGD, from gradients of single examples and the two-batch formulas."""
    model, inputs, answers = model_and_data(torch.float64)
    parameters = list(model.parameters())
    small, found = BATCH // pieces, []
    for x, y in zip(inputs, answers, strict=True):
        rows = []
        for at in range(BATCH):
            gradients = torch.autograd.grad(loss_of(model, x[at : at + 1], y[at : at + 1]), parameters)
            rows.append(torch.cat([gradient.flatten() for gradient in gradients]))
        means = torch.stack(rows).reshape(pieces, small, -1).mean(dim=1)
        small_square, whole = means.square().sum(dim=1).mean(), means.mean(dim=0)
        big_square = whole.square().sum()
        found.append(
            (
                (BATCH * big_square - small * small_square) / (BATCH - small),
                (small_square - big_square) / (1 / small - 1 / BATCH),
            )
        )
        offset = 0
        with torch.no_grad():
            for parameter in parameters:
                parameter -= rate * whole[offset : offset + parameter.numel()].view_as(parameter)
                offset += parameter.numel()
    return tuple(float(sum(values) / len(values)) for values in zip(*found[first:], strict=True))


def share(rank, world, pieces):
    """The slices of the batch that worker ``rank`` sees, one a micro-batch; ``pieces`` over all workers."""
    size = BATCH // pieces
    own = pieces // world
    return [slice((rank * own + at) * size, (rank * own + at + 1) * size) for at in range(own)]


def ddp(job, rank, world):
    from torch.nn.parallel import DistributedDataParallel

    from trainers.noise_monitor import NoiseMonitor

    model, inputs, answers = model_and_data()
    manual = job["kind"] == "manual"
    trained = model if manual else DistributedDataParallel(model)
    monitor = NoiseMonitor(trained, every=1, process_group=torch.distributed.group.WORLD if manual else None)
    optimizer = torch.optim.SGD(model.parameters(), lr=job.get("rate", 0.1))
    parts = share(rank, world, job["pieces"])
    for x, y in zip(inputs, answers, strict=True):
        for at, part in enumerate(parts):
            wait = not manual and at + 1 < len(parts)
            with trained.no_sync() if wait else contextlib.nullcontext():
                (loss_of(trained, x[part], y[part]) / len(parts)).backward()
            monitor.after_micro_batch(examples=part.stop - part.start)
        if manual and not job.get("forget"):
            for parameter in model.parameters():
                torch.distributed.all_reduce(parameter.grad)
                parameter.grad /= world
        with monitor.step():
            nn.utils.clip_grad_norm_(model.parameters(), job.get("clip", 1e9))
            optimizer.step()
        optimizer.zero_grad()
    return monitor


def uneven(job, rank, world):
    """Each worker has its own number of examples; the loss is the mean over all of them."""
    from torch.nn.parallel import DistributedDataParallel

    from trainers.noise_monitor import NoiseMonitor

    model, inputs, answers = model_and_data()
    trained = DistributedDataParallel(model)
    monitor = NoiseMonitor(trained, every=1, loss_mean_over="step")
    bounds = [0, *job["bounds"], BATCH]
    part = slice(bounds[rank], bounds[rank + 1])
    for x, y in zip(inputs, answers, strict=True):
        count = part.stop - part.start
        (loss_of(trained, x[part], y[part]) * count * world / BATCH).backward()
        monitor.after_micro_batch(examples=count)
        with monitor.step():
            pass
        model.zero_grad()
    return monitor


def deepspeed(job, rank, world):
    from trainers.engine import _deepspeed, _join_workers
    from trainers.noise_monitor import NoiseMonitor

    library = _deepspeed()
    _join_workers(library)
    # What the processor can't do fast, torch does slowly.
    library.accelerator.get_accelerator().is_fp16_supported = lambda: True
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[job.get("dtype", "fp32")]
    model, inputs, answers = model_and_data()
    managed, parts = job.get("managed", True), share(rank, world, job["pieces"])
    config = {
        "train_batch_size": BATCH,
        "train_micro_batch_size_per_gpu": BATCH // job["pieces"],
        "gradient_accumulation_steps": len(parts),
        "managed_gradient_accumulation": managed,
        "zero_allow_untested_optimizer": True,
        "gradient_clipping": job.get("clip", 0.0),
        "zero_optimization": {"stage": job["stage"]},
        "bf16": {"enabled": dtype is torch.bfloat16},
        "fp16": {"enabled": dtype is torch.float16, "initial_scale_power": job.get("scale_power", 8), "hysteresis": 1},
        "steps_per_print": None,
    }
    engine, *_ = library.initialize(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=job.get("rate", 0.1)),
        config=config,
        dist_init_required=False,
    )
    monitor = NoiseMonitor(engine, every=1)
    for x, y in zip(inputs.to(dtype), answers.to(dtype), strict=True):
        for at, part in enumerate(parts):
            engine.backward(loss_of(engine, x[part], y[part]))
            monitor.after_micro_batch(examples=part.stop - part.start)
            if managed or at + 1 == len(parts):
                with monitor.step():
                    engine.step()
    return monitor


def trainer(job, rank, world):
    import tempfile

    from trainers.noise_callback import NoiseCallback

    from .test_noise_callback import data, llama, train

    callback = NoiseCallback(every=1)
    with tempfile.TemporaryDirectory() as folder:
        settings = {"gradient_accumulation_steps": 2, "max_steps": 2, "ddp_backend": "gloo"}
        train(folder, llama(), data(uneven=True), callback, **settings)
    return callback


def measure(job, rank, world):
    kinds = {"ddp": ddp, "manual": ddp, "uneven": uneven, "deepspeed": deepspeed, "trainer": trainer}
    from trainers.noise_monitor import NoiseMonitor

    try:
        monitor = kinds[job["kind"]](job, rank, world)
        before = monitor.estimate().steps
        if isinstance(monitor, NoiseMonitor):
            monitor.close()
        got = monitor.estimate()
    except (RuntimeError, ValueError) as error:
        return str(error)
    return [got.grad_sq, got.grad_var, got.steps, got.skipped_steps, got.examples_per_step, before]


def main():
    torch.set_num_threads(1)
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    torch.distributed.init_process_group("gloo")
    for job in json.loads(sys.argv[1]):
        print("FOUND", json.dumps(measure(job, rank, world)), flush=True)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
