"""One law for a sweep: the geometric mean of what its probes say, first over the points of a run, then over the runs.

A sweep holds its rate (or the peak of its schedule) for a whole run while the one-step optimum drifts, so that the
fitted optimum is some mean over the run; which one is not known. The geometric mean gives every probe the same say, and
the drift between probes is no part of the interval: it is noise of the measurements alone, which are independent
between points and between runs.

Over the points of a run, or over runs that have the same batch sizes (as a closed form has in every run), a law is one
curve: only those enter at which most of the batch sizes that are resolved anywhere are resolved, and a batch size that
is open at one of them stays open. Were another set averaged at every batch size, a drift of the level would look like a
bend.

A direct law has the batch sizes that its run was probed at, often the run's own alone. Over runs with different batch
sizes each one is averaged over the runs that resolve it; a run that was not probed at a batch size says nothing of it,
not even between two that it has.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from ..law import Array
from ..mean_draws import summarise_positive
from .derived_law import DerivedLaw


def run_average(laws: Sequence[DerivedLaw]) -> list[DerivedLaw]:
    """Return one law a derivation, the mean over its probe points and runs, in order of appearance.

    Its ``step`` is None and its ``trial_id`` empty if it is of several runs. If nothing is resolved anywhere, it has no
    number and the reason of the first.
    """
    names = list(dict.fromkeys(law.derivation for law in laws))
    return [_over_runs([law for law in laws if law.derivation == name]) for name in names]


def _over_runs(laws: list[DerivedLaw]) -> DerivedLaw:
    by_run: dict[str, list[DerivedLaw]] = {}
    for law in laws:
        by_run.setdefault(law.trial_id, []).append(law)
    runs = [_one_curve(points) for points in by_run.values()]
    measured = [law for law in runs if not law.missing] or runs[:1]
    alike = all(np.array_equal(law.batch_size, measured[0].batch_size) for law in measured)
    found = _one_curve(measured) if alike else _pieces(measured)
    return dataclasses.replace(found, trial_id=runs[0].trial_id if len(runs) == 1 else "")


def _one_curve(laws: list[DerivedLaw]) -> DerivedLaw:
    """Return the mean of curves: of those that resolve most of what any resolves."""
    first = next((law for law in laws if not law.missing), laws[0])
    if len(laws) == 1:
        return dataclasses.replace(first, step=None)
    ladder = np.unique(np.concatenate([law.batch_size for law in laws]))
    resolved = np.array([_resolved(law, ladder) for law in laws], dtype=bool).reshape(len(laws), len(ladder))
    wanted = resolved.any(axis=0)
    used = [
        law
        for law, known in zip(laws, resolved, strict=True)
        if wanted.any() and 2 * int(known[wanted].sum()) >= int(wanted.sum())
    ]
    if not used:
        return dataclasses.replace(
            first,
            step=None,
            rates=np.full((2, len(first.batch_size)), np.nan),
            parameters={},
            doubt="" if first.missing else first.doubt or "no probe of the run resolves it",
        )
    first = used[0]
    return dataclasses.replace(
        first,
        step=None,
        batch_size=ladder,
        rates=_geometric([law.at(ladder) for law in used]),
        parameters={
            name: np.mean([law.parameters[name] for law in used], axis=0)
            if name in first.signed
            else _geometric([law.parameters[name] for law in used])
            for name in first.parameters
        },
    )


def _pieces(laws: list[DerivedLaw]) -> DerivedLaw:
    """Return the mean at each batch size over the laws that resolve it, of laws with different batch sizes."""
    ladder = np.unique(np.concatenate([law.batch_size for law in laws]))
    columns: list[Array] = []
    reasons: dict[float, str] = {}
    for b in ladder:
        own = [law for law in laws if b in law.batch_size]
        known = [law for law in own if _resolved(law, np.array([b]))[0]]
        columns.append(_geometric([law.at(b)[:, 0] for law in known]) if known else np.empty(0))
        if not known:
            found = summarise_positive(own[0].at(b)[:, 0])
            reasons[float(b)] = own[0].status_of(found, batch_size=float(b))[1]
    count = max(2, *(len(column) for column in columns))
    return DerivedLaw(
        derivation=laws[0].derivation,
        law=laws[0].law,
        trial_id="",
        step=None,
        batch_size=ladder,
        rates=np.stack([column if len(column) else np.full(count, np.nan) for column in columns], axis=1),
        reasons=reasons,
    )


def _resolved(law: DerivedLaw, ladder: Array) -> list[bool]:
    samples = law.at(ladder)
    return [not law.missing and not law.doubt and summarise_positive(samples[:, j]).bounded for j in range(len(ladder))]


def _geometric(samples: Sequence[Array]) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):  # zero and infinity stay open ends
        return np.exp(np.mean(np.log(np.stack(list(samples))), axis=0))
