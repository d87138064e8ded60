"""One law laid through the ridge of a sweep's surface, with the errors that its batch sizes share."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import f as f_distribution

from .fit import Estimate, FitStatus, estimate_parameters, unknown_parameters
from .law import Array, Law
from .least_squares import minimise
from .likelihood import EXTRA_SCATTER, QUICK, Box, search_box
from .observations import Observations
from .surface_window import Window

FURTHEST = 300.0
"""Coordinates of a law that the search may reach, in ln."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SurfaceFit:
    """One law as the ridge of one sweep's surface.

    Attributes:
        law: the law.
        status: the first estimate's status that is not ok, or ``failed`` where there are too few cells.
        values: fitted parameters, shape (k,).
        draws: the same for every resample, shape (draws, k).
        estimates: one per parameter.
        aicc: as in ``FitResult``: of the best rates, the extra scatter counted as a parameter; None where there are
            too few of them.
        lack_of_fit: probability of a ridge so far from the law if the law holds (F test); None where there are as many
            parameters as batch sizes.
        batch_sizes: how many the surface spans.
        cells: how many it is fitted to.
    """

    law: Law
    status: FitStatus
    values: Array
    draws: Array
    estimates: tuple[Estimate, ...]
    aicc: float | None
    lack_of_fit: float | None
    batch_sizes: int
    cells: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ridges:
    """Windows of a sweep, the best first, each with its resampled ridges, shape (draws, n)."""

    windows: tuple[Window, ...]
    draws: tuple[Array, ...]


