"""Losses of sentence vectors against NumPy and closed forms, and thresholds against brute force."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, rankdata
from sklearn.metrics import f1_score

from trainers.workloads.cosent import cosent_loss
from trainers.workloads.margin_softmax import a_softmax_loss, am_softmax_loss, cosine_of_multiple
from trainers.workloads.pair_scores import lexical_similarities, spearman
from trainers.workloads.thresholds import best_cut, classify, judge_classes, smooth_cuts


def slow_cosent(cosines, scores, scale):
    total = 1.0
    for i, k in itertools.product(range(len(scores)), repeat=2):
        if scores[i] > scores[k]:
            total += math.exp(scale * (cosines[k] - cosines[i]))
    return math.log(total)


def sorted_cosent(cosines, scores, scale):
    """As sentence-transformers computes it: by rising score, each e^{λ cos} times the sum of e^{−λ cos} above it."""
    order = np.argsort(scores, kind="stable")
    s, z = np.array(scores)[order], scale * np.array(cosines)[order]
    above = np.searchsorted(s, s, side="right")
    later = np.append(np.cumsum(np.exp(-z)[::-1])[::-1], 0.0)
    return math.log(1.0 + float((np.exp(z) * later[above]).sum()))


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(-1, 1), st.sampled_from([0.0, 0.2, 0.5, 1.0])), min_size=1, max_size=8))
def test_cosents_loss_is_the_sum_over_ranked_pairs(pairs):
    cosines, scores = ([pair[i] for pair in pairs] for i in (0, 1))
    loss = cosent_loss(torch.tensor(cosines, dtype=torch.float64), torch.tensor(scores), scale=20.0).item()
    assert loss == pytest.approx(slow_cosent(cosines, scores, 20.0), rel=1e-9, abs=1e-9)
    assert loss == pytest.approx(sorted_cosent(cosines, scores, 20.0), rel=1e-9, abs=1e-9)


def test_cosents_loss_in_closed_form():
    scores = torch.tensor([1.0, 0.0])
    assert cosent_loss(torch.tensor([0.5, 0.5]), scores, scale=20.0).item() == pytest.approx(math.log(2))
    assert cosent_loss(torch.tensor([-1.0, 1.0]), scores, scale=20.0).item() == pytest.approx(40.0)
    assert cosent_loss(torch.tensor([1.0, -1.0]), scores, scale=20.0).item() == pytest.approx(0.0, abs=1e-6)
    # n equal cosines with n different scores: log(1 + n(n − 1)/2), so the loss grows with the batch
    assert cosent_loss(torch.zeros(12), torch.arange(12.0), scale=3.0).item() == pytest.approx(math.log(67))


def test_cosents_loss_without_ranked_pairs_is_zero_and_still_has_two_derivatives():
    for scores in ([0.5], [0.5, 0.5], [0.1, 0.9]):
        cosines = torch.zeros(len(scores), dtype=torch.float64, requires_grad=True)
        loss = cosent_loss(cosines, torch.tensor(scores), scale=20.0)
        (gradient,) = torch.autograd.grad(loss, cosines, create_graph=True)
        (second,) = torch.autograd.grad(gradient.square().sum() + 0.0 * cosines.sum(), cosines)
        assert torch.isfinite(second).all()
        # λ σ(0) of the one ranked pair: up for the less similar, whose cosine must fall, and down for the other.
        expected = [10.0, -10.0] if scores == [0.1, 0.9] else [0.0] * len(scores)
        assert gradient.tolist() == pytest.approx(expected)


def slow_softmax(cosines, label, target, scale):
    """The task's formula, term by term."""
    others = sum(math.exp(scale * c) for i, c in enumerate(cosines) if i != label)
    return -math.log(math.exp(scale * target) / (math.exp(scale * target) + others))


