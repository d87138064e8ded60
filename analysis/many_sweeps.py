"""The analysis of many sweeps, one after the other."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import pandas as pd

from .cells import Outcome
from .study_analysis import TABLES, Analysis, analyse


def analyse_each(
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    *,
    outcomes: Mapping[str, Outcome],
    seed: int = 0,
    done: Callable[[], object] = lambda: None,
) -> Analysis:
    """Return what ``study_analysis.analyse`` returns for all sweeps together, and call ``done`` after each sweep.

    Sweeps share no draws, so that each can be analysed with its own rows in hand alone.
    """
    parts = []
    by_sweep = dict(iter(trials.groupby("sweep", sort=False)))
    for sweep, outcome in outcomes.items():
        parts.append(analyse(by_sweep[sweep], curves, outcomes={sweep: outcome}, seed=seed))
        done()
    tables = {name: _stack([getattr(part, name) for part in parts]) for name in TABLES}
    return dataclasses.replace(parts[0], outcomes=dict(outcomes), curves=curves, **tables)


def _stack(frames: list[pd.DataFrame]) -> pd.DataFrame:
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else frames[0]
