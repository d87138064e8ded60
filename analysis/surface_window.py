"""The ridge without a law: one best rate per batch size, in windows of cells that differ in height and shape."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.stats import f as f_distribution
from scipy.stats import t as t_distribution

from .law import Array
from .observations import NORMAL_95
from .surface_grid import SurfaceData, packed
from .surface_model import Grid, heights, row_mean, solve_surfaces, weighted_dot
from .surface_solver import SurfaceProblems

FEWEST_DEGREES = 3.0
"""Degrees of freedom that a window's noise must have."""
HEIGHTS = 8
"""Heights tried, each half of the one before."""
LEAST_NOISE = 1e-3
"""Standard deviation of a score, in depths of the valleys, that no measurement beats."""
FLAT = 0.01
"""Level at which valleys must differ from scores that do not depend on the rate."""
LOWEST_HEIGHT = 6.0
"""Height of a window in standard deviations of a cell; in a lower one the noise decides which cells are in."""
AS_GOOD = 1.5
"""A window stands beside the best one if its ridge's interval, squared, is at most this many times as wide."""
ITERATIONS = 30
"""Steps of a window's search. In 1 of 48 simulated studies ten more moved a ridge, by 1 %."""
MOST_STANDING = 4
"""Windows that enter the intervals, the best ones."""
RICHER_SHARE = 0.5
"""Error of the whole ridge under the shape with a quartic part, in what that part moved it; without it, all of that."""
PLAIN_SHAPE_ERROR = 0.1 * np.log(2.0)
"""The same in ln rate where there are too few cells for a quartic part. Measured on -ln(2u - u^2), u = rate/optimum."""
LEAST_SHAPE_ERROR = 0.015
"""The least of it, in octaves, for each octave between cells. Measured on (e^d - 1 - d)/2, d = ln(rate/optimum)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Window:
    """Some of the cells, a shape, and the best rates of n batch sizes that they give.

    Attributes:
        grid: the window's cells.
        quartic: whether the shape has a quartic part.
        point: ln best rates, then skew p and power b, shape (n + 2,).
        covariance: of ``ln_best`` in units of ``variance``, shape (n, n).
        variance: of one trial's score.
        degrees: of freedom of ``variance``.
        shared_error: standard deviation in ln rate of the whole ridge, by what the shape does not follow. All batch
            sizes share it, so that it moves a law's level and nothing else.
    """

    grid: Grid
    quartic: bool
    point: Array
    covariance: Array
    variance: float
    degrees: float
    shared_error: float = PLAIN_SHAPE_ERROR

    @property
    def ln_best(self) -> Array:
        """Ln best rates, shape (n,)."""
        return self.point[:-2]

    @property
    def cells(self) -> int:
        """How many cells the window holds."""
        return int(np.count_nonzero(self.grid.precision))

    @property
    def cell_sd(self) -> float:
        """Standard deviation of a typical cell's score."""
        precision = self.grid.precision
        return float(np.sqrt(self.variance / np.median(precision[precision > 0])))

    @property
    def spread(self) -> float:
        """Half the width squared of the 95 % interval of a parabola through the ridge, mean over batch sizes."""
        ln_batch = self.grid.ln_batch
        z = (ln_batch - ln_batch.mean()) / max(float(np.ptp(ln_batch)), 1e-9)
        powers = np.vander(z, min(3, len(z)))
        inverse = np.linalg.inv(powers.T @ np.linalg.solve(self.covariance, powers))
        smooth = self.variance * float(np.mean(np.einsum("ni,ij,nj->n", powers, inverse, powers)))
        return float(t_distribution.ppf(0.975, self.degrees)) ** 2 * smooth + (NORMAL_95 * self.shared_error) ** 2


def choose_windows(data: SurfaceData) -> list[Window]:
    """Return the windows that know the ridge best, the best first; empty where no window leaves enough cells.

    A low window misses cells that help; a high one holds cells to which the shape does not fit, which shows as noise.
    So each height, with and without a quartic part, is fitted with a best rate per batch size, and the interval of a
    smooth ridge, as the residuals, their number and the error of the shape make it, decides.
    """
    grid = data.grid
    rows = np.arange(len(grid.ln_batch))
    best = np.argmin(np.where(grid.precision > 0, grid.score, np.inf), axis=1)
    own = grid.ln_rate[rows, best]
    rise = grid.score - grid.score[rows, best][:, None]
    lines = (own, _straightened(grid.ln_batch, own))
    starts = np.array([np.concatenate([line, [skew, 0.0]]) for line in lines for skew in (0.0, 0.7)])
    first = _standing(_fitted(data, _insides(grid, rise, own), starts, quartic=False), [])
    if not first:
        return []
    found = first[0]
    data = _reweighted(data, found)
    # The measured rise decided these windows, noise included; the fitted height decides the next ones.
    inside = _insides(data.grid, _rise(data.grid, found, rise), found.ln_best)
    straight = np.concatenate([_straightened(grid.ln_batch, found.ln_best), found.point[-2:]])
    starts = np.stack([found.point, straight])
    plain, rich = (_fitted(data, inside, starts, quartic=quartic) for quartic in (False, True))
    windows = _standing(plain, rich)
    return [window for window in windows if window.spread <= AS_GOOD * windows[0].spread][:MOST_STANDING]


Insides = list[tuple[float, np.ndarray]]
"""Heights, falling, each with the cells inside, shape (n, m)."""


