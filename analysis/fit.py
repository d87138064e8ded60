"""Fit one law, any law, to the optima of one sweep: one likelihood, one search, one bootstrap."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from .intervals import TAIL
from .law import Array, Law, Parameter
from .likelihood import RATE_REACH, Box, fit_draws, fit_fixed, fit_point, search_box, unbiased_scatter
from .observations import Observations, observe
from .optimum import OptimumDraws

FitStatus = Literal["ok", "at_bound", "unbounded_low", "unbounded_high", "failed"]
NO_KNOWLEDGE = 5.0
"""Scatter in ln rate that stands for any larger one: a rate known to a factor of 150 is not known."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """A parameter's value and 95 % interval. None means unknown: the data set no bound there."""

    parameter: Parameter
    value: float | None
    low: float | None
    high: float | None
    status: FitStatus


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitResult:
    """One law fitted to one sweep.

    Attributes:
        law: the law.
        status: the first estimate's status that is not ok, or ``failed`` where there are fewer optima than parameters.
        values: fitted parameters, shape (k,), also where they are not bounded: good for prediction inside the grid.
        draws: the same for every resample, shape (draws, k).
        estimates: one per parameter; without numbers if failed.
        ln_likelihood: of the optima, one-sided ones included.
        aicc: Akaike's criterion for small samples, the extra scatter counted as a parameter; None where there are too
            few optima for it.
        extra_scatter: standard deviation in ln rate that the law needs beyond the optima's intervals, corrected for its
            parameters.
        holdout_error_log2: root mean square error, in octaves, at the largest batch sizes when the law is fitted
            without them; None where too few are left.
        batch_sizes: optima used.
    """

    law: Law
    status: FitStatus
    values: Array
    draws: Array
    estimates: tuple[Estimate, ...]
    ln_likelihood: float | None
    aicc: float | None
    extra_scatter: float | None
    holdout_error_log2: float | None
    batch_sizes: int

    def predict(self, batch_size: ArrayLike) -> tuple[Array, Array, Array]:
        """Return the law's rate and its 95 % interval at batch sizes of shape (n,); NaN if the fit failed."""
        ln_batch = np.log(np.atleast_1d(np.asarray(batch_size, dtype=float)))
        if self.status == "failed":
            nothing = np.full(len(ln_batch), np.nan)
            return nothing, nothing.copy(), nothing.copy()
        middle = self.law.ln_rate(ln_batch, self.values)
        low, high = np.quantile(self.law.ln_rate(ln_batch, self.draws), [TAIL, 1.0 - TAIL], axis=0)
        return np.exp(middle), np.exp(np.minimum(low, middle)), np.exp(np.maximum(high, middle))


def fit_law(
    law: Law,
    *,
    batch_size: ArrayLike,
    learning_rate: ArrayLike,
    low: ArrayLike | None = None,
    high: ArrayLike | None = None,
    status: ArrayLike | None = None,
    draws: OptimumDraws | None = None,
    seed: int = 0,
    resamples: int = 200,
) -> FitResult:
    """Fit ``law`` in ln rate by maximum likelihood.

    A measured optimum is normal around the law, with the standard deviation of its interval and a common extra scatter
    that is fitted too. An optimum at the grid's edge enters as a bound, with the probability of its half line.

    Args:
        law: what to fit.
        batch_size: examples per step, shape (n,).
        learning_rate: best rates, shape (n,).
        low: lower ends of 95 % intervals, NaN where unknown. For ``edge_high`` the bound itself, if known.
        high: upper ends. For ``edge_low`` the bound itself, if known.
        status: ``interior``, ``edge_low`` (the optimum is at most ``high`` or the rate), ``edge_high`` (at least
            ``low`` or the rate), ``unresolved`` (not used). All interior if left out.
        draws: resampled optima of the same sweep; without them optima are resampled from their intervals.
        seed: decides the resampling.
        resamples: how many, where ``draws`` is not given.

    Raises:
        ValueError: for lengths that differ, an unknown status, or numbers that are not positive and finite.
    """
    seen = observe(batch_size=batch_size, learning_rate=learning_rate, low=low, high=high, status=status)
    n, k = len(seen.ln_batch), len(law.parameters)
    if n < k or int(seen.measured.sum()) < min(k, 2):
        return _failed(law, n)
    box = search_box(law, seen)
    point, likely_scatter, ln_likelihood = fit_point(law, seen, box)
    scatter, degrees = unbiased_scatter(law, seen, point)
    rng = np.random.default_rng([seed, n])
    batches = np.atleast_1d(np.asarray(batch_size, dtype=float))
    ln_rate, side = _resample(seen, scatter, degrees, draws, batches, rng, resamples)
    drawn = fit_draws(law, seen, ln_rate, side, start=point, scatter=scatter, box=box)
    estimates = estimate_parameters(law, point, drawn, seen, box)
    count = k + 1
    return FitResult(
        law=law,
        status=next((e.status for e in estimates if e.status != "ok"), "ok"),
        values=law.from_coordinates(point),
        draws=law.from_coordinates(drawn),
        estimates=estimates,
        ln_likelihood=ln_likelihood,
        aicc=-2 * ln_likelihood + 2 * count + 2 * count * (count + 1) / (n - count - 1) if n > count + 1 else None,
        extra_scatter=scatter,
        holdout_error_log2=_holdout(law, seen, likely_scatter),
        batch_sizes=n,
    )


