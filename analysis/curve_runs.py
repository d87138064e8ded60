"""Steps to targets from the curves of any table: a run and a target together become a run with its steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from .columns import ROLES, Columns, listed
from .errors import TableError
from .last_step import FEWEST_MEASUREMENTS
from .numbers import blank_cells, to_losses, to_numbers
from .run_places import count_runs
from .run_states import read_states
from .sources import RunTable
from .targets import steps_to_targets

TARGET = "target"
_STEPS, _STATE = "steps to target", "how the curve ended"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CurveTable:
    """``runs``: one row a run; ``curves``: the columns run, step and value; ``notes``: one sentence each."""

    runs: RunTable
    curves: pd.DataFrame
    metric: str
    notes: tuple[str, ...] = ()


def read_curves(table: RunTable, columns: Columns) -> CurveTable:
    """Return the curves of a source that keeps them apart, or of a file with a row for each measurement.

    Args:
        table: the runs.
        columns: loss, batch_size; for a file also steps (the step of a row), and what tells runs apart: run, or seed,
            learning rate and groups.

    Raises:
        TableError: curves without the metric, a run with two values at one step or with two batch sizes.
    """
    metric = columns.need("loss")
    if table.load_curves is not None and table.curves is not None:
        return _kept_curves(table, metric)
    name, keys = columns.need("steps"), _keys(table, columns)
    rows = np.arange(len(table.runs))
    step = to_numbers(table.runs[name], where=table.where, what=f"the step (column {name!r})")
    value = to_losses(table.runs[metric], where=table.where, what=f"{ROLES['loss'].words} (column {metric!r})")
    if not pd.api.types.is_numeric_dtype(table.runs[metric].dtype):
        # In text an empty cell is a step without an evaluation, and nan or inf is a value.
        empty = blank_cells(table.runs[metric])
        value = np.where(np.isnan(value) & ~empty, np.inf, value)
        rows = rows[~empty]
    number = table.runs[keys].astype(str).groupby(keys, sort=False, dropna=False).ngroup().to_numpy()
    twice = pd.DataFrame({"run": number, "step": step}).iloc[rows].duplicated().to_numpy()
    if twice.any():
        at = int(rows[int(np.argmax(twice))])
        raise TableError(
            f"a run has one value at each step, but {table.where(at)} is the second at {name} {step[at]:g} with the "
            f"same {listed(keys)}; name what tells the runs apart by --run, --seed or --group"
        )
    firsts = pd.Series(number).drop_duplicates().index.to_numpy()
    for role in ("batch_size", "learning_rate"):
        column = columns[role]
        if column is not None:
            texts = table.runs[column].astype(str).to_numpy()
            moved = texts != texts[firsts[number]]
            if moved.any():
                at = int(np.argmax(moved))
                before = texts[firsts[number[at]]]
                raise TableError(
                    f"a run has one {ROLES[role].words}, but at {table.where(at)} {column!r} is {texts[at][:40]!r} "
                    f"after {before[:40]!r}; name another column, or split the run"
                )
    ids = np.array([str(i) for i in number], dtype=object)
    runs = table.runs.iloc[firsts].reset_index(drop=True).assign(run=[str(i) for i in range(len(firsts))])
    numbers = None if table.row_numbers is None else table.row_numbers[firsts]
    return CurveTable(
        runs=dataclasses.replace(table, runs=runs, row_numbers=numbers),
        curves=pd.DataFrame({"run": ids[rows], "step": step[rows], "value": value[rows]}),
        metric=metric,
        notes=(f"The table holds curves of {len(firsts):,} runs along {name!r}.",),
    )


def holds_curves(table: RunTable, columns: Columns) -> bool:
    """Return whether most runs of a file have rows at three steps or more."""
    step = columns["steps"]
    if step is None or columns["loss"] is None:
        return False
    keys = _keys(table, columns)
    counts = table.runs[[*keys, step]].astype(str).groupby(keys, dropna=False)[step].nunique()
    return bool(counts.median() >= FEWEST_MEASUREMENTS)


def target_runs(
    curves: CurveTable,
    columns: Columns,
    targets: Sequence[float],
    *,
    mode: Literal["min", "max"],
    diverged_above: float | None = None,
) -> tuple[RunTable, Columns, tuple[str, ...]]:
    """Return a table with a row for each run and target, the columns to read it by, and notes.

    The target becomes a group column, after the others.

    Raises:
        TableError: states that can't be read, no run left, or a group column that is called ``target``.
    """
    if TARGET in columns.groups:
        raise TableError(f"a group column can't be called {TARGET!r}, as the targets are; rename it")
    runs, notes = curves.runs.runs, []
    out, diverged = np.zeros(len(runs), dtype=bool), np.zeros(len(runs), dtype=bool)
    status = columns["status"]
    if status is not None:
        what = f"the run state (column {status!r})"
        out, diverged, words = read_states(runs[status], where=curves.runs.where, what=what)
        if out.any():
            notes.append(f"{count_runs(out)} left out for the state in {status!r}: {', '.join(words)}.")
    states = dict(zip(runs["run"][diverged], ["diverged"] * int(diverged.sum()), strict=True))
    used = runs[~out]
    kept = curves.curves[curves.curves["run"].isin(used["run"])]
    found = steps_to_targets(kept, targets, mode=mode, statuses=states, diverged_above=diverged_above)
    if found.empty:
        raise TableError(f"steps to a target need curves, but no run of {curves.runs.origin} has any value")
    silent = ~used["run"].isin(found["run"]).to_numpy()
    if silent.any():
        notes.append(f"{count_runs(silent)} without a value along the curve: left out.")
    position = pd.Series(np.arange(len(runs)), index=runs["run"]).loc[found["run"]].to_numpy()
    met = found["status"].eq("reached").to_numpy()
    stacked = runs.iloc[position].reset_index(drop=True)
    stacked[TARGET] = found["target"].to_numpy()
    stacked[_STEPS] = np.where(met, found["steps_to_target"], found["steps"])
    stacked[_STATE] = found["status"].to_numpy()
    # A target that is met before the first step is no measurement of the steps to it.
    early = met & (stacked[_STEPS].to_numpy() <= 0)
    if early.any():
        raise TableError(
            f"a target is met after the first step, but {count_runs(early)} begin below "
            f"{found['target'][early].iloc[0]:g}; give a harder --target"
        )
    stacked = stacked[stacked[_STEPS].to_numpy() > 0]
    row_numbers = None if curves.runs.row_numbers is None else curves.runs.row_numbers[position[stacked.index]]
    by_role = {role: columns[role] for role in ("batch_size", "learning_rate", "seed")}
    read_by = Columns(by_role={**by_role, "steps": _STEPS, "status": _STATE}, groups=(*columns.groups, TARGET))
    table = dataclasses.replace(
        curves.runs,
        runs=stacked.reset_index(drop=True),
        row_numbers=row_numbers,
        load_curves=None,
    )
    return table, read_by, tuple(notes)


def _keys(table: RunTable, columns: Columns) -> list[str]:
    run = columns["run"]
    found = [columns[role] for role in ("batch_size", "learning_rate", "seed")]
    keys = [name for name in found if name is not None]
    return list(dict.fromkeys([*columns.groups, *([run] if run is not None and run in table.runs else keys)]))


def _kept_curves(table: RunTable, metric: str) -> CurveTable:
    curves = table.curves
    assert curves is not None
    wanted = pd.Series(metric, index=table.runs["run"])
    if table.outcomes and "metric" in table.runs.columns:
        wanted = pd.Series(table.runs["metric"].astype(str).to_numpy(), index=table.runs["run"])
    wanted = wanted[~wanted.index.duplicated()]
    own = curves["name"].to_numpy() == curves["run"].map(wanted).to_numpy()
    if not own.any():
        names = sorted(set(curves["name"].astype(str)))
        raise TableError(f"no curve is called {metric!r} in {table.origin}; name one by --loss: {listed(names)}")
    shown = " / ".join(sorted(set(wanted.astype(str))))
    return CurveTable(runs=table, curves=curves.loc[own, ["run", "step", "value"]], metric=shown)
