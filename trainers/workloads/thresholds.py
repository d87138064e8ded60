"""Thresholds that turn one number an example into classes: the exact best one for two, a smooth search for several."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Outcome = dict[str, float]

_WIDTHS = (0.5, 0.2, 0.1, 0.05)
"""Stds over which a cut is smeared, one search after the other, each from the last one's cuts."""


def best_cut(values: Values, positive: NDArray[np.bool_]) -> float:
    """Return the cut whose rule, value > cut says positive, is right most often; exactly, from one sort.

    It lies in the middle between two neighbouring values; below or above all of them it is infinite. Among cuts that
    are equally good, it is one of those with the widest gap.

    Args:
        values: shape (examples,), finite.
        positive: the same shape.
    """
    order = np.argsort(values, kind="stable")
    ordered = np.asarray(values, dtype=np.float64)[order]
    truth = np.asarray(positive, dtype=bool)[order]
    # right[k]: the k lowest are called negative, the others positive.
    right = np.concatenate([[0], np.cumsum(~truth)]) + np.concatenate([[0], np.cumsum(truth[::-1])])[::-1]
    edges = np.concatenate([[-np.inf], ordered, [np.inf]])
    gaps = edges[1:] - edges[:-1]
    right = np.where(gaps > 0.0, right, -1)
    best = np.flatnonzero(right == right.max())
    place = best[np.argmax(np.where(np.isfinite(gaps[best]), gaps[best], 0.0))]
    low, high = edges[place], edges[place + 1]
    return float(low + (high - low) / 2) if np.isfinite(high - low) else float(low if np.isinf(low) else high)


def smooth_cuts(values: Values, classes: NDArray[np.int64], *, count: int) -> Values:
    """Return ``count`` − 1 increasing cuts that classify well, by Powell's search without derivatives.

    Class k is said between cuts k and k + 1. The share of right answers is a staircase, on which a search stands still,
    so each cut is smeared by a logistic function whose width shrinks from search to search. The start are the
    quantiles that give each class its share; the answer is the best of all cuts met, by right answers.

    Args:
        values: shape (examples,), finite.
        classes: in [0, count), the same shape.
        count: how many classes there are, at least two.
    """
    from scipy.optimize import minimize

    values = np.asarray(values, dtype=np.float64)
    spread = float(values.std())
    shares = np.cumsum(np.bincount(classes, minlength=count))[:-1] / len(classes)
    cuts = np.quantile(values, shares)
    if spread == 0.0:
        return cuts
    unit, start = (values - values.mean()) / spread, (cuts - values.mean()) / spread
    found = [start]
    for width in _WIDTHS:
        search = minimize(_wrong_share, found[-1], args=(unit, classes, width), method="Powell")
        found.append(np.sort(np.atleast_1d(search.x)))
    best = max(found, key=lambda own: float((classify(unit, own) == classes).mean()))
    return best * spread + values.mean()


def classify(values: NDArray[np.floating], cuts: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return the class of each value: how many of the increasing ``cuts`` lie below it."""
    return np.searchsorted(np.asarray(cuts), values, side="left").astype(np.int64)


def judge_classes(values: Values, classes: NDArray[np.int64], known: NDArray[np.bool_], *, count: int) -> Outcome:
    """Return accuracy and F1 where the classes are not known, by thresholds from where they are.

    The thresholds are ``best_cut`` for two classes and ``smooth_cuts`` for more. F1 is that of class 1 of two, and of
    more the mean over those that some judged example has, whose F1 is always defined. That of class 1, 0/0 where
    neither truth nor prediction has it, is 0 by the field's convention. Both outcomes are NaN where a value is not
    finite.

    Args:
        values: shape (examples,).
        classes: in [0, count), the same shape.
        known: the same shape; neither true nor false everywhere.
        count: how many classes there are.
    """
    from sklearn.metrics import f1_score

    if not np.isfinite(values).all():
        return {"accuracy": float("nan"), "f1": float("nan")}
    if count == 2:
        cuts = np.array([best_cut(values[known], classes[known] == 1)])
    else:
        cuts = smooth_cuts(values[known], classes[known], count=count)
    said, truth = classify(values[~known], cuts), classes[~known]
    present = [1] if count == 2 else np.unique(truth)
    f1 = f1_score(truth, said, labels=present, average="macro", zero_division=0.0)
    return {"accuracy": float((said == truth).mean()), "f1": float(f1)}


def _wrong_share(cuts: Values, values: Values, classes: NDArray[np.int64], width: float) -> float:
    from scipy.special import expit

    below = expit((np.sort(cuts)[None, :] - values[:, None]) / width)
    edges = np.concatenate([np.zeros((len(values), 1)), below, np.ones((len(values), 1))], axis=1)
    rows = np.arange(len(values))
    return 1.0 - float((edges[rows, classes + 1] - edges[rows, classes]).mean())
