"""One self-contained HTML file that a study can be read, judged and shared from."""

from __future__ import annotations

import importlib.metadata
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.offline

from results import TRIAL_COLUMNS

from .figures import DARK, LIGHT, css_variables, number
from .page.markup import (
    Markup,
    asset,
    capitalised,
    data_table,
    definitions,
    details,
    json_block,
    paragraph,
    prose,
    script_hash,
    text,
)
from .page.sections import sweep_section
from .page.sweep import Sweep, split_sweeps
from .page.tables import trials_data
from .study_analysis import Analysis

DEFINITIONS: Mapping[str, str] = {
    "batch size": "global examples per optimiser step, over all devices",
    "learning rate": "peak value given to the optimiser; nothing rescales it",
    "best learning rate": "vertex of a parabola through the log outcome against log rate near its minimum, mean over "
    "seeds; the interval holds 95 % of resampled optima",
    "bound": "the best rate lies at the edge of the grid or beyond it, so that only one side of it is known",
    "target not reached": "the budget ended first; the cell's steps are a lower bound and are kept as one",
    "AICc weight": "share of the evidence for a law among those compared, by Akaike's criterion for small samples",
    "octave": "a factor of two in the learning rate",
    "undetermined": "the data do not separate the laws; no fault, but a call for the trials named",
    "[low, high]": "95 % interval; a dash is an end that the data do not bound",
}


def write_report(
    analysis: Analysis,
    path: str | os.PathLike[str],
    *,
    title: str,
    trials: pd.DataFrame,
    study_description: Mapping[str, Any] | None = None,
    baselines: Mapping[str, Mapping[str, float]] | None = None,
) -> Path:
    """Write the report to ``path`` in one piece: readers see the old file or the new one, never half of it.

    The page loads nothing from anywhere; equal arguments give equal bytes.

    Args:
        analysis: tables of all sweeps, and the answer in words.
        path: the HTML file; missing folders are made.
        title: heading of the page.
        trials: all trials, failed ones too, columns as in ``results.TRIAL_COLUMNS``.
        study_description: the resolved study, plain JSON values.
        baselines: workload -> name of a baseline -> its value.

    Returns:
        The path written.
    """
    sweeps = split_sweeps(analysis, trials)
    body = "".join(
        [
            _header(title, trials, sweeps),
            "<main>",
            _answer(analysis),
            *(sweep_section(sweep) for sweep in sweeps),
            _trials(trials),
            _baselines(baselines),
            _origin(trials, study_description),
            "</main>",
        ]
    )
    destination = Path(path)
    destination.parent.mkdir(parents=True, exist_ok=True)
    _write_atomically(destination, _page(title, body))
    return destination


