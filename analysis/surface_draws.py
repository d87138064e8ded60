"""Ridges that a window could as well have shown: surfaces made around its fit, and fitted anew."""

from __future__ import annotations

import dataclasses

import numpy as np

from .law import Array
from .surface_model import heights, solve_surfaces
from .surface_solver import SurfaceProblems
from .surface_window import Window


def draw_ridges(window: Window, *, rng: np.random.Generator, resamples: int) -> Array:
    """Make surfaces around a window's fit, fit each anew, and return their ln best rates, shape (resamples, n).

    The noise of a surface has a variance drawn from what its degrees of freedom leave open, as Student's t does. The
    error of shape that all batch sizes share is in the surfaces too.
    """
    grid, n = window.grid, len(window.ln_best)
    precision = grid.precision[None]
    found = solve_surfaces(
        grid, window.point[None], score=grid.score[None], precision=precision, quartic=window.quartic
    )
    start = np.tile(window.point, (resamples, 1))
    moved = start.copy()
    moved[:, :n] += window.shared_error * rng.standard_normal((resamples, 1))
    repeated = dataclasses.replace(
        found, curvature=np.repeat(found.curvature, resamples), quartic=np.repeat(found.quartic, resamples)
    )
    height = heights(grid, repeated, moved, grid.ln_rate[None])
    variance = window.variance * window.degrees / rng.chisquare(window.degrees, size=(resamples, 1, 1))
    sd = np.sqrt(np.where(precision > 0, variance / np.where(precision > 0, precision, 1.0), 0.0))
    score = found.bottom[..., None] + height + sd * rng.standard_normal(height.shape)
    problems = SurfaceProblems(grid=grid, score=score, precision=precision, quartic=window.quartic)
    return problems.solve(start, iterations=12, tolerance=1e-5).point[:, :n]
