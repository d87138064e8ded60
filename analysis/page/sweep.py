"""The part of an analysis that is about one sweep: what a section of the report is made from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pandas as pd

from results import PROBE

from ..derived_study import DerivedStudy
from ..figures import Outcome, describe_outcome
from ..sentences import reaches_target
from ..study_analysis import Analysis


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sweep:
    """One sweep. ``verdict`` and ``tradeoff`` are its one row of these tables, or None without one.

    ``trials`` are those of the grid; ``derived`` is None where nothing was probed.
    """

    number: int
    name: str
    outcome: Outcome
    trials: pd.DataFrame
    tables: Analysis
    verdict: Mapping[str, Any] | None
    tradeoff: Mapping[str, Any] | None
    derived: DerivedStudy | None = None

    @property
    def has_rates(self) -> bool:
        """Return whether learning rates were compared; a table of steps alone has none."""
        return len(self.tables.cells) > 0 or len(self.tables.steps) == 0

    @property
    def has_target(self) -> bool:
        """Return whether steps to a target are worth showing: a sweep judged otherwise may have no target at all."""
        steps = self.tables.steps
        return len(steps) > 0 and (self.outcome.name == "steps_to_target" or reaches_target(steps))


def split_sweeps(analysis: Analysis, trials: pd.DataFrame, derived: DerivedStudy | None = None) -> list[Sweep]:
    """Return the analysed sweeps in the order of ``analysis.outcomes``, each with its trials, curves and derived laws.

    Probe runs are no trials of a grid: they have their own tables.
    """
    sweeps = []
    probed = [] if derived is None else derived.sweeps
    if "purpose" in trials.columns:
        trials = trials[trials["purpose"].astype(str) != PROBE]
    by_sweep = {str(name): rows for name, rows in trials.groupby(trials["sweep"].astype(str), sort=False)}
    for number, (name, outcome) in enumerate(analysis.outcomes.items(), start=1):
        own = by_sweep.get(name, trials.iloc[:0])
        tables = analysis.select(name)
        curves = analysis.curves
        if len(curves):
            curves = curves[curves["trial_id"].isin(own["trial_id"])]
        sweeps.append(
            Sweep(
                number=number,
                name=name,
                outcome=describe_outcome(own, outcome),
                trials=own,
                tables=dataclasses.replace(tables, curves=curves),
                verdict=_only_row(tables.verdicts),
                tradeoff=_only_row(tables.tradeoff),
                derived=derived.select(name) if derived is not None and name in probed else None,
            )
        )
    return sweeps


def _only_row(table: pd.DataFrame) -> Mapping[str, Any] | None:
    return None if table.empty else {str(name): value for name, value in table.iloc[0].items()}