def _page(title: str, body: Markup) -> Markup:
    first, *last = asset("theme.js"), plotly.offline.get_plotlyjs(), asset("report.js"), asset("trials.js")
    # Only these scripts may run and nothing may be loaded: a name that slipped through could still do nothing.
    allowed = " ".join(script_hash(script) for script in (first, *last))
    policy = (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    colours = (
        f":root {{ color-scheme: light dark; {css_variables(LIGHT)} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {css_variables(DARK)} }} }}\n"
        f':root[data-theme="light"] {{ color-scheme: light; {css_variables(LIGHT)} }}\n'
        f':root[data-theme="dark"] {{ color-scheme: dark; {css_variables(DARK)} }}\n'
        f"@media print {{ :root:root {{ color-scheme: light; {css_variables(LIGHT)} }} }}\n"
    )
    scripts = "".join(f"<script>{script}</script>\n" for script in last)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{text(policy)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>\n{colours}{asset('report.css')}</style>\n"
        f"<script>{first}</script></head>\n"
        f'<body><a class="skip" href="#answer">To the answer</a><div class="page">{body}</div>\n{scripts}'
        "</body></html>\n"
    )


def _header(title: str, trials: pd.DataFrame, sweeps: list[Sweep]) -> Markup:
    links = [(f"sweep-{sweep.number}", sweep.name) for sweep in sweeps]
    links += [("trials", "All trials"), ("origin", "How this was made")]
    items = "".join(f'<li><a href="#{name}">{text(words)}</a></li>' for name, words in links)
    studies = ", ".join(dict.fromkeys(trials["study"])) or "no study"
    count = f"{len(trials)} trials in {len(sweeps)} sweep{'s' if len(sweeps) != 1 else ''}"
    return (
        f'<header><div><p class="eyebrow">{text(studies)} · {text(count)}</p><h1>{text(title)}</h1></div>'
        '<button type="button" class="theme" id="theme" hidden>Dark theme</button></header>'
        f'<nav aria-label="Contents"><ul>{items}</ul></nav>'
        "<noscript><p>Figures and the table of trials need JavaScript; the rest can be read without.</p></noscript>"
    )


def _answer(analysis: Analysis) -> Markup:
    """Return the analysis's sentences: of each sweep the first, its verdict, large, the others as a list under it."""
    parts = []
    for sweep in analysis.outcomes:
        verdict, *others = analysis.select(sweep).sentences() or [f"{sweep}: there is nothing to answer from yet."]
        items = "".join(f"<li>{prose(_without_name(line, sweep))}</li>" for line in others)
        parts.append(paragraph(verdict, kind="lead") + (f"<ul>{items}</ul>" if items else ""))
    return f'<section id="answer" class="answer"><h2>The answer</h2>{"".join(parts)}</section>'


def _without_name(line: str, sweep: str) -> str:
    """Return a sentence without the name of the sweep that it stands under."""
    return capitalised(line.removeprefix(f"{sweep}: ")) if line.startswith(f"{sweep}: ") else line


def _trials(trials: pd.DataFrame) -> Markup:
    return (
        '<section id="trials"><h2>All trials</h2>'
        '<div class="controls"><label>Search words<input type="search" id="trials-search"></label>'
        '<label>Status<select id="trials-status"><option value="">all</option></select></label>'
        '<label>Sweep<select id="trials-sweep"><option value="">all</option></select></label></div>'
        '<p class="caption">One row a trial; a button in its head sorts by a column. The value is the metric at the '
        "last evaluation.</p>"
        '<div class="table-box" role="region" tabindex="0" aria-label="All trials"><table id="trials-table">'
        '<thead><tr id="trials-head"></tr></thead><tbody id="trials-body"></tbody></table></div>'
        '<div class="pages"><button type="button" id="trials-before">Previous</button>'
        '<button type="button" id="trials-after">Next</button>'
        '<span id="trials-position" role="status"></span></div>'
        f"{json_block('trials-data', trials_data(trials))}</section>"
    )


def _baselines(baselines: Mapping[str, Mapping[str, float]] | None) -> Markup:
    if not baselines:
        return ""
    rows = [
        (workload, name, number(value, digits=4)) for workload, row in baselines.items() for name, value in row.items()
    ]
    table = data_table(
        "What a workload's metric is without training.", ("workload", "baseline", "value"), rows, numeric=(2,)
    )
    return f'<section id="baselines"><h2>Baselines</h2>{table}</section>'


def _origin(trials: pd.DataFrame, study_description: Mapping[str, Any] | None) -> Markup:
    def distinct(name: str) -> str:
        counts = trials[name].astype(str).value_counts()
        return ", ".join(f"{value} ({count} trials)" for value, count in counts.items()) or "none"

    seconds = float(trials["train_seconds"].sum())
    facts = {
        "code of the trials": distinct("code_version"),
        "code of this report": f"batchlaw {importlib.metadata.version('batchlaw')}, plotly {plotly.__version__}",
        "hardware": distinct("hardware"),
        "data-parallel workers": distinct("world_size"),
        "arithmetic": distinct("dtype"),
        "ZeRO stage": distinct("zero_stage"),
        "trials began": f"{trials['started_at'].min()} to {trials['started_at'].max()}" if len(trials) else "none",
        "training time": f"{number(seconds / 3600)} h over all trials, evaluation excluded",
    }
    described = json.dumps(study_description, indent=2, ensure_ascii=False, default=str) if study_description else ""
    study = f"<h3>Resolved study</h3><pre>{text(described)}</pre>" if described else ""
    units = [(name, column.unit or "–", column.meaning) for name, column in TRIAL_COLUMNS.items()]
    table = data_table("Columns of a stored trial.", ("column", "unit", "meaning"), units)
    return (
        f'<section id="origin"><h2>How this was made</h2>{definitions(facts)}'
        f"<h3>Definitions</h3>{definitions(DEFINITIONS)}"
        f"{study}{details('Columns and units', table)}</section>"
    )


def _write_atomically(path: Path, page: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.write(page)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
