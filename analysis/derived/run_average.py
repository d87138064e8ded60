"""One law for a run: the geometric mean of what its probes say.

A sweep holds its rate (or the peak of its schedule) for a whole run while the one-step optimum drifts, so that the
fitted optimum is some mean over the run; which one is not known. The geometric mean gives every probe the same say, and
the drift between probes is no part of the interval: it is noise of the measurements alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..law import Array
from ..mean_draws import summarise_positive
from .derived_law import DerivedLaw


def run_average(laws: Sequence[DerivedLaw]) -> list[DerivedLaw]:
    """Return one law a derivation, the mean over its probe points (all runs and steps), in order of appearance.

    Only points enter at which most of the batch sizes that are resolved anywhere are resolved; a batch size that is
    open at one of them stays open. If there is no such point, the derivation's first point stands with its own reason.
    """
    names = list(dict.fromkeys(law.derivation for law in laws))
    return [_mean([law for law in laws if law.derivation == name]) for name in names]


def _mean(laws: list[DerivedLaw]) -> DerivedLaw:
    ladder = np.unique(np.concatenate([law.batch_size for law in laws]))
    resolved = np.array([_resolved(law, ladder) for law in laws], dtype=bool).reshape(len(laws), len(ladder))
    wanted = resolved.any(axis=0)
    used = [
        law
        for law, known in zip(laws, resolved, strict=True)
        if wanted.any() and 2 * int(known[wanted].sum()) >= int(wanted.sum())
    ]
    first = used[0] if used else next((law for law in laws if not law.missing), laws[0])
    trial_id = first.trial_id if len({law.trial_id for law in laws}) == 1 else ""
    if not used:
        return DerivedLaw(
            derivation=first.derivation,
            law=first.law,
            trial_id=trial_id,
            step=None,
            batch_size=first.batch_size,
            rates=np.full((2, len(first.batch_size)), np.nan),
            missing=first.missing,
            doubt="" if first.missing else first.doubt or "no probe of the run resolves it",
        )
    return DerivedLaw(
        derivation=first.derivation,
        law=first.law,
        trial_id=trial_id,
        step=None,
        batch_size=ladder,
        rates=_geometric([law.at(ladder) for law in used]),
        parameters={
            name: np.mean([law.parameters[name] for law in used], axis=0)
            if name in first.signed
            else _geometric([law.parameters[name] for law in used])
            for name in first.parameters
        },
        signed=first.signed,
    )


def _resolved(law: DerivedLaw, ladder: Array) -> list[bool]:
    samples = law.at(ladder)
    return [not law.missing and not law.doubt and summarise_positive(samples[:, j]).bounded for j in range(len(ladder))]


def _geometric(samples: Sequence[Array]) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):  # zero and infinity stay open ends
        return np.exp(np.mean(np.log(np.stack(list(samples))), axis=0))
