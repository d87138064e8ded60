"""How many cells around the best one a parabola may take, and what the choice does to the answer.

A wide window averages noise away; a narrow one bends less. All batch sizes of a sweep decide together: the widest
window is taken whose optima differ from the next narrower one's by no more than noise. What difference is left enters
the spread of the draws, and where one batch size's answer flips with the window, its interval holds both answers.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import chi2
from scipy.stats import f as f_distribution

from .law import Array
from .local_quadratic import Vertices, find_vertices, residual_sum, shared_skew

WIDTHS = (3, 5, 7, 9)
"""Cells in the windows that are compared."""
FLIPS = (3, 5, 7)
"""The windows between which an answer must not flip unsaid."""
AGREES = 0.9
"""Quantile of the chi-square distribution up to which optima of two windows agree."""
FLIPPED = 3.0
"""Standard deviations of their difference beyond which two windows give one batch size different answers."""
HIDDEN = 0.4
"""Share of the variance of a shift of all optima together that counts although noise explains the shift: noise could as
well have hidden one of that size. Measured on simulated sweeps of valleys that rise as d^2 + 0.1 d^3."""
MISFIT_FALLS = 5
"""Power of the width with which the variance of what parabolas do not fit falls: 8 for a smooth curve, as its misfit
begins at the fourth order; less for one with a kink. With 5 the intervals of |d|^1.5 still hold the truth."""
PRECISION = 0.01
"""Octaves of difference between windows that are no difference."""
SHAPE_ERROR = 0.25
"""Standard deviation, in octaves, of a vertex between exact cells one octave apart where there are too few cells to
compare windows. It falls with the square of the gap. Measured on steps to a target under -ln(2u - u^2), u =
rate/optimum, whose wall at u = 2 is as bad as curves get."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """The usable cells of one batch size between the nearest worse ones, with draws of their scores.

    Rates ``x``, shape (m,), are in log2, m at least 1; ``scores`` has shape (1, m), their standard deviation ``sd``
    (m,), known with so many degrees of freedom from this batch size; ``noise`` are draws in units of it, shape
    (draws, m). ``below`` and ``above`` are the nearest rates known to be worse, if any.
    """

    x: Array
    scores: Array
    sd: Array
    degrees: float
    noise: Array
    below: float | None
    above: float | None
    rng: np.random.Generator

    @property
    def noisy(self) -> Array:
        """Draws of the scores, shape (draws, m)."""
        return self.scores + self.sd * self.noise


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalMinimum:
    """One batch size's optimum: the point, its draws, and the ends (log2 rate) of what all windows say."""

    point: Vertices
    drawn: Vertices
    lowest: float
    highest: float


def find_minima(curves: Sequence[Curve], *, rng: np.random.Generator) -> list[LocalMinimum]:
    """Locate the minimum of every curve of one sweep with one common power and one common width of the window."""
    if not curves:
        return []
    longest = int(np.median([len(curve.x) for curve in curves]))
    tried: dict[int, _Window] = {}
    for width in WIDTHS:
        if width > max(longest, WIDTHS[0]):
            break
        # Three cells can't say which power: they take that of five.
        skews = tried[3].skews if width == 5 else _skews(curves, width, rng)
        tried[width] = _Window(width=width, skews=skews, pairs=[_both(curve, width, skews) for curve in curves])
    chosen, unfit, error = _choose(curves, list(tried.values()))
    shift = error.common * rng.standard_normal(len(curves[0].noise))
    return [_settle(curve, i, tried[chosen], unfit, error.own[i], shift, tried) for i, curve in enumerate(curves)]


Pair = tuple[Vertices, Vertices]
"""The point, of one draw, and the draws."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Window:
    """What one width says: the power (point and draws) and every curve's minimum."""

    width: int
    skews: tuple[Array, Array]
    pairs: list[Pair]


def _skews(curves: Sequence[Curve], width: int, rng: np.random.Generator) -> tuple[Array, Array]:
    point = shared_skew([(c.x, c.scores, c.sd) for c in curves], width=width)
    return point, shared_skew([(c.x, c.noisy, c.sd) for c in curves], width=width, rng=rng)


