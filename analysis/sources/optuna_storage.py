"""A study kept in Optuna's storage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ..errors import TableError
from .database import database_url, first_line, is_database, sqlite_tables, without_password
from .table import CURVE_COLUMNS, RunTable, Source, plural

_TABLES = {"studies", "trials", "trial_params"}


def read_optuna(location: str, study: str | None = None) -> RunTable:
    """Return the trials of a study: ``params_<key>``, ``value``, ``user_attrs_<key>``, ``state``, as Optuna names them.

    A study of several objectives has ``values_<name>`` in place of ``value``. Nothing is written to the storage.

    Raises:
        TableError: no Optuna, no such storage or study, or several studies of which none is chosen.
    """
    shown = without_password(location)
    sqlite_tables(location)
    try:
        import optuna
    except ImportError:
        raise TableError(f"{shown}: reading it needs Optuna; pip install 'batchlaw[optuna]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        storage = optuna.storages.RDBStorage(database_url(location), skip_table_creation=True)
        names = sorted(optuna.get_all_study_names(storage))
        name = _choose(names, study, shown)
        loaded = optuna.load_study(study_name=name, storage=storage)
        trials = loaded.get_trials(deepcopy=False)
        directions = ["max" if d == optuna.study.StudyDirection.MAXIMIZE else "min" for d in loaded.directions]
        objectives = loaded.metric_names
    except TableError:
        raise
    except Exception as error:  # drivers raise types of their own
        raise TableError(
            f"{shown}: Optuna can't read it ({without_password(first_line(error))}); check the URL"
        ) from None
    columns = _objective_columns(objectives, len(directions))
    rows = [_row(trial, columns) for trial in trials]
    if not rows:
        raise TableError(f"{shown}: the study {name!r} has no trials; name another one by --study")
    return RunTable(
        runs=pd.DataFrame(rows),
        origin=f"Optuna study {name}, {plural(len(rows), 'trial')}",
        load_curves=lambda: _curves(trials),
        directions=dict(zip(columns, directions, strict=True)),
    )


def _choose(names: list[str], study: str | None, place: str) -> str:
    shown = ", ".join(repr(name) for name in names[:8])
    if study is not None and study not in names:
        raise TableError(f"--study names a study of {place}, but there is no {study!r}; found {shown or 'none'}")
    if study is None and len(names) != 1:
        raise TableError(f"{place} holds {plural(len(names), 'study', 'studies')}: {shown or '–'}; name one by --study")
    return study if study is not None else names[0]


def _objective_columns(names: list[str] | None, count: int) -> list[str]:
    if count == 1:
        return ["value"]
    return [f"values_{name}" for name in names or range(count)]


def _row(trial: Any, columns: list[str]) -> Mapping[str, Any]:
    values = trial.values if trial.values is not None else [None] * len(columns)
    return {
        "run": str(trial.number),
        **dict(zip(columns, values, strict=True)),
        **{f"params_{name}": value for name, value in trial.params.items()},
        **{f"user_attrs_{name}": value for name, value in trial.user_attrs.items()},
        "state": trial.state.name,
    }


def _curves(trials: list[Any]) -> pd.DataFrame:
    rows = [
        (str(trial.number), step, "intermediate_value", value)
        for trial in trials
        for step, value in sorted(trial.intermediate_values.items())
    ]
    return pd.DataFrame(rows, columns=list(CURVE_COLUMNS))


def _matches(location: str) -> bool:
    if not is_database(location):
        return False
    tables = sqlite_tables(location)
    return tables is None or tables >= _TABLES


SOURCE = Source(
    name="optuna",
    summary="the URL of an Optuna storage, such as sqlite:///study.db",
    matches=_matches,
    read=read_optuna,
    takes_study=True,
)
