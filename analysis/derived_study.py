"""What the probes of a study derive: laws without a free parameter, beside those fitted to its sweeps."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from .derived import Optimizer, derive_laws, derived_parameters_table, derived_table, run_average
from .derived.comparison import COMPARISON_COLUMNS, compare_derived
from .derived.derived_law import DERIVED_COLUMNS, DERIVED_PARAMETER_COLUMNS
from .derived.fitted_noise import fitted_noise_scale
from .derived.three_way import AGREEMENT_COLUMNS, THREE_WAY_COLUMNS, agreement_table, three_way_table
from .derived.verdicts import DERIVATION_VERDICT_COLUMNS
from .derived.words import rates_sentences, summary_sentence, three_way_sentences, verdict_sentences
from .mean_draws import RESAMPLES
from .noise_scale import CONSTANT_COLUMNS, noise_scale_table
from .output import write_csv
from .probe_rows import PROBE_COLUMNS

RUN_COLUMNS = ("trial_id", "sweep", "batch_size", "learning_rate")
"""Of a probe run; more columns may follow."""
_SECONDS = ("train_seconds", "evaluate_seconds", "setup_seconds", "probe_seconds")
FILES: Mapping[str, str] = {
    "runs": "probe_runs",
    "noise_scales": "noise_scales",
    "derived": "derived_rates",
    "parameters": "derived_parameters",
    "comparison": "derived_vs_fitted",
    "verdicts": "derivation_verdicts",
    "three_way": "noise_scale_sources",
    "agreements": "noise_scale_agreements",
}
"""Table -> the stem of its file."""
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "runs": ("trial_id", "batch_size", "learning_rate", "points", "probe_share"),
    "noise_scales": CONSTANT_COLUMNS,
    "derived": DERIVED_COLUMNS,
    "parameters": DERIVED_PARAMETER_COLUMNS,
    "comparison": COMPARISON_COLUMNS,
    "verdicts": DERIVATION_VERDICT_COLUMNS,
    "three_way": THREE_WAY_COLUMNS,
    "agreements": AGREEMENT_COLUMNS,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class DerivedStudy:
    """What probes say, of every sweep that has any. The first column of each table is ``sweep``.

    Attributes:
        runs: the probe runs: ``RUN_COLUMNS``, ``points``, how many steps were probed, and ``probe_share``, what part of
            the run's time that took; NaN unless the runs were given with their times.
        noise_scales: ``noise_scale.CONSTANT_COLUMNS``.
        derived: ``DERIVED_COLUMNS``: rates at every probe point, then the mean over points and runs (step <NA>).
        parameters: ``DERIVED_PARAMETER_COLUMNS``, likewise.
        comparison: ``COMPARISON_COLUMNS``; empty without a sweep's optima.
        verdicts: ``DERIVATION_VERDICT_COLUMNS``; empty without a sweep's optima.
        three_way: ``THREE_WAY_COLUMNS``.
        agreements: ``AGREEMENT_COLUMNS``.
    """

    runs: pd.DataFrame
    noise_scales: pd.DataFrame
    derived: pd.DataFrame
    parameters: pd.DataFrame
    comparison: pd.DataFrame
    verdicts: pd.DataFrame
    three_way: pd.DataFrame
    agreements: pd.DataFrame

    @property
    def sweeps(self) -> list[str]:
        """Return the sweeps with probes, in the order of the tables."""
        return list(dict.fromkeys(self.runs["sweep"]))

    def select(self, sweep: str) -> DerivedStudy:
        """Return the tables of one sweep; without rows for one that has no probes."""
        parts = {name: getattr(self, name).loc[lambda t: t["sweep"] == sweep].reset_index(drop=True) for name in FILES}
        return DerivedStudy(**parts)

    def sentences(self, sweep: str) -> list[str]:
        """Return all that the probes of one sweep say, the sum first; nothing of a sweep without probes."""
        own = self.select(sweep)
        unnamed = own.verdicts.assign(study="", workload="", optimizer="")
        return own._said(sweep, [*own._sum(), *verdict_sentences(unnamed), *own._noise_scales()])

    def summary(self, sweep: str) -> list[str]:
        """Return the sum and the noise scale's sources, for a terminal; nothing of a sweep without probes."""
        own = self.select(sweep)
        return own._said(sweep, [*own._sum(), *own._noise_scales()[:1]])

    def _sum(self) -> list[str]:
        if self.runs.empty:
            return []
        return [summary_sentence(self.verdicts)] if len(self.verdicts) else rates_sentences(self.derived)

    def _noise_scales(self) -> list[str]:
        return three_way_sentences(self.three_way, self.agreements)

    @staticmethod
    def _said(sweep: str, lines: Sequence[str]) -> list[str]:
        return [f"{sweep}: {line[0].lower()}{line[1:]}" for line in lines]

    def write_tables(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write each table as CSV (``FILES``) into ``folder``, made if needed; a file is complete or not there."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        return [write_csv(getattr(self, name), target / f"{stem}.csv") for name, stem in FILES.items()]


def derive_study(
    probes: pd.DataFrame,
    *,
    runs: pd.DataFrame,
    optimizers: Mapping[str, Optimizer],
    batch_sizes: Mapping[str, Sequence[float]],
    optima: pd.DataFrame | None = None,
    fits: pd.DataFrame | None = None,
    tradeoff: pd.DataFrame | None = None,
    study: str = "",
    workloads: Mapping[str, str] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> DerivedStudy:
    """Derive the laws of every sweep from its probes, and compare them with what the sweep found.

    Args:
        probes: raw rows with ``trial_id`` and ``probe_rows.PROBE_COLUMNS``. Rows of other runs than ``runs`` are left
            out.
        runs: the probe runs, with ``RUN_COLUMNS``. A sweep none of whose runs has a row in ``probes`` is left out.
        optimizers: sweep -> its optimiser. One that no derivation knows has the direct laws alone.
        batch_sizes: sweep -> those of its grid, in examples per step.
        optima: of all sweeps, with ``optimum.OPTIMUM_COLUMNS``; without a sweep's rows nothing of it is compared.
        fits: of all sweeps, with ``fit_tables.FIT_COLUMNS``.
        tradeoff: of all sweeps, with ``tradeoff.TRADEOFF_COLUMNS``.
        study: for the tables.
        workloads: sweep -> its workload, for the tables.
        seed: decides all samples.
        resamples: samples of every mean.

    Raises:
        ValueError: for tables without one of the columns, and for a sweep with probes that has no optimiser or batch
            sizes.
    """
    _check_columns("probes", probes, ("trial_id", *PROBE_COLUMNS))
    _check_columns("runs", runs, RUN_COLUMNS)
    run_ids = probes["trial_id"].astype(str) if len(probes) else pd.Series(dtype=str)
    runs = runs.assign(trial_id=runs["trial_id"].astype(str), sweep=runs["sweep"].astype(str))
    probed = list(dict.fromkeys(runs.loc[runs["trial_id"].isin(run_ids), "sweep"]))
    for what, given in (("optimizers", optimizers), ("batch_sizes", batch_sizes)):
        absent = [sweep for sweep in probed if sweep not in given]
        if absent:
            raise ValueError(f"{what} must name every sweep with probes, but got {list(given)}; missing: {absent}")
    parts: dict[str, list[pd.DataFrame]] = {name: [] for name in FILES}
    for sweep in sorted(probed, key=list(optimizers).index):
        own_runs = runs[runs["sweep"] == sweep]
        rows = probes[run_ids.isin(own_runs["trial_id"])]
        tables = _derive_sweep(
            rows,
            optimizer=optimizers[sweep],
            batch_sizes=batch_sizes[sweep],
            optima=_of_sweep(optima, sweep),
            fits=_of_sweep(fits, sweep),
            tradeoff=_of_sweep(tradeoff, sweep),
            names={"study": study, "workload": (workloads or {}).get(sweep, "")},
            seed=seed,
            resamples=resamples,
        )
        tables["runs"] = _runs_table(own_runs, rows)
        for name, table in tables.items():
            if len(table):
                table.insert(0, "sweep", sweep)
                parts[name].append(table)
    return DerivedStudy(
        **{
            name: pd.concat(found, ignore_index=True)
            if found
            else pd.DataFrame(columns=["sweep", *_COLUMNS[name]]).astype(
                {"step": "Int64"} if "step" in _COLUMNS[name] else {}
            )
            for name, found in parts.items()
        }
    )


def _derive_sweep(
    rows: pd.DataFrame,
    *,
    optimizer: Optimizer,
    batch_sizes: Sequence[float],
    optima: pd.DataFrame | None,
    fits: pd.DataFrame | None,
    tradeoff: pd.DataFrame | None,
    names: Mapping[str, str],
    seed: int,
    resamples: int,
) -> dict[str, pd.DataFrame]:
    """Return the tables of one sweep, without its name."""
    laws = derive_laws(rows, optimizer=optimizer, batch_sizes=list(batch_sizes), seed=seed, resamples=resamples)
    shown = [*laws, *run_average(laws)]
    noise_scales = noise_scale_table(rows, seed=seed, resamples=resamples)
    law, noise_factor = fitted_noise_scale(optimizer, fits)
    three_way = three_way_table(
        noise_scales=noise_scales, fits=fits, tradeoff=tradeoff, law=law, noise_factor=noise_factor, seed=seed
    )
    tables = {
        "noise_scales": noise_scales,
        "derived": derived_table(shown),
        "parameters": derived_parameters_table(shown),
        "three_way": three_way,
        "agreements": agreement_table(three_way),
    }
    if optima is not None:
        compared = compare_derived(laws, optima=optima, fits=fits, optimizer=optimizer.name, seed=seed, **names)
        tables |= {"comparison": compared.table, "verdicts": compared.verdicts}
    return tables


def _runs_table(runs: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    points = rows.groupby(rows["trial_id"].astype(str))["step"].nunique()
    known = set(_SECONDS) <= set(runs.columns)
    share = runs["probe_seconds"] / runs[list(_SECONDS)].sum(axis=1) if known else np.nan
    table = runs[["trial_id", "batch_size", "learning_rate"]].assign(
        points=runs["trial_id"].map(points).fillna(0).astype(int), probe_share=share
    )
    return table.sort_values(["batch_size", "learning_rate", "trial_id"], kind="stable")


def _of_sweep(table: pd.DataFrame | None, sweep: str) -> pd.DataFrame | None:
    own = None if table is None else table[table["sweep"].astype(str) == sweep]
    return None if own is None or own.empty else own


def _check_columns(name: str, table: pd.DataFrame, columns: tuple[str, ...]) -> None:
    absent = [column for column in columns if column not in table.columns]
    if absent and (len(table) or len(table.columns)):
        raise ValueError(f"{name} need the columns {', '.join(columns)}, but lack {', '.join(absent)}")
