"""Where each run stands: its sweep, its batch size, its rate and its seed, and which runs count at all."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .columns import ROLES, Columns
from .errors import TableError
from .grouping import Grouping, group_runs
from .numbers import are_numbers, to_losses, to_numbers, to_positive
from .rate_labels import snap_rates
from .run_states import read_states
from .sources import RunTable


def finished_runs(table: RunTable, columns: Columns, notes: list[str]) -> tuple[np.ndarray, np.ndarray, Grouping]:
    """Return the positions of runs that count, which of these are said to have diverged, and their sweeps."""
    rows = np.arange(len(table.runs))
    diverged = np.zeros(len(rows), dtype=bool)
    name = columns["status"]
    if name is not None:
        what = f"the run state (column {name!r})"
        out, diverged, words = read_states(table.runs[name], where=table.where, what=what)
        if out.any():
            notes.append(f"{count_runs(out)} left out for the state in {name!r}: {', '.join(words)}.")
        rows, diverged = rows[~out], diverged[~out]
    if not len(rows):
        raise TableError(
            f"a sweep needs a finished run, but all {len(table.runs):,} runs of {table.origin} are left out"
        )
    return rows, diverged, group_runs(table.runs.iloc[rows], columns.groups)


def place_runs(table: RunTable, columns: Columns, rows: np.ndarray, sweep: np.ndarray) -> pd.DataFrame:
    """Return sweep, batch_size, learning_rate, run and its position in the table, and seed_ and run_.

    The last two are text that tells the rows of one cell apart; empty where no column says it.
    """
    runs = table.runs.iloc[rows]
    rates = positive_cells(table, columns, "learning_rate", rows) if columns["learning_rate"] else np.nan
    seed, own_run = columns["seed"], columns["run"]
    if own_run is None and table.row_numbers is None:
        own_run = "run"
    return pd.DataFrame(
        {
            "sweep": sweep,
            "batch_size": positive_cells(table, columns, "batch_size", rows),
            "learning_rate": rates,
            "position": rows,
            "run": runs["run"].to_numpy(),
            "seed_": "" if seed is None else runs[seed].astype(str).str.strip().to_numpy(),
            "run_": "" if own_run is None else runs[own_run].astype(str).to_numpy(),
        }
    )


def positive_cells(table: RunTable, columns: Columns, role: str, rows: np.ndarray) -> np.ndarray:
    """Return the cells of the role's column, at the positions ``rows``, as numbers above zero."""
    name = columns.need(role)
    what = f"{ROLES[role].words} (column {name!r})"
    return to_positive(table.runs[name].iloc[rows], where=lambda i: table.where(int(rows[i])), what=what)


def measured_cells(table: RunTable, columns: Columns, role: str, rows: np.ndarray) -> np.ndarray:
    """Return the cells of the role's column, at the positions ``rows``, as numbers; NaN where none was measured."""
    name = columns.need(role)
    what = f"{ROLES[role].words} (column {name!r})"
    return to_losses(table.runs[name].iloc[rows], where=lambda i: table.where(int(rows[i])), what=what)


def settle_grid(work: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Put rates of one sweep that differ by rounding on one value, and make batch sizes whole where they all are."""
    batch = work["batch_size"].to_numpy()
    if np.all(batch == np.round(batch)) and batch.max(initial=0.0) < 2**53:
        work = work.assign(batch_size=batch.astype(np.int64))
    rates = work["learning_rate"].to_numpy()
    if np.isnan(rates).all():
        return work
    snapped = work.groupby("sweep", sort=False)["learning_rate"].transform(lambda part: snap_rates(part.to_numpy()))
    moved = np.flatnonzero(snapped.to_numpy() != rates)
    if len(moved):
        labels = sorted({(float(rates[i]), float(snapped.iloc[i])) for i in moved})
        shown = ", ".join(f"{label:.6g} as {rate:.6g}" for label, rate in labels[:3])
        more = f" and {len(labels) - 3} more" if len(labels) > 3 else ""
        notes.append(f"Rates that differ by rounding are taken as one: {shown}{more}.")
    return work.assign(learning_rate=snapped.to_numpy())


def settle_seeds(work: pd.DataFrame, columns: Columns, notes: list[str]) -> np.ndarray:
    """Return whole numbers that tell the runs of a cell apart: the seeds, if they are numbers, else an order."""
    cell = [work["sweep"].to_numpy(), work["batch_size"].to_numpy(), work["learning_rate"].to_numpy()]
    name = columns["seed"]
    if name is None:
        replicate = work.groupby(cell, sort=False, dropna=False).cumcount().to_numpy()
        if replicate.any():
            notes.append("There is no column of seeds: runs of one batch size and rate are taken as repetitions.")
        return replicate
    if (
        work.assign(cell_=work.groupby(cell, sort=False, dropna=False).ngroup().to_numpy())
        .duplicated(["cell_", "seed_"])
        .any()
    ):
        notes.append(f"Some runs share batch size, rate and {name!r}: all of them count.")
    seeds = work["seed_"]
    if are_numbers(seeds):
        values = to_numbers(seeds, where=str, what=ROLES["seed"].words)
        if np.all(values == np.round(values)) and np.all(np.abs(values) < 2**53):
            return values.astype(np.int64)
    return np.unique(seeds.to_numpy(dtype=str), return_inverse=True)[1]


def count_runs(mask: np.ndarray) -> str:
    """Return ``3 runs`` for a mask of three."""
    count = int(mask.sum())
    return f"{count:,} run{'s' if count != 1 else ''}"
