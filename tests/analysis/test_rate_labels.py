import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from analysis.rate_labels import NOISE, snap_rates


def rounded(rate, digits):
    return float(f"{rate:.{digits - 1}e}")


def cut(rate, digits):
    scale = 10.0 ** (digits - 1 - np.floor(np.log10(rate)))
    return float(f"{np.floor(rate * scale) / scale:.{digits - 1}e}")


def test_labels_of_one_power_of_two_become_one():
    grid = np.array([2.0**-k for k in range(6, 14)])
    labels = np.concatenate([grid, [0.0009765, 0.00098, 0.000977]])
    assert set(snap_rates(labels)) == set(grid)


@given(
    first=st.floats(-14, -2),
    factor=st.sampled_from([2**0.5, 2.0, 3.0, 10**0.5, 10.0]),
    count=st.integers(3, 12),
    digits=st.lists(st.integers(3, 6), min_size=1, max_size=3),
    by=st.sampled_from([rounded, cut]),
)
def test_rounded_and_cut_labels_of_a_usual_grid_come_together(first, factor, count, digits, by):
    grid = 2.0**first * factor ** np.arange(count)
    labels = np.concatenate([grid, *([by(rate, d) for rate in grid] for d in digits)])
    assert len(set(snap_rates(labels))) == count


@given(
    first=st.floats(1e-6, 1.0),
    factor=st.floats(1.0005, 4.0),
    count=st.integers(2, 40),
    digits=st.integers(4, 17),
)
def test_a_geometric_grid_is_left_alone_however_fine(first, factor, count, digits):
    grid = np.unique([rounded(first * factor**k, digits) for k in range(count)])
    gaps = np.diff(np.log(grid))
    # Rounding must not have made the grid uneven, or it is no grid.
    if len(grid) < 3 or gaps.max() > 1.5 * gaps.min():
        return
    assert snap_rates(grid).tolist() == grid.tolist()


@given(first=st.integers(1, 200), step=st.integers(1, 50), count=st.integers(3, 40), scale=st.integers(2, 6))
def test_a_linear_grid_is_left_alone(first, step, count, scale):
    grid = np.array([float(f"{first + step * k}e-{scale}") for k in range(count)])
    assert snap_rates(grid).tolist() == grid.tolist()


@pytest.mark.parametrize(
    "rates",
    [
        [0.00098, 0.001, 0.00102, 0.002, 0.004],
        [0.001, 0.00105, 0.0011, 0.002],
        [0.001, 0.0011, 0.0012, 0.01],
        [0.0095, 0.01, 0.0105, 0.02],
        [0.001, 0.00101, 0.00102, 0.00103],
        [1e-3, 1.01e-3],
        # 1.02 stays beside 1.00 and so makes a grid in which 2.02 stays beside 2.00.
        [1e-3, 1.02e-3, 2e-3, 2.02e-3, 2.232e-3],
        # 4.05 may be 4.1 rounded up, 4.046 may be 4.05, but not both.
        [4.046e-3, 4.05e-3, 4.1e-3, 8.2e-3, 16.4e-3],
        [9.81e-4, 9.82e-4, 2e-3, 4e-3],
    ],
)
def test_a_grid_refined_round_its_best_rate_is_left_alone(rates):
    assert snap_rates(np.array(rates)).tolist() == rates


@given(st.integers(0, 10_000))
def test_rates_drawn_at_random_are_left_alone(seed):
    rates = np.exp(np.random.default_rng(seed).uniform(np.log(1e-5), np.log(1e-1), size=200))
    assume(np.diff(np.sort(np.log(rates))).min() > NOISE)
    assert snap_rates(rates).tolist() == rates.tolist()


@given(st.permutations([0.0009765625, 0.00098, 0.000977, 0.001953125, 0.00195, 0.00390625]), st.integers(1, 3))
def test_the_order_and_the_number_of_rows_say_nothing(rates, times):
    expected = {0.00098: 0.0009765625, 0.000977: 0.0009765625, 0.00195: 0.001953125}
    labels = np.repeat(rates, times)
    assert snap_rates(labels).tolist() == [expected.get(rate, rate) for rate in labels]


def test_the_last_of_four_digits_may_be_cut():
    assert snap_rates(np.array([0.0009765, 0.0009766, 0.002])).tolist() == [0.0009765, 0.0009765, 0.002]


def test_single_precision_is_the_same_rate():
    rates = np.array([1e-3, float(np.float32(1e-3)), 2e-3])
    assert len(set(snap_rates(rates))) == 2


def test_no_cluster_is_wider_than_its_limit():
    rates = np.array([0.001 * 1.004**k for k in range(30)] + [1.0])
    assert len(set(snap_rates(rates))) == len(rates)