@settings(deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=6), st.integers(0, 1), st.integers(1, 5))
def test_margin_losses_are_their_formulas(cosines, label, multiple):
    batch, labels = (
        torch.tensor([cosines, cosines[::-1]], dtype=torch.float64),
        torch.tensor([label, len(cosines) - 1 - label]),
    )
    slow = slow_softmax(cosines, label, cosines[label] - 0.35, 30.0)
    assert am_softmax_loss(batch, labels, scale=30.0, margin=0.35).item() == pytest.approx(slow, rel=1e-9, abs=1e-9)
    target = min(math.cos(multiple * math.acos(cosines[label])), cosines[label])
    slow = slow_softmax(cosines, label, target, 5.0)
    fast = a_softmax_loss(batch, labels, scale=5.0, multiple=multiple).item()
    assert fast == pytest.approx(slow, rel=1e-7, abs=1e-7)


def test_the_margin_in_closed_form():
    # All angles right angles: log(1 + (n − 1) e^{sm})
    loss = am_softmax_loss(torch.zeros(1, 4), torch.tensor([2]), scale=30.0, margin=0.35).item()
    assert loss == pytest.approx(math.log(1 + 3 * math.exp(10.5)), rel=1e-6)
    assert am_softmax_loss(torch.zeros(1, 4), torch.tensor([2]), scale=1.0, margin=0.0).item() == pytest.approx(
        math.log(4)
    )


def test_the_cosine_of_a_multiple_has_a_derivative_where_the_arc_cosine_has_none():
    angles = torch.linspace(0, math.pi, 13, dtype=torch.float64)
    for multiple in range(1, 7):
        assert cosine_of_multiple(angles.cos(), multiple).numpy() == pytest.approx(np.cos(multiple * angles.numpy()))
    one = torch.ones(1, dtype=torch.float64, requires_grad=True)
    cosine_of_multiple(one, 4).backward()
    assert one.grad.item() == pytest.approx(16.0), "d cos mθ / d cosθ at θ = 0 is m²"


def brute_accuracy(values, positive):
    cuts = [-math.inf, *values]
    return max(np.mean((np.array(values) > cut) == np.array(positive)) for cut in cuts)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=1, max_size=12))
def test_the_best_cut_is_as_good_as_any(examples):
    values, positive = np.array([v for v, _ in examples], dtype=float), np.array([p for _, p in examples])
    cut = best_cut(values, positive)
    assert np.mean((values > cut) == positive) == pytest.approx(brute_accuracy(values, positive))
    assert cut not in values, "a cut lies between values"


def test_the_best_cut_lies_in_the_middle_of_the_widest_gap():
    values = np.array([0.0, 1.0, 2.0, 6.0, 7.0])
    assert best_cut(values, values > 1.5) == 1.5
    assert best_cut(values, values > 3) == 4.0
    assert best_cut(values, np.array([False, True, False, True, True])) == 4.0
    assert best_cut(values, values > -1) == -math.inf
    assert best_cut(values, values > 9) == math.inf


def test_the_smooth_search_finds_the_optimum_of_overlapping_normal_classes():
    """Unequal shares and widths, where the quantiles that it starts from are wrong; the best cuts are known."""
    shares, means, stds = np.array([0.5, 0.4, 0.1]), np.array([0.0, 1.5, 4.0]), np.array([1.5, 0.2, 0.5])
    rng = np.random.default_rng(0)
    classes = rng.choice(3, size=6000, p=shares)
    values = rng.normal(means[classes], stds[classes])
    # Each cut by itself: the right answers of the class below it, and those of the class above, over a fine grid.
    grid = np.linspace(-1.0, 6.0, 7001)
    below = shares[:, None] * norm.cdf(grid, means[:, None], stds[:, None])
    gains = [below[0] - below[1], below[1] - below[2]]
    best = np.array([grid[gain.argmax()] for gain in gains])
    known = sum(gain.max() for gain in gains) + shares[2]
    cuts = smooth_cuts(values, classes, count=3)
    assert cuts == pytest.approx(best, abs=0.25)
    # An accuracy of 6,000 examples has a standard error of 0.005.
    assert (classify(values, cuts) == classes).mean() == pytest.approx(known, abs=0.015)
    start = np.quantile(values, np.cumsum(shares)[:-1])
    assert (classify(values, start) == classes).mean() < known - 0.03