def _failed(law: Law, count: int) -> FitResult:
    return FitResult(
        law=law,
        status="failed",
        values=np.full(len(law.parameters), np.nan),
        draws=np.empty((0, len(law.parameters))),
        estimates=unknown_parameters(law),
        ln_likelihood=None,
        aicc=None,
        extra_scatter=None,
        holdout_error_log2=None,
        batch_sizes=count,
    )


def _resample(
    seen: Observations,
    scatter: float,
    degrees: int,
    draws: OptimumDraws | None,
    batch_size: Array,
    rng: np.random.Generator,
    resamples: int,
) -> tuple[Array, Array]:
    """Return ln rates and sides of shape (draws, n): the chain's own draws, plus the scatter that the law needed.

    The scatter is an estimate with few degrees of freedom, so that each draw takes one of its own: the spread is then
    that of Student's t.
    """
    n = len(seen.ln_batch)
    if draws is None:
        side = np.broadcast_to(seen.side, (resamples, n))
        ln_rate = seen.ln_rate + np.where(seen.measured, seen.sd, 0.0) * rng.standard_normal((resamples, n))
    elif np.array_equal(draws.batch_size, batch_size):
        side, ln_rate = draws.side[:, seen.used], draws.ln_rate[:, seen.used]
    else:
        raise ValueError(
            "draws must have the batch sizes of the optima, in their order, but got "
            f"{draws.batch_size.tolist()} and {batch_size.tolist()}"
        )
    if scatter == 0.0:
        return ln_rate, side
    own = np.minimum(scatter * np.sqrt(degrees / rng.chisquare(degrees, len(ln_rate))), NO_KNOWLEDGE)
    return ln_rate + np.where(side == 0, own[:, None], 0.0) * rng.standard_normal(ln_rate.shape), side


def _holdout(law: Law, seen: Observations, scatter: float) -> float | None:
    """Fit without the largest quarter of the batch sizes and return the error there, in octaves."""
    n, k = len(seen.ln_batch), len(law.parameters)
    held = max(1, round(n / 4))
    kept, rest = seen.take(np.arange(n - held)), seen.take(np.arange(n - held, n))
    if int(kept.measured.sum()) < max(k, 2) or not rest.measured.any():
        return None
    point = fit_fixed(law, kept, scatter, search_box(law, kept))
    error = law.ln_rate(rest.ln_batch, law.from_coordinates(point)) - rest.ln_rate
    return float(np.sqrt(np.mean(error[rest.measured] ** 2)) / np.log(2.0))


def unknown_parameters(law: Law) -> tuple[Estimate, ...]:
    """Return estimates without numbers, of a fit that failed."""
    return tuple(Estimate(parameter=p, value=None, low=None, high=None, status="failed") for p in law.parameters)


def estimate_parameters(law: Law, point: Array, drawn: Array, seen: Observations, box: Box) -> tuple[Estimate, ...]:
    """Return every parameter's value, interval and status; what leaves the reach of the data has no number.

    Args:
        law: what was fitted.
        point: its coordinates, shape (k,).
        drawn: those of the resamples, shape (draws, k).
        seen: says how far the data reach.
        box: from ``search_box``.
    """
    lower, upper = box
    result = []
    for i, parameter in enumerate(law.parameters):
        low_wall, high_wall = lower[i], upper[i]
        if parameter.reach == "learning_rate":
            low_wall = parameter.to_coordinate(np.exp(seen.ln_rate.min()) / RATE_REACH)
            high_wall = parameter.to_coordinate(np.exp(seen.ln_rate.max()) * RATE_REACH)
        slack = 1e-6
        values = np.where(drawn[:, i] >= high_wall - slack, np.inf, drawn[:, i])
        values = np.sort(np.where(values <= low_wall + slack, -np.inf, values))
        low, high = (float(values[round(level * (len(values) - 1))]) for level in (TAIL, 1.0 - TAIL))
        value = float(point[i])
        beyond_high, beyond_low = value >= high_wall - slack, value <= low_wall + slack
        low, high = min(low, value), max(high, value)
        status: FitStatus = "ok"
        if beyond_high or np.isposinf(high):
            status = "unbounded_high"
        if beyond_low or (np.isneginf(low) and not beyond_high):
            status = "unbounded_low" if not (parameter.reach == "shape" and parameter.bounds[0] < 0) else "at_bound"
        result.append(
            Estimate(
                parameter=parameter,
                value=None if beyond_high or beyond_low else float(parameter.from_coordinate(value)),
                low=float(parameter.from_coordinate(low)) if np.isfinite(low) and not beyond_low else None,
                high=float(parameter.from_coordinate(high)) if np.isfinite(high) and not beyond_high else None,
                status=status,
            )
        )
    return tuple(result)
