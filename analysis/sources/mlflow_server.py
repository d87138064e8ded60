"""Runs that an MLflow server or database tracks, through MLflow's client."""

from __future__ import annotations

import logging
import os
from typing import Any

import pandas as pd

from ..errors import TableError
from .database import database_url, first_line, is_database, sqlite_tables, without_password
from .mlflow_folder import choose_experiment
from .table import CURVE_COLUMNS, RunTable, Source, plural

_TABLES = {"experiments", "runs", "latest_metrics"}
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
"""Reading a table tells nobody of it, and a server that is not there is noticed soon; the user's own settings hold."""
_PAGE = 1000


def read_mlflow(location: str, study: str | None = None) -> RunTable:
    """Return the runs of one experiment: columns ``params.<key>``, ``metrics.<key>`` (the last value) and ``status``.

    Raises:
        TableError: no client, nothing that can be read at the URL, or several experiments of which none is chosen.
    """
    shown = without_password(location)
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
    except ImportError:
        raise TableError(f"{shown}: reading it needs MLflow's client; pip install 'batchlaw[mlflow]'") from None
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    try:
        client = MlflowClient(tracking_uri=database_url(location) if is_database(location) else location)
        experiments = {e.name: e.experiment_id for e in _all_pages(client.search_experiments)}
        filled = [name for name, key in experiments.items() if client.search_runs([key], max_results=1)]
        name = choose_experiment(sorted(filled), study, shown)
        runs = _all_pages(client.search_runs, [experiments[name]])
    except TableError:
        raise
    except (MlflowException, ImportError, OSError) as error:
        raise TableError(
            f"{shown}: MLflow can't read it ({without_password(first_line(error))}); check the URL"
        ) from None
    return RunTable(
        runs=pd.DataFrame([_row(run) for run in runs]),
        origin=f"MLflow experiment {name}, {plural(len(runs), 'run')}",
        load_curves=lambda: _curves(client, runs),
    )


def _all_pages(search: Any, *arguments: Any) -> list[Any]:
    found: list[Any] = []
    token = None
    while True:
        page = search(*arguments, max_results=_PAGE, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def _row(run: Any) -> dict[str, Any]:
    return {
        "run": run.info.run_id,
        "run_name": run.info.run_name or "",
        **{f"params.{name}": value for name, value in run.data.params.items()},
        **{f"metrics.{name}": value for name, value in run.data.metrics.items()},
        "status": run.info.status,
    }


def _curves(client: Any, runs: list[Any]) -> pd.DataFrame:
    rows = [
        (run.info.run_id, float(metric.step), name, metric.value)
        for run in runs
        for name in run.data.metrics
        for metric in client.get_metric_history(run.info.run_id, name)
    ]
    return pd.DataFrame(rows, columns=list(CURVE_COLUMNS))


def _matches(location: str) -> bool:
    if location.startswith(("http://", "https://")):
        return True
    tables = sqlite_tables(location) if is_database(location) else None
    return tables is not None and tables >= _TABLES


SOURCE = Source(
    name="mlflow",
    summary="the URL of an MLflow server or database",
    matches=_matches,
    read=read_mlflow,
    takes_study=True,
)
