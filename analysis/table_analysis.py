"""A sweep that was run elsewhere, from its table to its answer, in a few lines of Python."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import pandas as pd
import plotly.graph_objects as go

from .columns import choose_columns
from .errors import TableError
from .figures import (
    LIGHT,
    Theme,
    describe_outcome,
    groups_figure,
    groups_table,
    laws_table,
    optima_figure,
    optima_table,
    valleys_figure,
    valleys_table,
)
from .many_sweeps import analyse_each
from .prediction import KnownPair, Prediction, SweepFit, fit_sweeps, predict_rate
from .report import write_report
from .sources import read_source
from .stored_sweeps import stored_curves, stored_sweeps
from .study_analysis import Analysis
from .sweeps import SweepTable, loss_sweeps


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableAnalysis:
    """The laws of a table's sweeps.

    Attributes:
        analysis: every table of the answer, see ``study_analysis.Analysis``.
        table: the trials as they were understood, and the groups they were split into.
        source: what was read, in words.
        notes: how it was read, one sentence each: columns that were guessed, rows that were left out.
        seed: of all resampling.
    """

    analysis: Analysis
    table: SweepTable
    source: str
    notes: tuple[str, ...]
    seed: int = 0

    @property
    def sweeps(self) -> list[str]:
        """The sweeps, one for each combination of the group columns' values; ``all`` without groups."""
        return list(self.analysis.outcomes)

    @property
    def optima(self) -> pd.DataFrame:
        """The best rate of each batch size, with ``optimum.OPTIMUM_COLUMNS``."""
        return self.analysis.optima

    @property
    def verdicts(self) -> pd.DataFrame:
        """The verdict of each sweep, with ``compare.VERDICT_COLUMNS``."""
        return self.analysis.verdicts

    def sentences(self) -> list[str]:
        """Return the answer in words."""
        return self.analysis.sentences()

    def predict(
        self,
        batch_size: float,
        *,
        sweep: str | None = None,
        known: tuple[float, float] | None = None,
        law: str | None = None,
    ) -> Prediction:
        """Return the best rate at a batch size, see ``prediction.predict_rate``.

        Args:
            batch_size: examples per step over all devices.
            sweep: which sweep answers; may be left out where there is one.
            known: a batch size and the rate that is known to be good there.
            law: one law alone.

        Raises:
            TableError: for a sweep that is not there or not named, and for what ``predict_rate`` refuses.
        """
        pair = None if known is None else KnownPair(batch_size=known[0], learning_rate=known[1])
        return predict_rate(self._fits[self._one(sweep)], batch_size=batch_size, pair=pair, law=law)

    def optima_figure(self, *, sweep: str | None = None, theme: Theme = LIGHT) -> go.Figure:
        """Draw the best rates of one sweep with the laws, or of all sweeps on one chart."""
        if sweep is None and len(self.sweeps) > 1:
            return groups_figure(groups_table(self.analysis.optima), theme=theme)
        name = self._one(sweep)
        own = self.analysis.select(name)
        verdict = str(own.verdicts["verdict"].iloc[0])
        laws = laws_table(own.bands, own.fits, verdict=verdict)
        outcome = describe_outcome(self._trials(name), own.outcomes[name])
        return optima_figure(optima_table(own.optima), laws, outcome=outcome, theme=theme)

    def valleys_figure(self, *, sweep: str | None = None, theme: Theme = LIGHT) -> go.Figure:
        """Draw the outcome against the rate, one panel a batch size."""
        name = self._one(sweep)
        own = self.analysis.select(name)
        trials = self._trials(name)
        table = valleys_table(trials, own.cells, own.optima)
        return valleys_figure(table, outcome=describe_outcome(trials, own.outcomes[name]), theme=theme)

    def report(self, path: str | os.PathLike[str], *, title: str = "") -> Path:
        """Write the report, one HTML file that loads nothing, and return its path."""
        return write_report(
            self.analysis,
            path,
            title=title or Path(path).stem,
            trials=self.table.trials,
            groups=self.table.groups,
            source=self.source,
            notes=self.notes,
        )

    @functools.cached_property
    def _fits(self) -> Mapping[str, SweepFit]:
        return fit_sweeps(self.analysis.cells, seed=self.seed)

    def _one(self, sweep: str | None) -> str:
        if sweep is None and len(self.sweeps) == 1:
            return self.sweeps[0]
        if sweep not in self.sweeps:
            raise TableError(f"sweep must be one of {', '.join(self.sweeps[:8])}, but got {sweep!r}")
        return sweep

    def _trials(self, sweep: str) -> pd.DataFrame:
        trials = self.table.trials
        return trials[trials["sweep"] == sweep]


def fit_table(
    location: str | os.PathLike[str],
    *,
    batch_size: str | None = None,
    learning_rate: str | None = None,
    loss: str | None = None,
    seed_column: str | None = None,
    groups: Sequence[str] = (),
    mode: Literal["min", "max"] | None = None,
    diverged_above: float | None = None,
    study: str | None = None,
    seed: int = 0,
    resamples: int = 200,
    processes: int = 1,
) -> TableAnalysis:
    """Fit the laws to a table of runs; columns that are not named are found by their usual names.

    Args:
        location: a CSV or Parquet file, a folder of results, or another place that ``sources`` reads.
        batch_size: column of the global batch size in examples per step.
        learning_rate: column of the peak rate.
        loss: column of the loss, or another metric, at the end of a run.
        seed_column: column that tells repeated runs apart.
        groups: columns of whose every combination of values is a sweep of its own.
        mode: which direction of the metric is better; None: as its name says.
        diverged_above: a loss above it is a diverged run.
        study: which study of a storage that holds several.
        seed: decides all resampling.
        resamples: draws behind every interval, at least 40.
        processes: for tables of many sweeps, see ``many_sweeps.analyse_each``.

    Raises:
        TableError: what can't be read or understood, in one line.
        OSError: the file system refused.
    """
    runs = read_source(location, study=study)
    given = {"batch_size": batch_size, "learning_rate": learning_rate, "loss": loss, "seed": seed_column}
    notes: tuple[str, ...] = ()
    if runs.outcomes and not groups and mode is None and diverged_above is None and not any(given.values()):
        sweeps = stored_sweeps(runs)
    else:
        columns = choose_columns(
            runs,
            given=given,
            roles=("batch_size", "learning_rate", "loss"),
            optional=("seed", "status", "steps", "run"),
            groups=groups or (["sweep"] if runs.outcomes else []),
        )
        sweeps = loss_sweeps(runs, columns, mode=mode, diverged_above=diverged_above)
        notes = (*columns.notes, *sweeps.notes)
    return TableAnalysis(
        analysis=analyse_each(
            sweeps.trials,
            stored_curves(runs),
            outcomes=sweeps.outcomes,
            seed=seed,
            resamples=resamples,
            processes=processes,
        ),
        table=sweeps,
        source=runs.origin,
        notes=(*runs.notes, *notes),
        seed=seed,
    )
