"""The sections of the report, one function each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from ..compare import UNDETERMINED
from ..derived_study import DerivedStudy
from ..figures import (
    PAGE,
    curves_figure,
    curves_table,
    describe_outcome,
    heatmap_figure,
    heatmap_table,
    laws_table,
    number,
    optima_figure,
    optima_table,
    tradeoff_figure,
    tradeoff_table,
    valleys_figure,
    valleys_table,
)
from ..laws import LAWS
from ..tradeoff import DEFINITION
from . import captions
from .columns import distinct_words
from .derived import derived_markup
from .markup import Markup, capitalised, definitions, details, paragraph, text
from .routes import routes_markup
from .shown import Shown, figure_markup
from .sweep import Sweep
from .tables import cells_markup, laws_markup, optima_markup, parameter_words, tradeoff_markup


def sweep_section(sweep: Sweep, *, answer: Sequence[str] | None = None, all_figures: bool = True) -> Markup:
    """Return everything about one sweep: facts, verdict, figures and their tables.

    Args:
        sweep: what to show.
        answer: sentences to begin with; the section is then folded under its name.
        all_figures: or the first one alone.
    """
    parts = [paragraph(line) for line in answer or ()]
    parts += [_facts(sweep), _verdict(sweep) if sweep.has_rates else ""]
    figures = list(itertools.islice(_figures(sweep), None if all_figures else 1))
    if not figures and sweep.derived is None:
        parts.append(paragraph("No trial of this sweep can be fitted, so there is nothing to draw."))
    for position, shown in enumerate(figures, start=1):
        parts.append(figure_markup(shown, name=f"figure-{sweep.number}-{position}", label=f"{sweep.number}.{position}"))
    if sweep.derived is not None:
        parts.append(_derived(sweep, sweep.derived, first=len(figures) + 1, all_figures=all_figures))
    heading = f"<h2>{text(sweep.name)}</h2>"
    if answer is not None:
        said = text(sweep.verdict["verdict"]) if sweep.verdict and sweep.has_rates else ""
        heading = f"<summary>{heading}<span>{said}</span></summary>"
        return f'<details class="sweep" id="sweep-{sweep.number}">{heading}{"".join(parts)}</details>'
    return f'<section id="sweep-{sweep.number}">{heading}{"".join(parts)}</section>'


def _derived(sweep: Sweep, derived: DerivedStudy, *, first: int, all_figures: bool) -> Markup:
    verdict = str(sweep.verdict["verdict"]) if sweep.verdict else UNDETERMINED
    return derived_markup(
        derived, number=sweep.number, first=first, fitted=sweep.tables, verdict=verdict, all_figures=all_figures
    )


def _figures(sweep: Sweep) -> Iterator[Shown]:
    outcome, tables = sweep.outcome, sweep.tables
    if len(tables.cells):
        verdict = str(sweep.verdict["verdict"]) if sweep.verdict else UNDETERMINED
        laws = laws_table(tables.bands, tables.fits, verdict=verdict)
        yield Shown(
            heading="Best learning rate against batch size",
            caption=f"Outcome: {outcome.label}. {captions.OPTIMA}",
            figure=optima_figure(optima_table(tables.optima), laws, outcome=outcome, theme=PAGE),
            tables=optima_markup(sweep) + laws_markup(sweep) + routes_markup(sweep),
        )
        grid = heatmap_table(sweep.trials, tables.cells)
        yield Shown(
            heading="The whole grid",
            caption=f"Outcome: {outcome.label}. {captions.HEATMAP}",
            figure=heatmap_figure(grid, tables.optima, outcome=outcome, theme=PAGE),
            tables=details("Numbers of this figure", cells_markup(sweep)),
        )
        valleys = valleys_table(sweep.trials, tables.cells, tables.optima)
        yield Shown(
            heading="Outcome against learning rate",
            caption=f"Outcome: {outcome.label}. {captions.VALLEYS}",
            figure=valleys_figure(valleys, outcome=outcome, theme=PAGE),
        )
    if sweep.has_target:
        yield _tradeoff(sweep)
    if len(tables.cells) and len(tables.curves):
        curves = curves_table(sweep.trials, tables.curves, tables.cells, tables.optima)
        if len(curves):
            yield _curves(sweep, curves)


def _tradeoff(sweep: Sweep) -> Shown:
    outcome = describe_outcome(sweep.trials, "steps_to_target")
    definition = sweep.tradeoff["definition"] if sweep.tradeoff else DEFINITION
    table = tradeoff_table(sweep.tables.steps, sweep.tradeoff)
    return Shown(
        heading="Steps and examples to the target",
        caption=f"Outcome: {outcome.label}. {captions.TRADEOFF} {definition}.",
        figure=tradeoff_figure(table, sweep.tradeoff, outcome=outcome, theme=PAGE),
        tables=tradeoff_markup(sweep),
    )


def _curves(sweep: Sweep, curves: pd.DataFrame) -> Shown:
    metric = " / ".join(dict.fromkeys(sweep.trials["metric"]))
    targets = sweep.trials["target"].dropna().unique()
    target = float(targets[0]) if len(targets) == 1 else None
    return Shown(
        heading="Training curves at the best rate",
        caption=f"{metric}; the best rate is that for the outcome: {sweep.outcome.label}. {captions.CURVES}",
        figure=curves_figure(curves, metric=metric, target=target, theme=PAGE),
    )


def _facts(sweep: Sweep) -> Markup:
    trials = sweep.trials
    kinds = [" / ".join(distinct_words(trials, name)) for name in ("workload", "optimizer", "schedule")]
    counts = trials["status"].value_counts()
    statuses = ", ".join(f"{counts[s]} {s}" for s in ("reached", "exhausted", "diverged", "failed") if s in counts)
    batches, rates = trials["batch_size"], trials["learning_rate"]
    span = f"batch sizes {number(batches.min())} to {number(batches.max())} examples/step"
    if rates.notna().any():
        span += f", learning rates {number(rates.min())} to {number(rates.max())}"
    facts = [*kinds, f"{len(trials)} trials ({statuses})", span, f"outcome: {sweep.outcome.label}"]
    return paragraph(" · ".join(fact for fact in facts if fact), kind="facts")


def _verdict(sweep: Sweep) -> Markup:
    if sweep.verdict is None:
        return (
            '<div class="verdict undetermined"><h3>Verdict: undetermined</h3>'
            f"{paragraph('There are no best learning rates to judge laws by.')}</div>"
        )
    name = str(sweep.verdict["verdict"])
    kind = "verdict undetermined" if name == UNDETERMINED else "verdict"
    facts: dict[str, object] = {}
    if name in LAWS:
        facts["best rate at batch size B"] = LAWS[name].formula
        fits = sweep.tables.fits[sweep.tables.fits["law"] == name]
        facts["parameters, 95\u00a0% intervals"] = "; ".join(parameter_words(row) for row in fits.to_dict("records"))
    surge = sweep.verdict["smallest_detectable_surge"]
    if np.isfinite(surge):
        facts["smallest fall after a peak that the grid could show"] = f"{100 * surge:.0f}\u00a0%"
    if sweep.verdict["suggested_trials"]:
        facts["trials that would tell more"] = sweep.verdict["suggested_trials"]
    return (
        f'<div class="{kind}"><h3>Verdict: {text(name)}</h3>{paragraph(_reason(sweep.verdict["reason"]))}'
        f"{definitions(facts)}</div>"
    )


def _reason(reason: str) -> str:
    """Return the reason as a sentence, unless it begins with the name of a law, which keeps its letters."""
    return reason if reason.split(maxsplit=1)[:1] in [[law] for law in LAWS] else capitalised(reason)
