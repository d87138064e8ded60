"""η*(B) as derived at one probe point, with the samples that carry its uncertainty on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ..law import Array
from ..mean_draws import Estimate, summarise, summarise_positive
from ..noise_scale import Constants
from ..noise_status import NOT_MEASURED, ONE_DRAW
from .derivation import Derivation
from .optimizer import Optimizer

DERIVED_COLUMNS = (
    "trial_id",
    "step",  # <NA> for the mean over the probes of a run
    "derivation",
    "batch_size",
    "learning_rate",
    "low",
    "high",
    "status",  # ok | not_resolved | not_measured
    "reason",
)
DERIVED_PARAMETER_COLUMNS = ("trial_id", "step", "derivation", "parameter", "value", "low", "high", "status", "reason")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DerivedLaw:
    """One derivation at one probe point.

    Attributes:
        derivation: its name.
        law: name of the fitted law with the same parameters, if there is one.
        trial_id: the run.
        step: optimiser steps before the probe; None for the mean over the probes of a run.
        batch_size: in examples per step, ascending, shape (n,).
        rates: η*, the value first and then samples of what it may be, shape (1 + resamples, n).
        parameters: name -> value and samples, shape (1 + resamples,).
        signed: names of parameters that may be negative.
        missing: why there is nothing; empty where there is.
        doubt: why the rates are not to be trusted; empty where they are.
        reasons: batch size -> why its rate is not resolved, where more is known than the interval says.
    """

    derivation: str
    law: str | None
    trial_id: str
    step: int | None
    batch_size: Array
    rates: Array
    parameters: Mapping[str, Array] = dataclasses.field(default_factory=dict)
    signed: frozenset[str] = frozenset()
    missing: str = ""
    doubt: str = ""
    reasons: Mapping[float, str] = dataclasses.field(default_factory=dict)

    def at(self, batch_size: ArrayLike) -> Array:
        """Return the samples at batch sizes of shape (n,), on straight lines in ln rate against ln B between its own.

        NaN outside, shape (1 + resamples, n).
        """
        wanted = np.atleast_1d(np.asarray(batch_size, dtype=float))
        result = np.full((len(self.rates), len(wanted)), np.nan)
        own = self.batch_size
        if not len(own):
            return result
        right = np.searchsorted(own, wanted)
        for j, (b, i) in enumerate(zip(wanted, right, strict=True)):
            if i < len(own) and own[i] == b:
                result[:, j] = self.rates[:, i]
            elif 0 < i < len(own):
                share = np.log(b / own[i - 1]) / np.log(own[i] / own[i - 1])
                with np.errstate(divide="ignore", invalid="ignore"):  # open samples stay open
                    ln_rate = (1.0 - share) * np.log(self.rates[:, i - 1]) + share * np.log(self.rates[:, i])
                result[:, j] = np.exp(ln_rate)
        return result

    def status_of(self, found: Estimate, *, batch_size: float | None = None) -> tuple[str, str]:
        """Return the status of a number of this law, and the reason where it is not ok."""
        if self.missing:
            return "not_measured", self.missing
        if self.doubt:
            return "not_resolved", self.doubt
        if found.bounded:
            return "ok", ""
        if batch_size is not None and batch_size in self.reasons:
            return "not_resolved", self.reasons[batch_size]
        if np.isfinite(found.value) and not np.isfinite(self.rates[1:]).any():
            return "not_resolved", ONE_DRAW
        if not np.isfinite(found.value):
            return "not_resolved", "the averages give no positive and finite value"
        ends = [name for name, end in (("lower", found.low), ("upper", found.high)) if not np.isfinite(end)]
        return "not_resolved", f"noise leaves no {' and no '.join(ends)} end"


def direct_law(
    name: str,
    constants: Constants,
    *,
    batch_sizes: Sequence[float],
    rates: Sequence[Array],
    reasons: Mapping[float, str],
) -> DerivedLaw:
    """Return the law of a derivation without a closed form.

    Args:
        name: of the derivation.
        constants: of the probe point.
        batch_sizes: at which something was measured, ascending.
        rates: at each of them the value and samples, shape (1 + resamples,).
        reasons: batch size -> why its rate is not resolved.
    """
    return DerivedLaw(
        derivation=name,
        law=None,
        trial_id=constants.point.trial_id,
        step=constants.point.step,
        batch_size=np.array(batch_sizes, dtype=float),
        rates=np.stack(list(rates), axis=1) if rates else np.empty((1, 0)),
        missing="" if rates else NOT_MEASURED,
        reasons=reasons,
    )


def derive_closed_form(
    derivation: Derivation, constants: Constants, *, optimizer: Optimizer, batch_sizes: ArrayLike
) -> DerivedLaw:
    """Return what a derivation says at one probe point; without numbers where a constant was not measured."""
    batch_size = np.unique(np.atleast_1d(np.asarray(batch_sizes, dtype=float)))
    wrong = batch_size[~(np.isfinite(batch_size) & (batch_size > 0))]
    if len(wrong):
        raise ValueError(f"batch_sizes must be positive and finite, but got {wrong[:3].tolist()}")
    absent = [name for name in derivation.needs if name not in constants.values]
    doubts = [constants.doubts[name] for name in derivation.needs if name in constants.doubts]
    rates, parameters = np.full((1, len(batch_size)), np.nan), {}
    if not absent:
        rates = derivation.rates(batch_size, constants.values, optimizer)
        parameters = derivation.parameters(constants.values, optimizer)
    return DerivedLaw(
        derivation=derivation.name,
        law=derivation.law,
        trial_id=constants.point.trial_id,
        step=constants.point.step,
        batch_size=batch_size,
        rates=rates,
        parameters=parameters,
        signed=derivation.signed,
        missing=f"{NOT_MEASURED}: {', '.join(absent)}" if absent else "",
        doubt=doubts[0] if doubts else "",
    )


def derived_table(laws: Sequence[DerivedLaw]) -> pd.DataFrame:
    """Return every derived rate with ``DERIVED_COLUMNS``."""
    rows = []
    for law in laws:
        for j, b in enumerate(law.batch_size):
            found = summarise_positive(law.rates[:, j])
            status, reason = law.status_of(found, batch_size=float(b))
            rows.append(
                _names(law)
                | {"batch_size": float(b), "learning_rate": found.value, "low": found.low, "high": found.high}
                | {"status": status, "reason": reason}
            )
    return pd.DataFrame(rows, columns=list(DERIVED_COLUMNS)).astype({"step": "Int64"})


def derived_parameters_table(laws: Sequence[DerivedLaw]) -> pd.DataFrame:
    """Return every derived parameter with ``DERIVED_PARAMETER_COLUMNS``."""
    rows = []
    for law in laws:
        for name in law.parameters:
            found = parameter_estimate(law, name)
            status, reason = law.status_of(found)
            rows.append(
                _names(law)
                | {"parameter": name, "value": found.value, "low": found.low, "high": found.high}
                | {"status": status, "reason": reason}
            )
    return pd.DataFrame(rows, columns=list(DERIVED_PARAMETER_COLUMNS)).astype({"step": "Int64"})


def parameter_estimate(law: DerivedLaw, name: str) -> Estimate:
    """Return a derived parameter with its interval."""
    samples = law.parameters[name]
    return summarise(samples) if name in law.signed else summarise_positive(samples)


def _names(law: DerivedLaw) -> dict[str, object]:
    return {"trial_id": law.trial_id, "step": pd.NA if law.step is None else law.step, "derivation": law.derivation}
