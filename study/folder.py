"""A study's folder: the resolved study beside its rows, and the report made from both."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from results import PROBE, SWEEP, ResultStore

from .baselines import baseline_sentences, read_baselines
from .config import StudyConfig
from .design import Design
from .errors import ConfigError
from .loading import load_study, parse_study, resolved_yaml
from .outcomes import COLUMNS, Outcomes
from .place import ResultsPlace, publishing

if TYPE_CHECKING:
    import pandas as pd

    from analysis.derived_study import DerivedStudy
    from analysis.study_analysis import Analysis

STUDY_FILE = "study.yaml"
REPORT_FILE = "report.html"


def stored_outcomes(store: ResultStore) -> Outcomes:
    """Return what is remembered of the trials in ``store``."""
    outcomes = Outcomes()
    table = store.trials(COLUMNS)
    for values in zip(*(table[name].tolist() for name in COLUMNS), strict=True):
        outcomes.add(dict(zip(COLUMNS, values, strict=True)))
    return outcomes


def write_study(store: ResultStore, config: StudyConfig) -> None:
    """Put the resolved study beside its rows."""
    store.write_text(STUDY_FILE, resolved_yaml(config))


def is_stored_study(source: Path, place: ResultsPlace, config: StudyConfig) -> bool:
    """Return whether ``source`` is the study file of ``place``, which then needs no writing.

    Raises:
        ConfigError: it is, and says less than the resolved ``config``, which would be written over it.
    """
    target = None if place.folder is None else place.folder / STUDY_FILE
    if target is None or not (target.exists() and target.samefile(source)):
        return False
    if load_study(source).config != config:
        raise ConfigError(
            f"{source}: the folder of the results holds the resolved {STUDY_FILE}, which would overwrite this file; "
            "give another folder with --out, or another name to the file"
        )
    return True


def open_folder(place: ResultsPlace) -> tuple[StudyConfig, ResultStore]:
    """Return the resolved study and the store of a place that ``write_study`` wrote to.

    Raises:
        ConfigError: the place holds no study.
        OSError: the storage refused.
    """
    if not place.exists(STUDY_FILE):
        raise ConfigError(f"{place}: holds no {STUDY_FILE}; 'batchlaw run STUDY --out {place}' makes one")
    data = place.storage.read(STUDY_FILE)
    return parse_study(data, place.where(STUDY_FILE)).config, place.store()


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyTables:
    """What is stored of one study.

    Attributes:
        trials: those of the sweeps; columns as in ``results.TRIAL_COLUMNS``.
        curves: along these trials.
        probe_runs: columns as ``trials``.
        probes: what was measured in the probe runs; columns as in ``results.PROBE_COLUMNS``.
    """

    trials: pd.DataFrame
    curves: pd.DataFrame
    probe_runs: pd.DataFrame
    probes: pd.DataFrame


def study_tables(design: Design, store: ResultStore) -> StudyTables:
    """Return what is stored of this study's trials alone, under its own names.

    The store may hold trials of other studies, and other studies may have run some of this one's.
    """
    stored = store.read()
    outcomes = Outcomes.of({row["trial_id"]: row for row in stored.trials[list(COLUMNS)].to_dict("records")})
    sweeps = {trial.trial_id: trial.sweep for trial in design.trials(outcomes)}
    trials = stored.trials[stored.trials["trial_id"].isin(sweeps)]
    trials = trials.assign(study=design.name, sweep=trials["trial_id"].map(sweeps).astype("str"))
    own, probe_runs = (trials[trials["purpose"] == purpose].reset_index(drop=True) for purpose in (SWEEP, PROBE))

    def along(measured: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
        return measured[measured["trial_id"].isin(runs["trial_id"])].reset_index(drop=True)

    return StudyTables(
        trials=own,
        curves=along(stored.curves, own),
        probe_runs=probe_runs,
        probes=along(stored.probes, probe_runs),
    )


def write_answer(
    place: ResultsPlace, config: StudyConfig, store: ResultStore, *, seed: int = 0
) -> tuple[list[str], str]:
    """Analyse what is stored, write tables and report, and return the answer in words and where the report is.

    Sweeps of which nothing is stored yet are named, and left out of the analysis.

    Raises:
        ConfigError: no trial of the study is stored.
    """
    from analysis.report import write_report
    from analysis.study_analysis import analyse

    design = Design(config)
    stored = study_tables(design, store)
    trials = stored.trials
    if trials.empty:
        raise ConfigError(f"{place}: no trial of the study {config.name} is stored; run it first")
    begun = set(trials["sweep"])
    notes = [f"{name}: no trial is stored yet." for name in design.outcomes if name not in begun]
    outcomes = {name: outcome for name, outcome in design.outcomes.items() if name in begun}
    analysis = analyse(trials, stored.curves, outcomes=outcomes, seed=seed)
    derived = derive_from(stored, config, analysis, seed=seed) if len(stored.probes) else None
    baselines = read_baselines(store)
    with publishing(store) as made:
        analysis.write_tables(made / "tables")
        if derived:
            derived.write_tables(made / "tables")
        write_report(
            analysis,
            made / REPORT_FILE,
            title=config.name,
            trials=trials,
            study_description=config.model_dump(mode="json"),
            baselines=baselines,
            notes=notes,
            derived=derived,
        )
    words = [line for sweep in derived.sweeps for line in derived.summary(sweep)] if derived else []
    return [*analysis.sentences(), *words, *notes, *baseline_sentences(baselines)], place.where(REPORT_FILE)


def derive_from(
    stored: StudyTables, config: StudyConfig, analysis: Analysis | None = None, *, seed: int = 0
) -> DerivedStudy:
    """Return what the probes of a study derive, beside what its sweeps found, if they are analysed."""
    from analysis.derived import Optimizer
    from analysis.derived_study import derive_study

    return derive_study(
        stored.probes,
        runs=stored.probe_runs,
        optimizers={s.name: Optimizer(name=s.optimizer, settings=s.optimizer_settings) for s in config.sweeps},
        batch_sizes={s.name: s.batch_sizes for s in config.sweeps},
        optima=analysis.optima if analysis else None,
        fits=analysis.fits if analysis else None,
        tradeoff=analysis.tradeoff if analysis else None,
        study=config.name,
        workloads={s.name: s.workload for s in config.sweeps},
        seed=seed,
    )
