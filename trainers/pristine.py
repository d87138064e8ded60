"""Keep an optimiser as it was built while a library wraps it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch.optim import Optimizer


@contextmanager
def pristine(optimizer: Optimizer) -> Iterator[None]:
    """Let the body take steps of ``optimizer`` without any effect on weights or on later steps.

    DeepSpeed's wrapper for bfloat16 without ZeRO allocates the optimiser's state by a step with zero gradients. At
    the peak rate that step would decay the weights, fill momentum with decay, and count as Adam's first, which makes
    the true first step 0.74 times as long (β = 0.9, 0.999): enough to bend a study of warm-up.
    Here the rate is zero within the body, and the state is forgotten after it.
    """
    rates = [group["lr"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    try:
        yield
    finally:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
            group.pop("step", None)  # where pytorch-optimizer counts
        optimizer.state.clear()