def _insides(grid: Grid, rise: Array, ln_best: Array) -> Insides:
    """Return the distinct windows around a ridge; each holds at least the three cells of a row that are nearest."""
    there = grid.precision > 0
    distance = np.where(there, np.abs(grid.ln_rate - ln_best[:, None]), np.inf)
    nearest = np.argsort(np.argsort(distance, axis=1, kind="stable"), axis=1) < 3
    result: Insides = []
    for height in float(np.max(np.where(there, rise, 0.0))) * 0.5 ** np.arange(HEIGHTS):
        inside = there & (nearest | (rise <= height * (1 + 1e-9)))
        if not result or not np.array_equal(inside, result[-1][1]):
            result.append((float(height), inside))
    return result


def _rise(grid: Grid, window: Window, measured: Array) -> Array:
    """Return the larger of the fitted height and of the measured rise over the fitted bottom."""
    own = window.grid
    found = solve_surfaces(
        own, window.point[None], score=own.score[None], precision=own.precision[None], quartic=window.quartic
    )
    fitted = heights(grid, found, window.point[None], grid.ln_rate[None])[0]
    return np.where(grid.precision > 0, np.maximum(fitted, grid.score - found.bottom[0][:, None]), measured)


def _fitted(data: SurfaceData, insides: Insides, starts: Array, *, quartic: bool) -> list[tuple[float, Window]]:
    """Return the windows that have enough cells and a valley, with their heights."""
    inside = np.stack([cells for _, cells in insides])
    grid, order = packed(data.grid, inside)
    n = len(grid.ln_batch)
    precision = np.stack([np.take_along_axis(one, order, axis=1) for one in inside]) * grid.precision
    degrees = np.count_nonzero(precision, axis=(1, 2)) - 2.0 * n - 3.0 - quartic
    kept = np.flatnonzero(degrees >= FEWEST_DEGREES)
    if not len(kept):
        return []
    problems = SurfaceProblems(
        grid=grid, score=grid.score[None], precision=np.repeat(precision[kept], len(starts), axis=0), quartic=quartic
    )
    solved = problems.solve(np.tile(starts, (len(kept), 1)), iterations=ITERATIONS)
    square = np.where(np.isfinite(solved.square), solved.square, np.inf).reshape(len(kept), len(starts))
    result = []
    for i, lowest in enumerate(np.argmin(square, axis=1)):
        at, own = i * len(starts) + lowest, precision[kept[i]]
        point = solved.point[at]
        found = solve_surfaces(grid, point[None], score=grid.score[None], precision=own[None], quartic=quartic)
        variance, of_variance = data.noise(float(square[i, lowest]), float(degrees[kept[i]]))
        variance = max(variance, (LEAST_NOISE * data.depth) ** 2)
        if variance == 0.0:  # equal scores everywhere: no valley
            continue
        gain = (_flat_square(grid, own) - float(square[i, lowest])) / (n + 3.0 + quartic) / variance
        if found.curvature[0] <= 0 or f_distribution.sf(gain, n + 3.0 + quartic, of_variance) > FLAT:
            continue
        window = Window(
            grid=packed(dataclasses.replace(grid, precision=own), own > 0)[0],
            quartic=quartic,
            point=point,
            covariance=solved.covariance(at)[:n, :n],
            variance=variance,
            degrees=of_variance,
        )
        result.append((insides[kept[i]][0], window))
    return result


def _flat_square(grid: Grid, precision: Array) -> float:
    """Return the weighted sum of squares around each batch size's mean score."""
    return float(weighted_dot(precision, *[grid.score - row_mean(precision, grid.score)] * 2))


def _reweighted(data: SurfaceData, window: Window) -> SurfaceData:
    precision = window.grid.precision
    found = solve_surfaces(
        window.grid,
        window.point[None],
        score=window.grid.score[None],
        precision=precision[None],
        quartic=window.quartic,
    )
    cells = np.count_nonzero(precision, axis=1)
    left = (cells.sum() - 2.0 * len(cells) - 3.0 - window.quartic) * cells / cells.sum()
    return data.reweighted(np.sum(precision * found.residual[0] ** 2, axis=1), left)


def _standing(plain: list[tuple[float, Window]], rich: list[tuple[float, Window]]) -> list[Window]:
    """Return windows that are high enough over the noise, with the error of their shape, the best first."""
    partners = dict(rich)
    result: list[Window] = []
    cell_sd = 0.0
    for height, window in plain:
        if result and height < LOWEST_HEIGHT * cell_sd:
            break
        partner = partners.get(height)
        cell_sd = window.cell_sd
        if partner is None:
            result.append(window)
            continue
        cell_sd = min(cell_sd, partner.cell_sd)
        moved = abs(float(np.mean(partner.ln_best - window.ln_best)))
        least = LEAST_SHAPE_ERROR * _gap(window.grid) * np.log(2.0)
        result.append(dataclasses.replace(window, shared_error=max(moved, least)))
        result.append(dataclasses.replace(partner, shared_error=max(RICHER_SHARE * moved, least)))
    return sorted(result, key=lambda window: window.spread)


def _gap(grid: Grid) -> float:
    """Return the median distance between neighbouring cells, in octaves."""
    gaps = np.diff(np.sort(np.where(grid.precision > 0, grid.ln_rate, np.nan), axis=1), axis=1)
    return float(np.median(gaps[np.isfinite(gaps)]) / np.log(2.0))


def _straightened(ln_batch: Array, ln_best: Array) -> Array:
    """Return the straight line through a ridge: what the noise did to single rows is gone."""
    if len(ln_batch) < 2:
        return ln_best
    return np.asarray(np.polyval(np.polyfit(ln_batch, ln_best, 1), ln_batch))
