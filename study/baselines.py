"""What trivial methods reach on the workloads of a study, kept beside its rows for the report."""

from __future__ import annotations

import json

from results import ResultStore
from trainers.errors import DataError, SettingsError

from .errors import ConfigError, first_line
from .resolve import ResolvedStudy, locate_workload

BASELINES_FILE = "baselines.json"

Baselines = dict[str, dict[str, float]]
"""By workload, then by name of the baseline."""


def measure_baselines(study: ResolvedStudy) -> Baselines:
    """Fetch and read the data of every workload, and return the baselines of those that have some.

    Where two sweeps give one workload different settings, each has its own entry, named after the sweep as well.

    Raises:
        DataError: a data set can't be had.
        SettingsError: the settings don't fit the data.
        ConfigError: a workload raises anything else.
    """
    from trainers.workloads import load_workload

    found: dict[str, dict[str, dict[str, float]]] = {}
    seen = []
    for sweep in study.config.sweeps:
        if (sweep.workload, sweep.workload_settings) in seen:
            continue
        seen.append((sweep.workload, sweep.workload_settings))
        try:
            workload = load_workload(locate_workload(sweep.workload, study.folder), sweep.workload_settings)
            workload.prepare()
            values = {name: float(value) for name, value in workload.baselines().items()}
        except (DataError, SettingsError, OSError):
            raise
        except Exception as error:  # a user's workload may raise anything
            raise ConfigError(
                f"workload {sweep.workload} (sweep {sweep.name}) can't prepare its data and baselines: "
                f"{type(error).__name__}: {first_line(error)}"
            ) from error
        if values:
            found.setdefault(sweep.workload, {})[sweep.name] = values
    return {
        workload if len(by_sweep) == 1 else f"{workload} ({sweep})": values
        for workload, by_sweep in found.items()
        for sweep, values in by_sweep.items()
    }


def keep_baselines(store: ResultStore, baselines: Baselines) -> None:
    """Put the baselines beside the rows; none replace those of before."""
    if baselines or store.storage.is_file(BASELINES_FILE):
        write_baselines(store, baselines)


def write_baselines(store: ResultStore, baselines: Baselines) -> None:
    """Put the baselines beside the rows."""
    store.write_text(BASELINES_FILE, json.dumps(baselines, indent=2, sort_keys=True) + "\n")


def baseline_sentences(baselines: Baselines) -> list[str]:
    """Return a line a workload with what its metric is without this training."""
    return [
        f"{workload}: without this training, {', '.join(f'{name} {value:.4g}' for name, value in values.items())}."
        for workload, values in baselines.items()
    ]


def read_baselines(store: ResultStore) -> Baselines:
    """Return the baselines beside the rows; empty where none were measured."""
    return json.loads(store.storage.read(BASELINES_FILE)) if store.storage.is_file(BASELINES_FILE) else {}
