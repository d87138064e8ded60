"""The sections of the report, one function each."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

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
from .markup import Markup, details, paragraph, safe_json_text, text
from .sweep import Sweep
from .tables import cells_markup, laws_markup, optima_markup, tradeoff_markup


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
    table = tradeoff_table(sweep.tables.steps, sweep.tradeoff)
    return Shown(
        heading="Steps and examples to the target",
        caption=f"Outcome: {outcome.label}. {captions.TRADEOFF} {DEFINITION}.",
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
    formula = f"<p>η*(B) = <code>{text(LAWS[name].formula)}</code></p>" if name in LAWS else ""
    lines = [_sentence(sweep.verdict.get("reason"))]
    surge = sweep.verdict.get("smallest_detectable_surge")
    if _known(surge):
        lines.append(
            f"Smallest surge (fall of the best rate after a peak) that this grid could have shown: {_share(surge)}."
        )
    suggested = sweep.verdict.get("suggested_trials")
    if _known(suggested):
        lines.append(f"Trials that would tell more: {suggested}")
    body = "".join(paragraph(line) for line in lines if line)
    return f'<div class="{kind}"><h3>Verdict: {text(name)}</h3>{formula}{body}</div>'


def _figure_markup(shown: Shown, *, name: str, label: str) -> Markup:
    spec = safe_json_text(plotly.io.to_json(shown.figure, engine="json", validate=False))
    return (
        f"<h3>{text(shown.heading)}</h3><figure>"
        f'<div class="plot" data-figure="{name}" role="img" aria-label="{text(shown.heading)}"></div>'
        f"<figcaption><b>Figure {label}.</b> {text(shown.caption)}</figcaption></figure>"
        f'<script type="application/json" id="{name}">{spec}</script>{shown.tables}'
    )


def _known(value: Any) -> bool:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return False
    return not (isinstance(value, str) and not value.strip())


def _sentence(value: Any) -> str:
    words = str(value).strip() if _known(value) else ""
    return words if not words or words.endswith((".", "!", "?")) else f"{words}."


def _share(value: Any) -> str:
    return f"{100 * float(value):.0f}\u00a0%" if isinstance(value, float | np.floating) else str(value)
