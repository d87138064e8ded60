"""η*(B) where the measured loss along the optimiser's direction is lowest: no Hessian is needed."""

from __future__ import annotations

import numpy as np

from ..law import Array
from ..noise_scale import Constants
from ..probe_rows import LINE_LOSS
from .derived_law import DerivedLaw, direct_law

NAME = "line_search"
ASSUMES = "the tried rates are close enough for a parabola through the lowest loss and its two neighbours"
FEWEST_RATES = 3


def line_search_law(constants: Constants) -> DerivedLaw:
    """Return the rate of lowest mean loss at every batch size for which losses along φ were measured.

    Losses are averaged over draws first. The minimum is the vertex of the parabola through the lowest average and its
    two neighbours; it is exact for a quadratic loss. A lowest loss at the largest tried rate is a lower bound, one at
    rate 0 an upper bound of zero: neither is resolved.
    """
    point = constants.point
    ladder, columns, reasons = [], [], {}
    for b in (b for b in point.batch_sizes(LINE_LOSS) if b > 0):
        rates, losses = _curve(constants, b)
        if len(rates) < FEWEST_RATES:
            continue
        vertex = lowest_rate(rates, losses)
        ladder.append(b)
        columns.append(vertex)
        if vertex[0] == 0.0:
            reasons[b] = "the loss rose at every rate tried; smaller ones are needed"
        elif np.isposinf(vertex[0]):
            reasons[b] = "the loss still fell at the largest rate tried; larger ones are needed"
    return direct_law(NAME, constants, batch_sizes=ladder, rates=columns, reasons=reasons)


def lowest_rate(rates: Array, losses: Array) -> Array:
    """Return where curves are lowest: zero or infinity where that is an end of the tried rates.

    Args:
        rates: ascending, from 0, shape (n,).
        losses: one curve a row, shape (m, n); infinite where it diverged.

    Returns:
        Shape (m,); NaN where a curve is not known.
    """
    unknown = np.isnan(losses).any(axis=1)
    best = np.argmin(np.where(np.isnan(losses), np.inf, losses), axis=1)
    middle = np.clip(best, 1, len(rates) - 2)
    row = np.arange(len(losses))
    before, here, after = rates[middle - 1], rates[middle], rates[middle + 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        falls = (losses[row, middle] - losses[row, middle - 1]) / (here - before)
        rises = (losses[row, middle + 1] - losses[row, middle]) / (after - here)
        bend = (rises - falls) / (after - before)
        vertex = 0.5 * (before + here) - 0.5 * falls / bend
    # Next to a rate that diverged there is no parabola; the lowest loss stands for the minimum.
    vertex = np.where(np.isfinite(bend) & (bend > 0), np.clip(vertex, before, after), here)
    vertex = np.where(best == 0, 0.0, np.where(best == len(rates) - 1, np.inf, vertex))
    return np.where(unknown, np.nan, vertex)


def _curve(constants: Constants, batch_size: float) -> tuple[Array, Array]:
    """Return rates, shape (n,), and mean losses less the one at rate 0, shape (1 + resamples, n)."""
    rates = [rate for rate in constants.point.rates(batch_size) if rate > 0]
    start = next((b for b in (batch_size, 0.0) if (LINE_LOSS, b, 0.0) in constants.samples), None)
    if start is None or not rates:
        return np.empty(0), np.empty((0, 0))
    base = constants.samples[LINE_LOSS, start, 0.0]
    losses = []
    for rate in rates:
        here = constants.samples[LINE_LOSS, batch_size, rate]
        # A mean that is infinite is known to be: some draw diverged.
        losses.append(np.full(len(here), np.inf) if np.isposinf(here[0]) else here - base)
    return np.array([0.0, *rates]), np.stack([np.zeros(len(base)), *losses], axis=1)
