"""The part of an analysis that is about one sweep: what a section of the report is made from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pandas as pd

from ..figures import Outcome, describe_outcome
from ..study_analysis import Analysis


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sweep:
    """One sweep. ``verdict`` and ``tradeoff`` are its one row of these tables, or None without one."""

    number: int
    name: str
    outcome: Outcome
    trials: pd.DataFrame
    tables: Analysis
    verdict: Mapping[str, Any] | None
    tradeoff: Mapping[str, Any] | None


def split_sweeps(analysis: Analysis, trials: pd.DataFrame) -> list[Sweep]:
    """Return the analysed sweeps in the order of ``analysis.outcomes``, each with its trials and curves."""
    sweeps = []
    for number, (name, outcome) in enumerate(analysis.outcomes.items(), start=1):
        own = trials[trials["sweep"].astype(str) == name]
        tables = analysis.select(name)
        curves = analysis.curves[analysis.curves["trial_id"].isin(own["trial_id"])]
        sweeps.append(
            Sweep(
                number=number,
                name=name,
                outcome=describe_outcome(own, outcome),
                trials=own,
                tables=dataclasses.replace(tables, curves=curves),
                verdict=_only_row(tables.verdicts),
                tradeoff=_only_row(tables.tradeoff),
            )
        )
    return sweeps


def _only_row(table: pd.DataFrame) -> Mapping[str, Any] | None:
    return None if table.empty else {str(name): value for name, value in table.iloc[0].items()}
