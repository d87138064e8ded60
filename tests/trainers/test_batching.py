import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainers.batching import chunks, example_order, largest_divisor, micro_batches, plan_batch, rebatch
from trainers.errors import SettingsError


@given(
    world_size=st.integers(1, 8),
    micro_batch_size=st.integers(1, 32),
    accumulation_steps=st.integers(1, 8),
)
def test_a_plan_covers_the_batch_exactly_and_every_example_once(world_size, micro_batch_size, accumulation_steps):
    batch_size = world_size * micro_batch_size * accumulation_steps
    plan = plan_batch(batch_size, world_size=world_size, micro_batch_size=micro_batch_size)
    assert plan.world_size * plan.accumulation_steps * plan.micro_batch_size == batch_size
    batch = {"x": torch.arange(batch_size), "pair": (torch.arange(batch_size),)}
    seen = [piece["x"] for rank in range(world_size) for piece in micro_batches(batch, plan, rank=rank)]
    assert torch.cat(seen).tolist() == list(range(batch_size))
    assert {len(piece) for piece in seen} == {micro_batch_size}


@pytest.mark.parametrize(
    ("batch_size", "world_size", "micro", "message"),
    [
        (96, 1, 64, "but got 96 with 1 x 64; nearest: 64 or 128"),
        (10, 4, None, "multiple of the 4 workers, but got 10; nearest: 8 or 12"),
        (3, 4, None, "but got 3; nearest: 4"),
    ],
)
def test_impossible_splits(batch_size, world_size, micro, message):
    with pytest.raises(SettingsError, match=message):
        plan_batch(batch_size, world_size=world_size, micro_batch_size=micro)


@given(share=st.integers(2, 500))
def test_halving_keeps_the_batch_and_ends_at_one_example(share):
    plan = plan_batch(share, world_size=1, micro_batch_size=None)
    while plan.micro_batch_size > 1:
        smaller = plan.halved()
        assert smaller.micro_batch_size <= plan.micro_batch_size // 2
        assert smaller.micro_batch_size * smaller.accumulation_steps == share
        plan = smaller
    with pytest.raises(SettingsError, match="one example does not fit"):
        plan.halved()


@given(number=st.integers(1, 2000), at_most=st.integers(1, 2000))
def test_largest_divisor_against_a_search_from_below(number, at_most):
    assert largest_divisor(number, at_most=at_most) == max(
        d for d in range(1, number + 1) if number % d == 0 and d <= at_most
    )


@given(blocks=st.lists(st.integers(1, 9), min_size=1, max_size=12), batch_size=st.integers(1, 20))
def test_rebatching_keeps_the_stream(blocks, batch_size):
    total = sum(blocks)
    edges = [0, *itertools.accumulate(blocks)]
    stream = ((torch.arange(a, b), {"y": torch.arange(a, b) * 2}) for a, b in itertools.pairwise(edges))
    batches = list(rebatch(stream, batch_size))
    assert all(len(x) == batch_size and torch.equal(extra["y"], 2 * x) for x, extra in batches)
    flat = [int(i) for x, _ in batches for i in x]
    assert flat == list(range(total // batch_size * batch_size))


@given(size=st.integers(1, 30), chunk=st.integers(1, 50), seed=st.integers(0, 5))
def test_every_example_comes_once_an_epoch(size, chunk, seed):
    rows = np.concatenate(list(itertools.islice(chunks(example_order(size, seed=seed), chunk), 6)))
    for first in range(0, len(rows) - size + 1, size):
        assert sorted(rows[first : first + size]) == list(range(size))
