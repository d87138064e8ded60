"""The best learning rate of a batch size that was not tried, with an interval that holds the choice between laws.

Laws are averaged by the Akaike weights of the plain criterion, twice the ln likelihood against twice the parameters.
The verdict's AICc adds a term for small samples, which at six batch sizes leaves next to nothing to any law of two
parameters: right for naming a law, but as weights of an average it made intervals that held the truth in a quarter of
simulated sweeps where the plain weights did in nine of ten (``tests/analysis/test_prediction_coverage.py``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd

from .compare import FEWEST_BATCH_SIZES, Verdict, decide
from .errors import TableError
from .fit import FitResult
from .fit_tables import fit_laws
from .intervals import TAIL
from .law import Array, Law
from .laws import LAWS
from .optimum import locate_optima

FAR = 4.0
"""A batch size further than this factor from the tested ones is called an extrapolation."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class KnownPair:
    """A learning rate that is known to be good at a batch size, in examples per step over all devices."""

    batch_size: float
    learning_rate: float

    def __post_init__(self) -> None:
        """Refuse numbers that are not positive and finite."""
        for name in ("batch_size", "learning_rate"):
            require_positive(getattr(self, name), f"the known pair's {name}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepFit:
    """All laws fitted to one sweep: ``optima`` has ``OPTIMUM_COLUMNS``, ``fits`` goes by the laws' names."""

    sweep: str
    outcome: str
    optima: pd.DataFrame
    fits: Mapping[str, FitResult]
    verdict: Verdict

    @property
    def tested(self) -> tuple[float, float] | None:
        """Return the smallest and largest batch size with an optimum or a bound; None without any."""
        known = self.optima.loc[self.optima["status"] != "unresolved", "batch_size"]
        return (float(known.min()), float(known.max())) if len(known) else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class LawShare:
    """What one law says: its weight (None if it takes no part in the choice), its rate and 95 % interval."""

    law: str
    weight: float | None
    learning_rate: float
    low: float | None
    high: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prediction:
    """The rate for a batch size.

    Attributes:
        sweep: which sweep answers; empty where a law alone does.
        outcome: by what its best rates were chosen.
        batch_size: examples per step over all devices.
        status: ``ok``, or ``refused`` where the data can't carry a rate; then there are no numbers.
        reason: why it was refused; empty otherwise.
        learning_rate: geometric mean of the laws' rates, by their weights.
        low: lower end of the 95 % interval of all laws' resamples together, weighted; None where a law was assumed.
        high: its upper end.
        laws: what each law says, the largest weight first; one law if it was asked for.
        verdict: a law's name or ``undetermined``; empty where a law was assumed.
        tested: smallest and largest batch size behind the fit.
        pair: the known pair whose rate was moved along the laws' shape.
    """

    sweep: str
    outcome: str
    batch_size: float
    status: Literal["ok", "refused"]
    reason: str = ""
    learning_rate: float | None = None
    low: float | None = None
    high: float | None = None
    laws: tuple[LawShare, ...] = ()
    verdict: str = ""
    tested: tuple[float, float] | None = None
    pair: KnownPair | None = None

    @property
    def beyond(self) -> float:
        """Return by which factor the batch size lies outside the tested ones: 1 inside, 2 at twice the largest."""
        if self.tested is None:
            return 1.0
        return max(1.0, self.tested[0] / self.batch_size, self.batch_size / self.tested[1])


def fit_sweeps(
    cells: pd.DataFrame, *, seed: int = 0, resamples: int = 200, laws: Mapping[str, Law] | None = None
) -> dict[str, SweepFit]:
    """Fit all laws to cells; the same cells and seed give the numbers and draws that the analysis reported.

    Args:
        cells: rows with ``cells.CELL_COLUMNS``, of any number of sweeps.
        seed: decides the resampling.
        resamples: draws, at least 40.
        laws: name -> law; if left out, those that are compared: none that repeats another's curves.
    """
    if laws is None:
        laws = {name: law for name, law in LAWS.items() if law.same_curves_as is None}
    optima = locate_optima(cells, seed=seed, resamples=resamples)
    outcomes = cells.groupby("sweep")["outcome_name"].first()
    answers = {}
    for sweep, fits in fit_laws(optima, laws=laws, seed=seed).items():
        own = optima.table[optima.table["sweep"].astype(str) == sweep].reset_index(drop=True)
        answers[sweep] = SweepFit(
            sweep=sweep, outcome=str(outcomes[sweep]), optima=own, fits=fits, verdict=decide(fits, own)
        )
    return answers


def predict_rate(
    fit: SweepFit, *, batch_size: float, pair: KnownPair | None = None, law: str | None = None
) -> Prediction:
    """Return the rate at ``batch_size``, averaged over the laws by their weights (``law_weights``).

    The interval is that of the laws' resamples taken together, so that it widens where the laws part. With ``pair``
    only the fitted shape is used: rate(batch_size) / rate(pair.batch_size), both from the same resample, times the
    known rate.

    Args:
        fit: the sweep's laws.
        batch_size: examples per step over all devices.
        pair: a rate known to be good in the setting that the answer is for.
        law: use this law alone; the interval then leaves the choice out.

    Raises:
        TableError: for a batch size that is not positive and finite, or a law that is not fitted.
    """
    require_positive(batch_size, "the batch size")
    common = Prediction(
        sweep=fit.sweep,
        outcome=fit.outcome,
        batch_size=float(batch_size),
        status="refused",
        verdict=fit.verdict.verdict,
        tested=fit.tested,
        pair=pair,
    )
    if law is not None and law not in fit.fits:
        raise TableError(f"the law must be one of {', '.join(fit.fits)}, but got {law!r}")
    if not (fit.optima["status"] == "interior").any():
        return dataclasses.replace(common, reason=_no_optimum(fit.optima))
    weights = law_weights(fit.fits)
    known = int((fit.optima["status"] != "unresolved").sum())
    if law is None and (known < FEWEST_BATCH_SIZES or not weights):
        return dataclasses.replace(
            common,
            reason=f"laws are weighed where at least {FEWEST_BATCH_SIZES} batch sizes have a best rate or a bound, but "
            f"there are {known}; run more batch sizes, or choose a law yourself",
        )
    if law is not None and fit.fits[law].status == "failed":
        return dataclasses.replace(
            common, reason=f"{law} has more parameters than there are batch sizes with a best rate"
        )
    used = {law: 1.0} if law is not None else weights
    drawn = {name: _ln_rates(fit.fits[name], batch_size, pair) for name in used}
    shares = [
        LawShare(law=name, weight=weights.get(name), **_summary(point, draws)) for name, (point, draws) in drawn.items()
    ]
    mean = float(sum(weight * drawn[name][0] for name, weight in used.items()))
    pooled = np.concatenate([drawn[name][1] for name in used])
    each = np.concatenate([np.full(len(drawn[name][1]), w / len(drawn[name][1])) for name, w in used.items()])
    low, high = np.quantile(pooled, [TAIL, 1.0 - TAIL], weights=each, method="inverted_cdf")
    return dataclasses.replace(
        common,
        status="ok",
        learning_rate=float(np.exp(mean)),
        low=float(np.exp(min(low, mean))),
        high=float(np.exp(max(high, mean))),
        laws=tuple(sorted(shares, key=lambda share: -(share.weight or 0.0))),
    )


def law_weights(fits: Mapping[str, FitResult]) -> dict[str, float]:
    """Return the laws' weights in the average; laws that repeat another's curves or could not be fitted have none."""
    criterion = {
        # The scatter beyond the intervals is fitted too.
        name: fit.ln_likelihood - (len(fit.law.parameters) + 1)
        for name, fit in fits.items()
        if fit.ln_likelihood is not None and fit.law.same_curves_as is None
    }
    most = max(criterion.values(), default=0.0)
    relative = {name: float(np.exp(value - most)) for name, value in criterion.items()}
    total = sum(relative.values())
    return {name: value / total for name, value in relative.items()}


def _ln_rates(fit: FitResult, batch_size: float, pair: KnownPair | None) -> tuple[float, Array]:
    """Return the ln rate by the fitted parameters, and by those of every resample, shape (draws,)."""
    point, draws = (fit.law.ln_rate(np.log([batch_size]), values)[..., 0] for values in (fit.values, fit.draws))
    if pair is None:
        return float(point), draws
    at_pair = np.log([pair.batch_size])
    known = np.log(pair.learning_rate)
    moved = [
        there - fit.law.ln_rate(at_pair, values)[..., 0] + known
        for there, values in ((point, fit.values), (draws, fit.draws))
    ]
    return float(moved[0]), np.asarray(moved[1])


def _summary(point: float, draws: Array) -> dict[str, float]:
    low, high = np.quantile(draws, [TAIL, 1.0 - TAIL])
    return {
        "learning_rate": float(np.exp(point)),
        "low": float(np.exp(min(low, point))),
        "high": float(np.exp(max(high, point))),
    }


def _no_optimum(optima: pd.DataFrame) -> str:
    counts = optima["status"].value_counts()
    said = {"edge_low": "only an upper bound", "edge_high": "only a lower bound", "unresolved": "nothing"}
    parts = [
        f"{counts[name]} of {len(optima)} batch sizes give {words}" for name, words in said.items() if name in counts
    ]
    return f"no best rate lies inside the tested rates: {', '.join(parts)}; widen the rates where they are at the edge"


def require_positive(value: float, name: str) -> None:
    """Refuse a number of the user's that is not positive and finite."""
    if not (np.isfinite(value) and value > 0):
        raise TableError(f"{name} must be positive and finite, but got {value:g}")
