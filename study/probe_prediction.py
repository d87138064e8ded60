"""Rates by the laws that probes derive: ``batchlaw predict --from-probe``, and the ladder of ``batchlaw probe``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .errors import ConfigError
from .folder import open_folder
from .place import ResultsPlace
from .terminal import line, plain_table, print_json, print_table, say, text_row

if TYPE_CHECKING:
    import pandas as pd

    from analysis.prediction import KnownPair


def predict_by_probes(
    place: ResultsPlace, batch_sizes: Mapping[str, Sequence[float]], *, pair: KnownPair | None = None
) -> dict[str, pd.DataFrame]:
    """Return what the probes of a folder say, by sweep, with ``probe_prediction.PROBE_PREDICTION_COLUMNS``.

    Args:
        place: of a study with probes, or of ``batchlaw probe``.
        batch_sizes: sweep -> batch sizes in examples per step. Sweeps without probes are left out.
        pair: a batch size and a rate that is known to be good there.

    Raises:
        ConfigError: the folder holds no study, or no probes.
    """
    from analysis.derived import Optimizer
    from analysis.probe_prediction import predict_from_probes
    from results import PROBE

    config, store = open_folder(place)
    stored = store.read()
    runs = stored.trials[stored.trials["purpose"] == PROBE]
    predictions = {}
    for sweep in config.sweeps:
        rows = stored.probes[stored.probes["trial_id"].isin(runs.loc[runs["sweep"] == sweep.name, "trial_id"])]
        if len(rows) and sweep.name in batch_sizes:
            predictions[sweep.name] = predict_from_probes(
                rows,
                optimizer=Optimizer(name=sweep.optimizer, settings=sweep.optimizer_settings),
                batch_sizes=batch_sizes[sweep.name],
                pair=pair,
            )
    if not predictions:
        raise ConfigError(f"{place}: holds no probes; 'batchlaw probe STUDY --out {place}' measures some")
    return predictions


def say_by_probes(
    place: ResultsPlace, batch_sizes: Sequence[float], *, pair: KnownPair | None, sweeps: Sequence[str], as_json: bool
) -> None:
    """Print the rates at some batch sizes.

    Raises:
        ConfigError: a batch size that is none, an unknown sweep, and what ``predict_by_probes`` refuses.
    """
    wrong = [size for size in batch_sizes if not (size > 0 and math.isfinite(size))]
    if wrong:
        raise ConfigError(f"--batch-size must be positive and finite, but got {wrong[0]:g}")
    known = [sweep.name for sweep in open_folder(place)[0].sweeps]
    unknown = [name for name in sweeps if name not in known]
    if unknown:
        raise ConfigError(f"--sweep must be one of {', '.join(known)}, but got {unknown[0]!r}")
    predictions = predict_by_probes(place, dict.fromkeys(sweeps or known, batch_sizes), pair=pair)
    if as_json:
        values = {name: json.loads(table.to_json(orient="records")) for name, table in predictions.items()}
        print_json({"from_probe": values})
    else:
        show_probe_predictions(predictions)


def show_probe_predictions(predictions: Mapping[str, pd.DataFrame]) -> None:
    """Print a table a sweep: a row a batch size, a column a derivation; what is not resolved is said below it."""
    for sweep, rows in predictions.items():
        headers = ("derivation", "batch", "rate", "95 % interval")
        table = plain_table(*headers, right=("batch", "rate"), no_wrap=True, title=f"{sweep}: best rate")
        known = rows[rows["status"] == "ok"]
        for row in known.itertuples(index=False):
            ends = f"[{row.low:.3g}, {row.high:.3g}]"
            table.add_row(*text_row(row.derivation, f"{row.batch_size:g}", f"{row.learning_rate:.3g}", ends))
        line()
        print_table(table)
        unknown = rows[rows["status"] != "ok"]
        for (derivation, reason), part in unknown.groupby(["derivation", "reason"], sort=False):
            sizes = ", ".join(f"{size:g}" for size in part["batch_size"])
            status = str(part["status"].iloc[0]).replace("_", " ")
            say(f"{derivation} at batch size {sizes}: {status}; {reason}.")
