"""What a probe without a sweep says: tables, a page and sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from results import ResultStore, Status

from .config import StudyConfig
from .errors import ConfigError
from .folder import REPORT_FILE, derive_from, study_tables
from .place import ResultsPlace, publishing

if TYPE_CHECKING:
    from .probe_plan import ProbeDesign, ProbePlan


def write_probe_answer(
    place: ResultsPlace, config: StudyConfig, design: ProbeDesign, store: ResultStore, plans: Sequence[ProbePlan]
) -> tuple[list[str], str]:
    """Derive the laws from what is stored, write tables and the page, and return sentences and where the page is.

    Raises:
        ConfigError: every run failed.
    """
    from analysis.report import write_probe_report

    stored = study_tables(design, store)
    failed = stored.probe_runs[stored.probe_runs["status"] == Status.FAILED]
    notes = [f"{row.sweep}: the probe run failed: {row.message}." for row in failed.itertuples()]
    if not len(stored.probes):
        raise ConfigError(f"{place}: nothing was measured; {' '.join(notes) or 'the runs ended before their probes'}")
    derived = derive_from(stored, config)
    notes += [
        f"{plan.run.sweep}: one run at batch size {plan.run.spec.batch_size} and rate {plan.run.spec.learning_rate:g}, "
        f"for {plan.share:.1%} of the examples of a sweep."
        for plan in plans
    ]
    with publishing(store) as made:
        derived.write_tables(made / "tables")
        write_probe_report(
            derived,
            made / REPORT_FILE,
            title=f"{config.name}, probed",
            trials=stored.probe_runs,
            study_description=config.model_dump(mode="json"),
            notes=notes,
        )
    return [*(line for sweep in derived.sweeps for line in derived.summary(sweep)), *notes], place.where(REPORT_FILE)
