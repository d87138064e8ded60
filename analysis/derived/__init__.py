"""The derivations, one a file; adding one takes a file and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import pandas as pd
from numpy.typing import ArrayLike

from ..mean_draws import RESAMPLES
from ..noise_scale import Constants, measure_constants
from . import line_search, one_step
from .adam_ema import AdamEmaDerivation
from .adam_epsilon import AdamEpsilonDerivation
from .derivation import Derivation
from .derived_law import DerivedLaw, derive_closed_form, derived_parameters_table, derived_table
from .half_power import HalfPowerDerivation
from .line_search import line_search_law
from .muon import MuonDerivation
from .one_step import one_step_law
from .optimizer import Optimizer
from .run_average import run_average
from .saturating import SaturatingDerivation
from .surge import SurgeDerivation, SurgeMeanFieldDerivation

DERIVATIONS: Mapping[str, Derivation] = MappingProxyType(
    {
        derivation.name: derivation
        for derivation in (
            SaturatingDerivation(),
            HalfPowerDerivation(),
            SurgeDerivation(),
            SurgeMeanFieldDerivation(),
            AdamEmaDerivation(),
            AdamEpsilonDerivation(),
            MuonDerivation(),
        )
    }
)
"""Name -> closed form, in the order of the tables."""

DIRECT: Mapping[str, str] = MappingProxyType({one_step.NAME: one_step.ASSUMES, line_search.NAME: line_search.ASSUMES})
"""Name -> what it assumes, of the derivations without a closed form; they are for any optimiser."""


def derive_laws(
    rows: pd.DataFrame,
    *,
    optimizer: Optimizer,
    batch_sizes: ArrayLike,
    derivations: Mapping[str, Derivation] = DERIVATIONS,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> list[DerivedLaw]:
    """Return every derivation that is for the optimiser, at every probe point of the whole model.

    The direct ones (``DIRECT``) come first; they have the batch sizes of the probe, the closed forms ``batch_sizes``.

    Args:
        rows: raw rows of probes, see ``probe_rows.read_points``.
        optimizer: the one whose rate is asked for.
        batch_sizes: in examples per step, shape (n,).
        derivations: closed forms by name.
        seed: decides the samples.
        resamples: samples of every mean.

    Raises:
        ValueError: for batch sizes that are not positive, or rows without a column.
    """
    laws: list[DerivedLaw] = []
    for constants in measure_constants(rows, seed=seed, resamples=resamples):
        laws += [one_step_law(constants), line_search_law(constants)]
        laws += [
            derive_closed_form(derivation, constants, optimizer=optimizer, batch_sizes=batch_sizes)
            for derivation in derivations.values()
            if optimizer.name in derivation.optimizers
        ]
    return laws


__all__ = [
    "DERIVATIONS",
    "DIRECT",
    "Constants",
    "Derivation",
    "DerivedLaw",
    "Optimizer",
    "derive_closed_form",
    "derive_laws",
    "derived_parameters_table",
    "derived_table",
    "line_search_law",
    "one_step_law",
    "run_average",
]
