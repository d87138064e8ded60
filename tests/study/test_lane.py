"""The ids of a lane's trials, worked out without making them."""

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.design import Design
from study.lane import Lane

from .studies import design, resolved_config

TEXT = st.text(st.characters(blacklist_categories=["Cs"]), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)


@settings(deadline=None)
@given(
    section=st.dictionaries(TEXT, JSON, max_size=3),
    workload=TEXT,
    rate=st.floats(1e-12, 1e12),
    seed=st.integers(0, 2**63),
    batch_size=st.integers(1, 10**9),
    index=st.integers(-5, 5),
)
def test_an_id_is_the_hash_of_the_whole_specification(
    section: dict[str, object], workload: str, rate: float, seed: int, batch_size: int, index: int
) -> None:
    config = resolved_config(
        {
            "workload": workload,
            "workload_settings": section,
            "optimizer_settings": section,
            "batch_sizes": [batch_size],
            "learning_rates": [rate],
            "seeds": [seed],
        }
    )
    lane = Lane(config.sweeps[0], batch_size)
    trial = lane.trial(index, seed)
    assert lane.trial_id(index, seed) == trial.trial_id == trial.spec.trial_id


def test_a_design_keeps_nothing_of_its_trials() -> None:
    study = design(batch_sizes=[2, 4], learning_rates=[0.1, 0.2], seeds=list(range(2500)))
    study.trials({})
    tracemalloc.start()
    assert study.count({}) == (10_000, 10_000)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 100_000  # ten bytes a trial


def test_trials_are_counted_as_they_are_listed() -> None:
    study = design(batch_sizes=[2], learning_rates=[0.1, 0.2], seeds=[0, 1], probes={"draws": 3})
    assert study.count({}) == (4, 4)
    rows = {trial.trial_id: {"status": "reached", "steps_to_target": 5.0, "steps": 5} for trial in study.trials({})}
    assert study.count(rows) == (len(study.missing(rows)), len(study.trials(rows))) == (1, 5)
    rows[study.missing(rows)[0].trial_id] = {}
    assert study.count(rows) == (0, 5)


@pytest.mark.parametrize("sizes", [[2, 4], [4, 2]])
def test_lanes_lie_in_the_order_of_their_length(sizes: list[int]) -> None:
    config = resolved_config({"batch_sizes": sizes, "budget": {"steps": 10}}, {"name": "b", "budget": {"steps": 30}})
    lanes = Design(config.model_copy(update={"sweeps": [*config.sweeps]})).lanes
    assert [lane.length for lane in lanes] == [(120, 30), (60, 30), (40, 10), (20, 10)]  # type: ignore[attr-defined]