@pytest.mark.parametrize("seed", range(6))
def test_the_smooth_search_is_near_brute_force_and_not_below_its_start(seed):
    rng = np.random.default_rng(seed)
    classes = np.sort(rng.integers(0, 3, 40))
    values = classes + rng.normal(0.0, 0.8, 40) + 100.0
    middles = np.sort(values)[:-1] + np.diff(np.sort(values)) / 2
    best = max((classify(values, np.array(c)) == classes).mean() for c in itertools.combinations(middles, 2))
    found = (classify(values, smooth_cuts(values, classes, count=3)) == classes).mean()
    start = np.quantile(values, np.cumsum(np.bincount(classes, minlength=3))[:-1] / 40)
    assert found >= (classify(values, start) == classes).mean()
    assert found >= best - 0.101, "at most 4 of 40 examples short of the best"


def test_equal_values_have_cuts_too():
    assert len(smooth_cuts(np.ones(5), np.array([0, 1, 2, 2, 1]), count=3)) == 2
    assert best_cut(np.ones(3), np.array([True, True, False])) == -math.inf


@pytest.mark.parametrize("count", [2, 3])
def test_classes_are_judged_where_the_thresholds_were_not_found(count):
    rng = np.random.default_rng(1)
    classes = rng.integers(0, count, 300)
    values = classes + rng.normal(0.0, 0.4, 300)
    known = np.arange(300) < 150
    found = judge_classes(values, classes, known, count=count)
    cuts = np.array([best_cut(values[:150], classes[:150] == 1)])
    if count > 2:
        cuts = smooth_cuts(values[:150], classes[:150], count=count)
    said = np.array([sum(value > cut for cut in cuts) for value in values[150:]])
    assert found["accuracy"] == pytest.approx(np.mean(said == classes[150:]))
    scores = f1_score(classes[150:], said, average=None)
    assert found["f1"] == pytest.approx(scores[1] if count == 2 else scores.mean())
    # What is judged is not looked at: nonsense labels there leave the thresholds alone.
    shuffled = np.where(known, classes, 0)
    assert judge_classes(values, shuffled, known, count=count)["accuracy"] == pytest.approx(np.mean(said == 0))
    values[-1] = np.nan
    assert all(math.isnan(value) for value in judge_classes(values, classes, known, count=count).values())


def test_spearman_is_pearsons_correlation_of_ranks_and_undefined_for_a_constant():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 20, 200), rng.normal(size=200)
    y += 0.2 * x
    assert spearman(x, y) == pytest.approx(np.corrcoef(rankdata(x), rankdata(y))[0, 1])
    assert math.isnan(spearman(np.ones(5), np.arange(5)))
    assert math.isnan(spearman([1.0, math.nan], [1.0, 2.0]))


def test_lexical_similarities_by_hand():
    from trainers.data.sts_b import ScoredPairs

    train = ScoredPairs(first=("a b", "a"), second=("a c", "a c"), scores=np.zeros(2, dtype=np.float32))
    pairs = ScoredPairs(first=("a b b", "z"), second=("a c", "a"), scores=np.zeros(2, dtype=np.float32))
    found = lexical_similarities(train, pairs)
    assert found["bag-of-words cosine"].tolist() == pytest.approx([1 / math.sqrt(5 * 2), 0.0])
    # scikit-learn's smoothed rarity: log((1 + texts)/(1 + texts with the word)) + 1
    a, b, c = (math.log(5 / (1 + n)) + 1 for n in (4, 1, 2))
    expected = a * a / math.sqrt((a**2 + (2 * b) ** 2) * (a**2 + c**2))
    assert found["TF-IDF cosine"].tolist() == pytest.approx([expected, 0.0])
