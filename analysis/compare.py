"""Which law the data support: a name only where the rivals are rejected, and what would decide where they are not."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from .design_advice import edge_advice, separating_trials, smallest_detectable_surge
from .fit import FitResult
from .fit_tables import Fits, akaike_weights
from .laws import LAWS
from .observations import Observations, observe

VERDICT_COLUMNS = ("sweep", "verdict", "reason", "smallest_detectable_surge", "suggested_trials")
UNDETERMINED = "undetermined"

FEWEST_BATCH_SIZES = 4
REJECTED = 6.0
"""A law is rejected by another as simple as itself if its likelihood is 20 times lower (twice the logarithm is 6)."""
SIGNIFICANT = 3.84
"""Gain in twice the ln likelihood per extra parameter that chance makes in one case of 20."""
TOLERANCE = 0.5 * np.log(2.0)
"""Half an octave: curves that stay this close on the grid are the same for whoever sets a rate."""
WORST_SCATTER = 0.5 * np.log(2.0)
"""A law from which the optima stray by more than half an octave beyond their intervals is no law of these data."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """A law's name or ``undetermined``, why, the smallest surge that the grid could show, and what to run next.

    ``smallest_detectable_surge`` is the relative fall of the best rate from its peak to the largest batch size (0.2 is
    20 %) that the intervals of the optima could not hide; None if there are no two optima. ``suggested_trials`` is
    empty where nothing is missing.
    """

    verdict: str
    reason: str
    smallest_detectable_surge: float | None
    suggested_trials: str


_NOTHING = Verdict(
    verdict=UNDETERMINED,
    reason="there is no trial that can be used.",
    smallest_detectable_surge=None,
    suggested_trials="look at the messages of the failed trials, then run the sweep again",
)


def compare(fits: Fits, optima: pd.DataFrame, *, sweeps: Sequence[str] | None = None) -> pd.DataFrame:
    """Return one verdict for each of ``sweeps`` (all that are fitted, if left out) with ``VERDICT_COLUMNS``."""
    rows: list[dict[str, object]] = []
    for sweep in fits if sweeps is None else sweeps:
        verdict = decide(fits[sweep], optima[optima["sweep"] == sweep]) if sweep in fits else _NOTHING
        rows.append({"sweep": sweep, **dataclasses.asdict(verdict)})
    table = pd.DataFrame(rows, columns=list(VERDICT_COLUMNS))
    return table.astype({"smallest_detectable_surge": float})


def decide(fits: Mapping[str, FitResult], optima: pd.DataFrame) -> Verdict:
    """Choose between the laws fitted to one sweep.

    The law with the lowest AICc is named if every rival is rejected: one as simple or simpler by the likelihood, one
    that contains it by adding nothing significant and by staying close to it on the grid in all of its resamples, any
    other one by AICc and likelihood together. The law must also fit, and predict the largest batch sizes about as well
    as any other does.
    """
    seen = observe(
        **{name: optima[name].to_numpy() for name in ("batch_size", "learning_rate", "low", "high", "status")}
    )
    surge = smallest_detectable_surge(seen)
    edges = edge_advice(optima)
    measured = int(seen.measured.sum())
    if len(seen.ln_batch) < FEWEST_BATCH_SIZES or measured < FEWEST_BATCH_SIZES - 1:
        total = optima["batch_size"].nunique()
        reason = (
            f"only {measured} of {total} batch sizes have an optimum inside the tested rates; laws are compared where "
            f"{FEWEST_BATCH_SIZES} optima are known, three of them as more than bounds"
        )
        more = (
            f"at least {FEWEST_BATCH_SIZES + 2} batch sizes a factor of 2 apart x five rates a factor of 2 apart "
            "around the best rate of each"
        )
        return Verdict(
            verdict=UNDETERMINED,
            reason=f"{reason}.",
            smallest_detectable_surge=surge,
            suggested_trials="; ".join([*edges, more]),
        )
    compared = {n: f for n, f in fits.items() if f.ln_likelihood is not None and f.law.same_curves_as is None}
    weights = akaike_weights(compared)
    best = max(weights, key=lambda name: weights[name])
    rivals = [name for name in compared if name != best and not _rejected(compared[name], compared[best], seen)]
    rivals.sort(key=lambda name: -weights.get(name, 0.0))
    power_stands = best in (*LAWS["power"].limits, "power") or "power" in rivals
    facts = _facts(compared, seen, surge, power_stands=power_stands)
    objection = _objection(compared, best)
    chosen = compared[best]
    support = f"{best} has the Akaike weight {weights[best]:.2f}{_holdout_text(chosen)}"
    if not rivals and objection is None:
        return Verdict(
            verdict=best,
            reason=". ".join([support, *facts]) + ".",
            smallest_detectable_surge=surge,
            suggested_trials="; ".join(edges),
        )
    doubts = [f"{', '.join(rivals)} {'is' if len(rivals) == 1 else 'are'} not rejected"] if rivals else []
    doubts += [objection] if objection is not None else []
    advice = separating_trials(chosen, compared[rivals[0]] if rivals else None, seen)
    return Verdict(
        verdict=UNDETERMINED,
        reason=". ".join([f"{support}, but {' and '.join(doubts)}", *facts]) + ".",
        smallest_detectable_surge=surge,
        suggested_trials="; ".join([*edges, advice]),
    )


def _rejected(rival: FitResult, best: FitResult, seen: Observations) -> bool:
    assert rival.ln_likelihood is not None
    assert best.ln_likelihood is not None
    worse_by = 2.0 * (best.ln_likelihood - rival.ln_likelihood)
    extra = len(rival.law.parameters) - len(best.law.parameters)
    if extra <= 0:
        return worse_by >= REJECTED
    if best.law.name in rival.law.limits:
        middle = best.law.ln_rate(seen.ln_batch, best.values)
        apart = np.abs(rival.law.ln_rate(seen.ln_batch, rival.draws) - middle).max(axis=-1)
        return -worse_by < SIGNIFICANT * extra and float(np.quantile(apart, 0.9)) < TOLERANCE
    penalised = np.inf if rival.aicc is None or best.aicc is None else rival.aicc - best.aicc
    return penalised >= REJECTED and worse_by >= -SIGNIFICANT * extra


def _objection(fits: Mapping[str, FitResult], best: str) -> str | None:
    """Return why even the best law is not to be trusted, or None."""
    chosen = fits[best]
    assert chosen.extra_scatter is not None
    if chosen.extra_scatter > WORST_SCATTER:
        return f"the optima stray from it by a factor of {np.exp(chosen.extra_scatter):.2g} beyond their intervals"
    errors = {name: fit.holdout_error_log2 for name, fit in fits.items() if fit.holdout_error_log2 is not None}
    if errors and chosen.holdout_error_log2 is not None:
        least = min(errors, key=lambda name: errors[name])
        if chosen.holdout_error_log2 > 2.0 * errors[least] + 0.25:
            return f"{least} predicts the largest batch sizes better ({errors[least]:.2f} octaves off)"
    return None


def _holdout_text(fit: FitResult) -> str:
    if fit.holdout_error_log2 is None:
        return ""
    return f" and misses the largest batch sizes, held out, by {fit.holdout_error_log2:.2f} octaves"


def _facts(fits: Mapping[str, FitResult], seen: Observations, surge: float | None, *, power_stands: bool) -> list[str]:
    """Return what holds whatever the verdict: the exponent, bounds among the optima, the surge that could hide."""
    facts = []
    power = fits.get("power")
    if power is not None and power.status != "failed":
        exponent = power.estimates[1]
        if exponent.value is not None and exponent.low is not None and exponent.high is not None:
            rules = {"constant": 0.0, "sqrt": 0.5, "linear": 1.0}
            inside = [name for name, p in rules.items() if exponent.low <= p <= exponent.high]
            outside = [name for name in rules if name not in inside]
            text = [f"{_listed(inside)} inside"] if inside else []
            text += [f"{_listed(outside)} rejected"] if outside else []
            number = f"{exponent.value:.2f} [{exponent.low:.2f}, {exponent.high:.2f}]"
            # An exponent of data that follow no power is a mean slope, and no rule is to be read off it.
            facts.append(
                f"The exponent is {number}: {', '.join(text)}"
                if power_stands
                else f"No single power fits; the mean exponent over these batch sizes is {number}"
            )
    bounds = int(np.sum(~seen.measured))
    if bounds:
        facts.append(f"{bounds} of {len(seen.ln_batch)} optima lie at the edge of the tested rates and count as bounds")
    if surge is not None:
        facts.append(f"A fall of the best rate beyond a peak by less than {100 * surge:.0f} % could not have been seen")
    return facts


def _listed(names: list[str]) -> str:
    text = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{text} {'is' if len(names) == 1 else 'are'}"
