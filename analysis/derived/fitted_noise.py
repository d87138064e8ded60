"""Which fitted noise scale is set beside that of the probes."""

from __future__ import annotations

import pandas as pd

from ..laws import LAWS
from . import DERIVATIONS
from .optimizer import Optimizer
from .three_way import NOISE_SCALES


def fitted_noise_scale(optimizer: Optimizer, fits: pd.DataFrame | None) -> tuple[str, float]:
    """Return the fitted law whose noise scale is set beside the probes', and the factor that the probes' take.

    Of the laws that derivations for the optimiser name it is the first whose noise scale is fitted with an interval, or
    the first at all, in the order of how few optimisers a derivation is for; ``saturating`` where none names one. The
    factor is one for a law of the gradients before they are averaged (``B_simple``), else the ``noise_factor``.

    Args:
        optimizer: of the sweep.
        fits: rows of one sweep with ``fit_tables.FIT_COLUMNS``.
    """
    own = [found for found in DERIVATIONS.values() if optimizer.name in found.optimizers and found.law]
    named = [str(found.law) for found in sorted(own, key=lambda found: len(found.optimizers))] or ["saturating"]
    resolved = set()
    if fits is not None:
        resolved = set(fits.loc[fits["parameter"].isin(NOISE_SCALES) & (fits["status"] == "ok"), "law"])
    law = next((name for name in named if name in resolved), named[0])
    is_plain = law in LAWS and any(parameter.name == "B_simple" for parameter in LAWS[law].parameters)
    return law, 1.0 if is_plain else optimizer.noise_factor
