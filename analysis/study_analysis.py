"""From a study's trials to its answer: every table, and the answer in words."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from .cells import CELL_COLUMNS, Outcome, tabulate_cells
from .compare import compare
from .fit_tables import bands_table, fit_laws, fits_table
from .law import Law
from .laws import LAWS
from .optimum import OPTIMUM_COLUMNS, Optima, OptimumDraws, locate_optima
from .output import write_csv
from .sentences import sweep_sentences
from .surface import SURFACE_COLUMNS, fit_surface
from .tradeoff import STEP_COLUMNS, TRADEOFF_COLUMNS, steps_table, tradeoff_table

TABLES = ("cells", "optima", "fits", "bands", "surface", "verdicts", "steps", "tradeoff")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Analysis:
    """What a study says. Tables are written as they stand; columns are listed beside the functions that make them.

    Attributes:
        outcomes: sweep -> the outcome that decided which rate is best.
        cells: ``cells.CELL_COLUMNS`` for these outcomes.
        optima: ``optimum.OPTIMUM_COLUMNS``.
        fits: ``fit_tables.FIT_COLUMNS``.
        bands: ``fit_tables.BAND_COLUMNS``: each law's prediction over a ladder of batch sizes.
        verdicts: ``compare.VERDICT_COLUMNS``.
        steps: ``tradeoff.STEP_COLUMNS``: the points behind the trade-off.
        tradeoff: ``tradeoff.TRADEOFF_COLUMNS``.
        surface: ``surface.SURFACE_COLUMNS``: the laws by a second route, beside ``fits``.
        curves: the curves as given.
    """

    outcomes: Mapping[str, Outcome]
    cells: pd.DataFrame
    optima: pd.DataFrame
    fits: pd.DataFrame
    bands: pd.DataFrame
    verdicts: pd.DataFrame
    steps: pd.DataFrame
    tradeoff: pd.DataFrame
    curves: pd.DataFrame
    surface: pd.DataFrame = dataclasses.field(default_factory=lambda: pd.DataFrame(columns=list(SURFACE_COLUMNS)))

    def sentences(self) -> list[str]:
        """Return the answer in words, the verdict of each sweep first."""
        return [line for sweep in self.outcomes for line in sweep_sentences(self.select(sweep), sweep)]

    def select(self, sweep: str) -> Analysis:
        """Return the analysis of one sweep.

        Raises:
            ValueError: for a sweep that is not there.
        """
        if sweep not in self.outcomes:
            raise ValueError(f"sweep must be one of {list(self.outcomes)}, but got {sweep!r}")
        parts = {name: getattr(self, name).loc[lambda t: t["sweep"] == sweep].reset_index(drop=True) for name in TABLES}
        return dataclasses.replace(self, outcomes={sweep: self.outcomes[sweep]}, **parts)

    def write_tables(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write each table as CSV into ``folder``, made if needed; a file is complete or not there at all."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        return [write_csv(getattr(self, name), target / f"{name}.csv") for name in TABLES]


def analyse(
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    *,
    outcomes: Mapping[str, Outcome],
    seed: int = 0,
    resamples: int = 200,
    laws: Mapping[str, Law] = LAWS,
) -> Analysis:
    """Analyse the sweeps of a study.

    Args:
        trials: rows with the columns of ``results.TRIAL_COLUMNS``; see ``tabulate_cells`` for the ones that are read.
        curves: rows with the columns of ``results.CURVE_COLUMNS``; kept for the report.
        outcomes: sweep -> ``steps_to_target`` or ``value_at_budget``. Other sweeps of ``trials`` are left out.
        seed: decides the resampling.
        resamples: draws of every bootstrap, at least 40.
        laws: name -> law, for instance with ``AdamEma(beta1=...)`` for the momentum that was used.

    Raises:
        ValueError: for sweeps without trials, and for what ``tabulate_cells`` and ``locate_optima`` refuse.
    """
    if "sweep" not in trials.columns:
        raise ValueError(f"trials need the column sweep, but got {list(trials.columns)}")
    absent = sorted(set(outcomes) - set(trials["sweep"].astype(str)))
    if absent or not outcomes:
        raise ValueError(f"outcomes must name sweeps with trials, but got {list(outcomes)}; without trials: {absent}")
    cell_parts, optimum_parts, step_parts, tradeoff_parts = [], [], [], []
    draws: dict[str, OptimumDraws] = {}
    for sweep, outcome in outcomes.items():
        rows = trials[trials["sweep"].astype(str) == sweep]
        cells = tabulate_cells(rows, outcome=outcome)
        optima = locate_optima(cells, seed=seed, resamples=resamples)
        cell_parts.append(cells)
        optimum_parts.append(optima.table)
        draws.update(optima.draws)
        if {"steps", "steps_to_target"} <= set(rows.columns):
            step_cells = cells if outcome == "steps_to_target" else tabulate_cells(rows, outcome="steps_to_target")
            fastest = (
                optima if outcome == "steps_to_target" else locate_optima(step_cells, seed=seed, resamples=resamples)
            )
            steps = steps_table(step_cells, fastest)
            step_parts.append(steps)
            tradeoff_parts.append(tradeoff_table(steps, fastest))
    optima_table = _stack(optimum_parts, OPTIMUM_COLUMNS)
    fits = fit_laws(Optima(table=optima_table, draws=draws), laws=laws, seed=seed)
    cells_table = _stack(cell_parts, CELL_COLUMNS)
    return Analysis(
        outcomes=dict(outcomes),
        cells=cells_table,
        optima=optima_table,
        fits=fits_table(fits),
        bands=bands_table(fits, optima_table),
        surface=fit_surface(cells_table, fits, laws=laws, seed=seed, resamples=resamples),
        verdicts=compare(fits, optima_table, sweeps=list(outcomes)),
        steps=_stack(step_parts, STEP_COLUMNS),
        tradeoff=_stack(tradeoff_parts, TRADEOFF_COLUMNS),
        curves=curves,
    )


def _stack(frames: list[pd.DataFrame], columns: tuple[str, ...]) -> pd.DataFrame:
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=list(columns))