def fit_surface_law(law: Law, ridges: Ridges, *, rng: np.random.Generator) -> SurfaceFit:
    """Fit ``law`` to the ridge by generalised least squares.

    Near its minimum the surface's sum of squares is just that, a quadratic form of the ridge.

    A ridge that strays from the law by more than the noise explains has a scatter of its own. It is the one at which
    the weighted sum of squares is what its degrees of freedom make it (Paule and Mandel 1982), and it enters the
    weights and the intervals.

    Args:
        law: what to fit.
        ridges: estimates come from the first window, intervals from all of them.
        rng: source of the scatter in the resamples.
    """
    k = len(law.parameters)
    window = ridges.windows[0] if ridges.windows else None
    if window is None or len(window.ln_best) < max(k, 2):
        return _failed(law, 0 if window is None else len(window.ln_best), 0 if window is None else window.cells)
    n = len(window.ln_best)
    seen = _as_observations(window)
    low, high = search_box(law, seen)
    # Where the data leave a level open, it must not run until its exponential overflows.
    box = np.maximum(low, -FURTHEST), np.minimum(high, FURTHEST)
    starts = law.to_coordinates(law.guess(seen.ln_batch, seen.ln_rate))
    problem = _Problem(law=law, ln_batch=seen.ln_batch, box=box)
    rough, _ = problem.best(window, EXTRA_SCATTER[[0, len(EXTRA_SCATTER) // 2]], starts, quick=True)
    point, square = problem.best(window, EXTRA_SCATTER, rough)
    lack = float(f_distribution.sf(square[0] / (n - k), n - k, window.degrees)) if n > k else None
    scatter, at = _scatter(problem, window, square, point, n - k)
    near = np.vstack([at, rough, starts])
    drawn = problem.resampled(ridges, scatter, max(n - k, 2), near, rng)
    estimates = estimate_parameters(law, at, drawn, seen, box)
    ln_likelihood = -0.5 * float(np.min(square + _ln_determinants(window, EXTRA_SCATTER) + n * np.log(2 * np.pi)))
    count = k + 1
    return SurfaceFit(
        law=law,
        status=next((e.status for e in estimates if e.status != "ok"), "ok"),
        values=law.from_coordinates(at),
        draws=law.from_coordinates(drawn),
        estimates=estimates,
        aicc=-2 * ln_likelihood + 2 * count + 2 * count * (count + 1) / (n - count - 1) if n > count + 1 else None,
        lack_of_fit=lack,
        batch_sizes=n,
        cells=window.cells,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Problem:
    law: Law
    ln_batch: Array
    box: Box

    def best(self, window: Window, scatters: Array, starts: Array, *, quick: bool = False) -> tuple[Array, Array]:
        """Return the best coordinates, shape (scatters, k), and weighted sums of squares, shape (scatters,)."""
        whitening = np.repeat(_whitening(window, scatters), len(starts), axis=0)
        ridge = np.broadcast_to(window.ln_best, (len(whitening), len(self.ln_batch)))
        begin = np.tile(starts, (len(scatters), 1))
        point, cost = self._search(ridge, whitening, begin, QUICK if quick else {"iterations": 40, "tolerance": 1e-8})
        cost = np.where(np.isfinite(cost), cost, np.inf).reshape(len(scatters), len(starts))
        lowest = np.argmin(cost, axis=1)
        rows = np.arange(len(scatters))
        return point.reshape(len(scatters), len(starts), -1)[rows, lowest], 2.0 * cost[rows, lowest]

    def resampled(self, ridges: Ridges, scatter: float, degrees: int, starts: Array, rng: np.random.Generator) -> Array:
        """Return the best coordinates of every draw of the ridge, with the law's scatter added, shape (draws, k).

        All draws are fitted as the point is, with the weights of the first window. Each is searched from the start that
        lies nearest to it.
        """
        ridge = np.concatenate(ridges.draws)
        own = scatter * np.sqrt(degrees / rng.chisquare(degrees, size=(len(ridge), 1)))
        white = _whitening(ridges.windows[0], np.array([scatter]))[0].T
        target = (ridge + own * rng.standard_normal(ridge.shape)) @ white
        starts = np.clip(starts, *self.box)
        curves = self.law.ln_rate(self.ln_batch, self.law.from_coordinates(starts)) @ white
        misfit = np.sum(np.square(curves), axis=1) - 2.0 * target @ curves.T
        begin = starts[np.argmin(np.where(np.isfinite(misfit), misfit, np.inf), axis=1)]

        def residuals(coordinates: Array, problems: np.ndarray) -> Array:
            curve = self.law.ln_rate(self.ln_batch, self.law.from_coordinates(coordinates))
            return np.asarray(curve @ white - target[problems])

        return minimise(residuals, begin, lower=self.box[0], upper=self.box[1], **QUICK)[0]

    def _search(self, ridge: Array, whitening: Array, starts: Array, how: Mapping[str, Any]) -> tuple[Array, Array]:
        def residuals(coordinates: Array, problems: np.ndarray) -> Array:
            gap = self.law.ln_rate(self.ln_batch, self.law.from_coordinates(coordinates)) - ridge[problems]
            return np.asarray(np.matmul(whitening[problems], gap[..., None])[..., 0])

        return minimise(residuals, starts, lower=self.box[0], upper=self.box[1], **how)


def _scatter(problem: _Problem, window: Window, square: Array, point: Array, degrees: int) -> tuple[float, Array]:
    """Return the scatter at which the weighted sum of squares falls to ``degrees``, and the fit there."""
    over = np.flatnonzero(square > degrees)
    if degrees < 1 or not len(over):
        return 0.0, point[0]
    last = int(over[-1])
    if last == len(square) - 1:
        return float(EXTRA_SCATTER[-1]), point[-1]
    ladder = np.linspace(EXTRA_SCATTER[last], EXTRA_SCATTER[last + 1], 12)
    finer, squares = problem.best(window, ladder, point[last : last + 2])
    at = int(np.argmin(np.abs(squares - degrees)))
    return float(ladder[at]), finer[at]


def _covariances(window: Window, scatters: Array) -> Array:
    n = len(window.ln_best)
    return window.variance * window.covariance + scatters[:, None, None] ** 2 * np.eye(n) + 1e-12 * np.eye(n)


def _whitening(window: Window, scatters: Array) -> Array:
    """Return matrices W with W'W the inverse covariance of the ridge, shape (scatters, n, n)."""
    return np.linalg.inv(np.linalg.cholesky(_covariances(window, scatters)))


def _ln_determinants(window: Window, scatters: Array) -> Array:
    return np.asarray(np.linalg.slogdet(_covariances(window, scatters))[1])


def _as_observations(window: Window) -> Observations:
    """Return the ridge in the form in which a law's box and statuses take optima."""
    n = len(window.ln_best)
    sd = np.sqrt(window.variance * np.diag(window.covariance))
    return Observations(
        ln_batch=window.grid.ln_batch, ln_rate=window.ln_best, side=np.zeros(n), sd=sd, used=np.arange(n)
    )


def _failed(law: Law, batch_sizes: int, cells: int) -> SurfaceFit:
    return SurfaceFit(
        law=law,
        status="failed",
        values=np.full(len(law.parameters), np.nan),
        draws=np.empty((0, len(law.parameters))),
        estimates=unknown_parameters(law),
        aicc=None,
        lack_of_fit=None,
        batch_sizes=batch_sizes,
        cells=cells,
    )