def _both(curve: Curve, width: int, skews: tuple[Array, Array]) -> Pair:
    x, below, above = curve.x, curve.below, curve.above
    return (
        find_vertices(x, curve.scores, width=width, skew=skews[0], below=below, above=above),
        find_vertices(x, curve.noisy, width=width, skew=skews[1], below=below, above=above, rng=curve.rng),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _ShapeError:
    """Standard deviations, in octaves, of what a window's parabolas get wrong beyond noise.

    ``common`` moves all optima together, as all valleys have one shape; ``own``, shape (curves,), each by itself, as
    each lies elsewhere between its cells.
    """

    common: float
    own: Array


def _choose(curves: Sequence[Curve], windows: Sequence[_Window]) -> tuple[int, float, _ShapeError]:
    """Return the width, the variance of scores that its parabolas do not fit, and the error of shape."""
    chosen, unfit, compared = windows[0].width, 0.0, False
    common = own = 0.0
    for narrow, wide in itertools.pairwise(windows):
        long = [i for i, curve in enumerate(curves) if len(curve.x) >= wide.width]
        differences = [d for i in long if (d := _difference(narrow.pairs[i], wide.pairs[i])) is not None]
        if not differences:
            break
        compared = True
        found = _agreement(differences)
        fits, residual = _fit_of([curves[i] for i in long], wide)
        if not (found.agree and fits):
            # The rejected window's error is the difference and more; the narrow one's is a share of it, as the error
            # grows with the square of the width.
            share = (narrow.width**2 / (wide.width**2 - narrow.width**2)) ** 2
            common, own = max(common, found.common * share), max(own, found.own * share)
            unfit = max(unfit, residual * (narrow.width / wide.width) ** MISFIT_FALLS)
            break
        chosen, unfit = wide.width, residual
        common, own = max(found.common, HIDDEN * found.noise), found.own
    if compared:
        return chosen, unfit, _ShapeError(common=np.sqrt(common), own=np.full(len(curves), np.sqrt(own)))
    gaps = [float(np.median(np.diff(curve.x))) if len(curve.x) > 1 else 0.0 for curve in curves]
    return chosen, unfit, _ShapeError(common=0.0, own=SHAPE_ERROR * np.square(gaps))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Difference:
    """How far a wide window moves one optimum, in octaves: the point, its standard deviation by noise, the draws."""

    moved: float
    sd: float
    draws: Array


def _difference(narrow: Pair, wide: Pair) -> _Difference | None:
    """Compare two windows; None where one of them has the optimum at an edge."""
    if any(pair[0].side[0] != 0 or not np.isfinite(pair[0].position[0]) for pair in (narrow, wide)):
        return None
    inside = (narrow[1].side == 0) & (wide[1].side == 0)
    if inside.sum() < len(inside) / 2:
        return None
    draws = wide[1].position - narrow[1].position
    draws = np.where(inside, draws, np.median(draws[inside]))
    moved = float(wide[0].position[0] - narrow[0].position[0])
    return _Difference(moved=moved, sd=max(_spread(draws), PRECISION), draws=draws)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Agreement:
    """Whether two windows agree within noise, and variances of their difference.

    ``common`` and ``own`` are those beyond noise, of all optima together and of each around that; ``noise`` is what
    noise makes of the common one.
    """

    agree: bool
    common: float
    own: float
    noise: float


def _agreement(differences: Sequence[_Difference]) -> _Agreement:
    moved, variance = np.array([d.moved for d in differences]), np.array([d.sd for d in differences]) ** 2
    # All batch sizes together (their common power moves them together), then each by itself.
    draws = np.array([d.draws for d in differences])
    mean = np.mean(draws, axis=0)
    noise = _spread(mean) ** 2
    expected = max(noise, PRECISION**2)
    together = np.mean(moved) ** 2 / expected < chi2.ppf(AGREES, 1)
    apart = np.sum(moved**2 / variance) < chi2.ppf(AGREES, len(moved))
    own = np.mean([_spread(row) ** 2 for row in draws - mean])
    return _Agreement(
        agree=bool(together and apart),
        common=max(0.0, float(np.mean(moved) ** 2) - noise),
        own=max(0.0, float(np.var(moved)) - float(own)),
        noise=noise,
    )


def _fit_of(curves: Sequence[Curve], window: _Window) -> tuple[bool, float]:
    """Return whether parabolas fit within noise, and their residual variance beyond it."""
    width = window.width
    residual = sum(residual_sum(c.x, c.scores, width=width, skew=window.skews[0]) for c in curves)
    degrees = (width - 3) * len(curves)
    noise = float(np.mean([np.mean(c.sd**2) for c in curves]))
    limit = f_distribution.ppf(AGREES, degrees, max(sum(c.degrees for c in curves), 1.0))
    # Rounding is no lack of fit.
    rounding = 1e-20 * float(np.mean([np.ptp(c.scores) for c in curves])) ** 2
    return bool(residual / degrees <= limit * noise + rounding), max(0.0, residual / degrees - noise)


def _spread(draws: Array) -> float:
    """Return half the width of the middle 68 %: the few draws in which a window loses its minimum do not count."""
    low, high = np.quantile(draws, [0.16, 0.84])
    return float(high - low) / 2.0


def _settle(
    curve: Curve, i: int, chosen: _Window, unfit: float, own: float, shift: Array, tried: Mapping[int, _Window]
) -> LocalMinimum:
    point, drawn = chosen.pairs[i]
    if unfit > 0:
        rougher = dataclasses.replace(curve, sd=np.sqrt(curve.sd**2 + unfit))
        drawn = _both(rougher, chosen.width, chosen.skews)[1]
    if len(curve.x) > 1:
        moved = drawn.position + shift + own * curve.rng.standard_normal(len(drawn.position))
        drawn = dataclasses.replace(drawn, position=np.where(drawn.side == 0, moved, drawn.position))
    answers = [float(point.position[0])]
    for width in FLIPS:
        if width in tried and width != chosen.width and len(curve.x) >= width:
            found = _difference(chosen.pairs[i], tried[width].pairs[i])
            if found is not None and abs(found.moved) > FLIPPED * found.sd:
                answers.append(answers[0] + found.moved)
    return LocalMinimum(point=point, drawn=drawn, lowest=min(answers), highest=max(answers))
