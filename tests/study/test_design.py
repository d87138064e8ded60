import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.config import RateWindow
from study.design import Design
from study.errors import ConfigError
from study.lattice import lattice_for

from .studies import design, resolved_config, row

LIST = {"learning_rates": [0.1, 0.2]}


def test_the_id_of_a_known_trial_never_changes() -> None:
    # printf %s JSON | sha256sum | cut -c1-16, where JSON is this without the line breaks and their indentation:
    # {"batch_size":2,"budget":{"examples":null,"steps":40,"stop_at_target":true},
    # "engine":{"dtype":"float32","zero_stage":0},"evaluation":{},"learning_rate":0.5,"optimizer":"sgd",
    # "optimizer_settings":{},"schedule":{"name":"constant"},"seed":0,
    # "target":{"metric":"loss","mode":"min","value":0.1},"workload":"bowl.py:Bowl","workload_settings":{}}
    trial = design(batch_sizes=[2], learning_rates=[0.5], seeds=[0]).trials({})[0]
    assert trial.trial_id == "6cac0c626ad8f21d"


def test_the_grid_is_every_batch_rate_and_seed_once() -> None:
    trials = design(batch_sizes=[2, 4], learning_rates=[0.1, 0.2, 0.4], seeds=[0, 1]).trials({})
    cells = {(t.spec.batch_size, t.spec.learning_rate, t.spec.seed) for t in trials}
    assert cells == set(itertools.product([2, 4], [0.1, 0.2, 0.4], [0, 1]))
    assert len(trials) == len({t.trial_id for t in trials}) == 12


def test_the_first_seed_comes_first_and_long_trials_lead() -> None:
    trials = design(batch_sizes=[2, 8], learning_rates=[0.1], seeds=[5, 3], budget={"steps": 10}).trials({})
    assert [(t.spec.seed, t.spec.batch_size) for t in trials] == [(5, 8), (5, 2), (3, 8), (3, 2)]


def test_at_equal_examples_the_trial_with_more_steps_is_the_longer() -> None:
    trials = design(batch_sizes=[8, 2], learning_rates=[0.1], seeds=[0], budget={"examples": 80}).trials({})
    assert [t.spec.batch_size for t in trials] == [2, 8]


def test_missing_is_what_is_not_stored() -> None:
    study = design(**LIST)
    trials = study.trials({})
    rows = {t.trial_id: row(t, steps=5) for t in trials[:3]}
    assert [t.trial_id for t in study.missing(rows)] == [t.trial_id for t in trials[3:]]


def test_a_trial_in_two_sweeps_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"sweeps a and b share a trial \(batch_size 4, learning_rate 0.2, seed 0"):
        Design(
            resolved_config(
                {"name": "a", "batch_sizes": [2, 4], "learning_rates": [0.1, 0.2]},
                {"name": "b", "batch_sizes": [4], "learning_rates": [0.2, 0.4]},
            )
        )


def test_sweeps_that_could_grow_into_each_other_are_refused() -> None:
    grow = {"extend": {"max_steps_per_side": 1}}
    with pytest.raises(ConfigError, match="extensions count"):
        Design(resolved_config({"name": "a", **LIST, **grow}, {"name": "b", "learning_rates": [0.4, 0.8]}))


def test_rates_equal_to_six_digits_are_one_trial() -> None:
    with pytest.raises(ConfigError, match="sweep bowl names one trial twice"):
        design(learning_rates=[0.1, 0.1000000001])


@settings(deadline=None)
@given(
    center=st.floats(1e-5, 10.0),
    factor=st.floats(1.1, 4.0),
    exponent=st.floats(-1.0, 1.5),
    count=st.integers(1, 9),
    log2_batch=st.integers(0, 16),
)
def test_a_window_is_on_the_lattice_and_centred(
    center: float, factor: float, exponent: float, count: int, log2_batch: int
) -> None:
    window = RateWindow(center=center, at_batch_size=32, exponent=exponent, factor=factor, count=count)
    lattice = lattice_for(window, 2**log2_batch)

    exact = math.log(center * (2**log2_batch / 32) ** exponent)
    logs = [math.log(lattice.rate(i)) for i in range(count)]
    steps = [(log - math.log(center)) / math.log(factor) for log in logs]
    assert all(abs(step - round(step)) < 1e-3 for step in steps)
    assert [round(step) - round(steps[0]) for step in steps] == list(range(count))
    # The middle of an odd window is the lattice point nearest to the wanted centre.
    assert abs(logs[(count - 1) // 2] - exact) <= 0.5 * math.log(factor) + 1e-4


def test_neighbouring_batch_sizes_share_rates() -> None:
    window = RateWindow(center=0.1, at_batch_size=32, exponent=0.5, factor=2, count=5)
    small, large = lattice_for(window, 32), lattice_for(window, 128)
    assert [small.rate(i) for i in range(5)] == [0.025, 0.05, 0.1, 0.2, 0.4]
    assert [large.rate(i) for i in range(5)] == [0.05, 0.1, 0.2, 0.4, 0.8]


@settings(deadline=None)
@given(st.lists(st.floats(1e-6, 100.0), min_size=1, max_size=6, unique=True), st.integers(-8, 12))
def test_a_list_grows_in_both_directions_without_a_gap(rates: list[float], index: int) -> None:
    lattice = lattice_for(rates, 1)
    # Six digits can't tell neighbours closer than that apart.
    if all(b / a > 1.001 for a, b in itertools.pairwise(sorted(rates))):
        assert lattice.rate(index) < lattice.rate(index + 1)


@pytest.mark.parametrize("rates", [[1e-300, 1e300], [1e300], [1e-300]])
def test_a_list_that_leaves_the_numbers_is_zero_or_infinite_there(rates: list[float]) -> None:
    lattice = lattice_for(rates, 1)
    ends = [lattice.rate(-2000), lattice.rate(2000)]
    assert ends == [0.0, math.inf]


def test_a_list_grows_by_the_ratio_at_its_edge() -> None:
    lattice = lattice_for([0.1, 0.3, 0.6], 1)
    assert [lattice.rate(i) for i in (-2, -1, 3, 4)] == pytest.approx([0.1 / 9, 0.1 / 3, 1.2, 2.4], rel=1e-5)
