"""Which runs of a table have which steps to a target: from a column, or counted along curves."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd

from .columns import Columns, choose_columns, listed, usual_name
from .curve_runs import CurveTable, holds_curves, read_curves, target_runs
from .errors import TableError
from .metric_mode import guess_mode
from .sources import RunTable
from .step_runs import BUDGET_NAMES, REACHED_NAMES, read_step_runs, usual_column
from .stored_sweeps import stored_sweeps
from .sweeps import SweepTable
from .targets import suggest_targets

Mode = Literal["min", "max"]
STORED_SWEEP = "study sweep"
"""What the sweeps of a stored study are called where targets divide them further."""
_OPTIONAL = ("learning_rate", "seed", "status", "run")


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepRequest:
    """What a user says about a table; None or empty where nothing is said.

    ``given`` maps roles of ``columns.ROLES`` to columns; ``reached`` and ``budget_steps`` are columns too, and
    ``targets`` are values of the metric along the curves.
    """

    given: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    groups: Sequence[str] = ()
    reached: str | None = None
    budget_steps: str | None = None
    targets: Sequence[float] = ()
    mode: Mode | None = None
    diverged_above: float | None = None


def step_trials(table: RunTable, request: StepRequest) -> SweepTable:
    """Return the trials of a table with their steps to a target; with targets, these are the last group column.

    Raises:
        TableError: cells that can't be read, columns that are not there, curves without a target.
    """
    if request.targets:
        return _along_curves(table, request)
    stored = table.outcomes and not request.groups and not any(request.given.values())
    if stored:
        sweeps = stored_sweeps(table)
        if not np.isfinite(sweeps.trials["steps_to_target"].to_numpy(dtype=float)).any():
            raise _needs_target(table, request)
        return sweeps
    try:
        columns = choose_columns(
            table, given=request.given, roles=("batch_size", "steps"), optional=_OPTIONAL, groups=request.groups
        )
    except TableError as error:
        # A table without steps may still have curves to count them along.
        if request.given.get("steps") is None and "for the steps" in str(error) and _has_curves(table):
            raise _needs_target(table, request) from None
        raise
    name = columns.need("steps")
    counted = "target" in usual_name(name) or "goal" in usual_name(name)
    along = _has_curves(table) and request.given.get("steps") is None
    if not counted and (along or _rows_along_runs(table, request, said=request.given.get("steps") is not None)):
        raise _needs_target(table, request)
    taken = {*columns.by_role.values(), *columns.groups}
    reached = _named(table, request.reached, "--reached") or usual_column(table, REACHED_NAMES, taken)
    budget = _named(table, request.budget_steps, "--budget-steps") or usual_column(table, BUDGET_NAMES, taken)
    sweeps = read_step_runs(table, columns, reached=reached, budget_steps=budget)
    notes = list(columns.notes)
    if reached is not None and request.reached is None:
        notes.append(f"Whether a run reached its target is taken from the column {reached!r}.")
    if budget is not None and request.budget_steps is None and _missed(sweeps):
        notes.append(f"The budget of runs that did not reach the target is taken from the column {budget!r}.")
    return dataclasses.replace(sweeps, notes=(*notes, *sweeps.notes))


def _along_curves(table: RunTable, request: StepRequest) -> SweepTable:
    curves, columns, mode = _curves(table, request)
    wrong = [target for target in request.targets if not np.isfinite(target)]
    if wrong:
        raise TableError(f"--target is a finite number, but got {wrong[0]:g}; correct it")
    # The hardest last, as training meets them.
    targets = sorted(set(request.targets), reverse=mode == "min")
    if request.diverged_above is not None and mode == "max":
        raise TableError("--diverged-above is about a loss, where low is good, but the mode is max; leave it out")
    runs, read_by, notes = target_runs(curves, columns, targets, mode=mode, diverged_above=request.diverged_above)
    sweeps = read_step_runs(runs, read_by)
    order = {target: position for position, target in enumerate(targets)}
    rank = sweeps.groups["target"].map(order).to_numpy()
    others = [name for name in sweeps.groups.columns if name not in ("sweep", "target")]
    codes = [pd.factorize(sweeps.groups[name].astype(str))[0] for name in others]
    groups = sweeps.groups.iloc[np.lexsort([rank, *reversed(codes)])].reset_index(drop=True)
    shown = " / ".join(dict.fromkeys([curves.metric]))
    of_sweep = dict(zip(groups["sweep"], groups["target"], strict=True))
    trials = sweeps.trials.assign(metric=shown, mode=mode, target=sweeps.trials["sweep"].map(of_sweep))
    said = (*columns.notes, *curves.notes, *notes, *sweeps.notes)
    return dataclasses.replace(sweeps, trials=trials, groups=groups, notes=said, mode=mode)


def _curves(table: RunTable, request: StepRequest) -> tuple[CurveTable, Columns, Mode]:
    given = dict(request.given)
    if table.outcomes:
        table = _one_metric(table, given.pop("loss", None))
        own = {"batch_size", "learning_rate", "seed", "status"}
        given = {**{role: role for role in own}, "loss": "value", **{k: v for k, v in given.items() if v is not None}}
        request = dataclasses.replace(request, groups=tuple(request.groups) or (STORED_SWEEP,))
    roles = ["batch_size", "loss"]
    if table.load_curves is None:
        roles.append("steps")
    columns = choose_columns(table, given=given, roles=roles, optional=_OPTIONAL, groups=request.groups)
    curves = read_curves(table, columns)
    return curves, columns, request.mode or _direction(table, columns.need("loss"))


def _one_metric(table: RunTable, metric: str | None) -> RunTable:
    """Return the runs of a stored study whose metric is the one asked for, or the only one."""
    metrics = table.runs["metric"].astype(str)
    found = sorted(set(metrics))
    if metric is None and len(found) > 1:
        raise TableError(f"a target is about one metric, but {table.origin} hold {listed(found)}; name one by --loss")
    if metric is not None and metric not in found:
        raise TableError(f"--loss names a metric of the study, but there is no {metric!r}; found {listed(found)}")
    runs = table.runs[metrics == (metric or found[0])].rename(columns={"sweep": STORED_SWEEP}).reset_index(drop=True)
    modes = sorted(set(runs["mode"].astype(str)))
    return dataclasses.replace(table, runs=runs, directions={"value": modes[0]} if len(modes) == 1 else {})


def _direction(table: RunTable, metric: str) -> Mode:
    declared = table.directions.get(metric)
    if table.outcomes and declared is None:
        raise TableError("the sweeps of this study differ in which direction of their metric is better; say --mode")
    found = declared or guess_mode(usual_name(metric))
    if found is None:
        raise TableError(f"the name {metric!r} does not say whether low or high is good; say --mode min or --mode max")
    return "max" if found == "max" else "min"


def _has_curves(table: RunTable) -> bool:
    return table.load_curves is not None


def _rows_along_runs(table: RunTable, request: StepRequest, *, said: bool) -> bool:
    """Return whether the steps of a file count along runs: then they are no steps to a target."""
    if table.load_curves is not None or (said and request.given.get("run") is None and "run" not in table.names):
        return False
    try:
        columns = choose_columns(
            table,
            given=request.given,
            roles=("batch_size", "steps", "loss"),
            optional=_OPTIONAL,
            groups=request.groups,
        )
    except TableError:
        return False
    return holds_curves(table, columns)


def _needs_target(table: RunTable, request: StepRequest) -> TableError:
    try:
        curves, _, mode = _curves(table, request)
        found = suggest_targets(curves.curves, mode=mode)
    except TableError as error:
        return TableError(f"steps to a target are needed: a column of them (--steps), or --target; {error}")
    if not found:
        return TableError(f"steps to a target are needed, but no run of {table.origin} has a value along its curve")
    options = " ".join(f"--target {value:g}" for value in found)
    return TableError(f"curves need a target to count the steps to; most runs reach these: {options}")


def _named(table: RunTable, name: str | None, option: str) -> str | None:
    if name is not None and name not in table.names:
        raise TableError(f"{option} names a column of the table, but there is no {name!r}; found {listed(table.names)}")
    return name


def _missed(sweeps: SweepTable) -> bool:
    return bool(sweeps.trials["status"].eq("exhausted").any())
