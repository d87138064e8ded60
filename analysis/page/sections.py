"""The sections of the report, one function each."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import plotly.io

from ..compare import UNDETERMINED
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
from .markup import Markup, capitalised, definitions, details, paragraph, prose, safe_json_text, text
from .sweep import Sweep
from .tables import cells_markup, laws_markup, optima_markup, parameter_words, tradeoff_markup


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shown:
    """A figure in its place: its heading, the sentence under it, and the tables that hold its numbers."""

    heading: str
    caption: str
    figure: go.Figure
    tables: Markup = ""


def sweep_section(sweep: Sweep) -> Markup:
    """Return everything about one sweep: facts, verdict, figures and their tables."""
    parts = [f'<section id="sweep-{sweep.number}"><h2>{text(sweep.name)}</h2>', _facts(sweep), _verdict(sweep)]
    if sweep.tables.cells.empty:
        return "".join(
            [*parts, paragraph("No trial of this sweep can be fitted, so there is nothing to draw."), "</section>"]
        )
    for position, shown in enumerate(_figures(sweep), start=1):
        parts.append(
            _figure_markup(shown, name=f"figure-{sweep.number}-{position}", label=f"{sweep.number}.{position}")
        )
    return "".join([*parts, "</section>"])


def _figures(sweep: Sweep) -> list[Shown]:
    outcome, tables = sweep.outcome, sweep.tables
    verdict = str(sweep.verdict["verdict"]) if sweep.verdict else UNDETERMINED
    laws = laws_table(tables.bands, tables.fits, verdict=verdict)
    valleys = valleys_table(sweep.trials, tables.cells, tables.optima)
    figures = [
        Shown(
            heading="Best learning rate against batch size",
            caption=f"Outcome: {outcome.label}. {captions.OPTIMA}",
            figure=optima_figure(optima_table(tables.optima), laws, outcome=outcome, theme=PAGE),
            tables=optima_markup(sweep) + laws_markup(sweep),
        ),
        Shown(
            heading="The whole grid",
            caption=f"Outcome: {outcome.label}. {captions.HEATMAP}",
            figure=heatmap_figure(
                heatmap_table(sweep.trials, tables.cells), tables.optima, outcome=outcome, theme=PAGE
            ),
            tables=details("Numbers of this figure", cells_markup(sweep)),
        ),
        Shown(
            heading="Outcome against learning rate",
            caption=f"Outcome: {outcome.label}. {captions.VALLEYS}",
            figure=valleys_figure(valleys, outcome=outcome, theme=PAGE),
        ),
    ]
    if len(tables.steps):
        figures.append(_tradeoff(sweep))
    curves = curves_table(sweep.trials, tables.curves, tables.cells, tables.optima)
    if len(curves):
        figures.append(_curves(sweep, curves))
    return figures


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
    kinds = [" / ".join(dict.fromkeys(trials[name])) for name in ("workload", "optimizer", "schedule")]
    counts = trials["status"].value_counts()
    statuses = ", ".join(f"{counts[s]} {s}" for s in ("reached", "exhausted", "diverged", "failed") if s in counts)
    batches, rates = trials["batch_size"], trials["learning_rate"]
    span = f"batch sizes {number(batches.min())} to {number(batches.max())} examples/step"
    grid = f"learning rates {number(rates.min())} to {number(rates.max())}"
    facts = f"{' · '.join(kinds)} · {len(trials)} trials ({statuses}) · {span}, {grid} · outcome: {sweep.outcome.label}"
    return paragraph(facts, kind="facts")


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


def _figure_markup(shown: Shown, *, name: str, label: str) -> Markup:
    spec = safe_json_text(plotly.io.to_json(shown.figure, engine="json", validate=False))
    return (
        f"<h3>{text(shown.heading)}</h3><figure>"
        f'<div class="plot" data-figure="{name}" role="img" aria-label="{text(shown.heading)}" '
        f'style="min-height: {shown.figure.layout.height}px"></div>'
        f"<figcaption><b>Figure {label}.</b> {prose(shown.caption)}</figcaption></figure>"
        f'<script type="application/json" id="{name}">{spec}</script>{shown.tables}'
    )
