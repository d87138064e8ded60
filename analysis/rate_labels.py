"""Labels of one learning rate that differ by rounding (0.0009765, 0.00098, 0.000977), put on one value."""

from __future__ import annotations

import itertools

import numpy as np

WIDEST = np.log(1.025)
"""Labels further apart than 2.5 % are never one rate: two digits can't be asked to tell more."""
WIDEST_ALONE = np.log(1.005)
"""The same where no other rate shows how wide the grid is."""
SHARE_OF_GRID = 1.0 / 8.0
"""Labels are one rate only if they are this much closer together than rates that stay apart."""
NOISE = 1e-7
"""Relative difference of one number that went through single precision or another formula."""
FEWEST_DIGITS = 2
"""A label such as 0.001 is taken to mean two digits, as 0.0010 does."""


def snap_rates(rates: np.ndarray) -> np.ndarray:
    """Return the rates of one sweep with labels that differ by rounding put on one value, the one with most digits.

    Neighbouring labels are one rate if all of this holds: each is the most precise of them rounded or cut to its own
    digits (``FEWEST_DIGITS`` at least); they lie within ``WIDEST`` (``WIDEST_ALONE`` where nothing else stays apart);
    each gap between them is at most ``SHARE_OF_GRID`` of the smallest gap that stays. A grid with even steps, linear or
    geometric, therefore never changes, however fine, and neither do rates drawn at random.
    """
    distinct = np.unique(rates)
    if len(distinct) < 2:
        return rates
    clusters = _clusters(distinct)
    snapped = distinct.copy()
    for first, last in clusters:
        # Among labels of as many digits the lowest, so that the order of rows says nothing.
        snapped[first : last + 1] = max(distinct[first : last + 1].tolist(), key=lambda rate: (_digits(rate), -rate))
    return snapped[np.searchsorted(distinct, rates)]


def _clusters(rates: np.ndarray) -> list[tuple[int, int]]:
    """Return first and last position of each set of labels that are one rate."""
    gaps = np.diff(np.log(rates))
    close = np.flatnonzero(gaps <= WIDEST)
    near = np.array([i for i in close if _same_rate(float(rates[i]), float(rates[i + 1]))], dtype=int)
    if not len(near):
        return []
    apart = np.ones(len(gaps), dtype=bool)
    apart[near] = False
    if apart.any():
        limit = SHARE_OF_GRID * gaps[apart].min()
    elif len(gaps) > 1 and gaps.max() < 2.0 * gaps.min():
        return []  # even steps: a grid
    else:
        limit = WIDEST_ALONE
    # The widest first: a gap that stays makes the grid finer, and so the next ones stay more easily.
    for i in near[np.argsort(-gaps[near], kind="stable")]:
        if gaps[i] <= limit * (1 + 1e-9):
            break
        apart[i] = True
        limit = min(limit, SHARE_OF_GRID * gaps[i])
    ends = np.concatenate([[-1], np.flatnonzero(apart), [len(gaps)]])
    runs = [(int(a) + 1, int(b)) for a, b in itertools.pairwise(ends) if b > a + 1]
    return [(first, last) for first, last in runs if _is_one_rate(rates[first : last + 1])]


def _is_one_rate(labels: np.ndarray) -> bool:
    precise = max(labels.tolist(), key=_digits)
    return bool(np.log(labels[-1] / labels[0]) <= WIDEST) and all(_same_rate(float(x), precise) for x in labels)


def _same_rate(a: float, b: float) -> bool:
    """Return whether the less precise label is the other one, rounded or cut to its digits."""
    if abs(a - b) <= NOISE * a:
        return True
    coarse, fine = sorted((a, b), key=_digits)
    digits = max(_digits(coarse), FEWEST_DIGITS)
    if digits >= _digits(fine):
        # As many digits on both: the last one may have been rounded here and cut there.
        return digits >= 4 and abs(a - b) <= 1.0001 * _unit(coarse, digits)
    return abs(coarse - fine) <= 0.5001 * _unit(coarse, digits) or 0 <= fine - coarse < _unit(coarse, digits)


def _unit(value: float, digits: int) -> float:
    return float(10.0 ** (np.floor(np.log10(value)) - digits + 1))


def _digits(value: float) -> int:
    """Return the number of significant digits of the shortest text that reads as ``value``."""
    mantissa = repr(value).lower().partition("e")[0].replace(".", "").strip("0")
    return len(mantissa)
