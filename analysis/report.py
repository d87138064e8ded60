"""One self-contained HTML file that a study can be read, judged and shared from."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.offline

from .derived_study import DerivedStudy
from .figures import DARK, LIGHT, css_variables
from .page.closing import baselines_section, origin_section, trials_section
from .page.columns import complete, distinct_words
from .page.derived import derived_markup
from .page.markup import Markup, asset, capitalised, paragraph, prose, script_hash, text
from .page.overview import FOLDED_FROM, MOST_DRAWN_FULLY, overview, short_answer
from .page.sections import sweep_section
from .page.sweep import Sweep, split_sweeps
from .study_analysis import Analysis


def write_report(
    analysis: Analysis,
    path: str | os.PathLike[str],
    *,
    title: str,
    trials: pd.DataFrame,
    study_description: Mapping[str, Any] | None = None,
    baselines: Mapping[str, Mapping[str, float]] | None = None,
    groups: pd.DataFrame | None = None,
    source: str = "",
    notes: Sequence[str] = (),
    derived: DerivedStudy | None = None,
) -> Path:
    """Write the report to ``path`` in one piece: readers see the old file or the new one, never half of it.

    The page loads nothing from anywhere; equal arguments give equal bytes.

    Args:
        analysis: tables of all sweeps, and the answer in words.
        path: the HTML file; missing folders are made.
        title: heading of the page.
        trials: all trials, failed ones too: the columns that the analysis took, any of ``results.TRIAL_COLUMNS`` that
            are known, and any others, which are listed with the trials.
        study_description: the resolved study, plain JSON values.
        baselines: workload -> name of a baseline -> its value.
        groups: the column sweep and the columns that split the trials into sweeps, one row a sweep.
        source: where the trials were read from, in words.
        notes: sentences about how they were read.
        derived: what the probes of these sweeps say.

    Returns:
        The path written.
    """
    sweeps = split_sweeps(analysis, complete(trials), derived)
    folded = len(sweeps) >= FOLDED_FROM
    body = "".join(
        [
            _header(
                title, trials, source=source, sweeps=[sweep.name for sweep in sweeps], linked=not folded, overview=True
            ),
            "<main>",
            _answer({sweep.name: _sentences(sweep) for sweep in sweeps}, short=short_answer(sweeps) if folded else ()),
            overview(sweeps, analysis.optima, groups),
            *(
                sweep_section(
                    sweep,
                    answer=[_without_name(line, sweep.name) for line in _sentences(sweep)] if folded else None,
                    all_figures=len(sweeps) <= MOST_DRAWN_FULLY,
                )
                for sweep in sweeps
            ),
            trials_section(trials),
            baselines_section(baselines),
            origin_section(trials, study_description=study_description, source=source, notes=notes),
            "</main>",
        ]
    )
    return _write_page(path, title, body)


def write_probe_report(
    derived: DerivedStudy,
    path: str | os.PathLike[str],
    *,
    title: str,
    trials: pd.DataFrame,
    study_description: Mapping[str, Any] | None = None,
    source: str = "",
    notes: Sequence[str] = (),
) -> Path:
    """Write a report of derived laws alone, of probes without a sweep; see ``write_report``.

    Args:
        derived: what the probes say.
        path: the HTML file; missing folders are made.
        title: heading of the page.
        trials: the probe runs and any other trials, as in ``write_report``.
        study_description: the resolved study, plain JSON values.
        source: where the trials were read from, in words.
        notes: sentences about how they were read.

    Returns:
        The path written.
    """
    names = derived.sweeps
    said = {name: derived.sentences(name) for name in names}
    body = "".join(
        [
            _header(title, trials, source=source, sweeps=names, linked=True, overview=False),
            "<main>",
            _answer(said, short=() if names else ("No probe gave anything to derive a law from.",)),
            *(
                f'<section id="sweep-{number}"><h2>{text(name)}</h2>'
                f"{derived_markup(derived.select(name), number=number, first=1)}</section>"
                for number, name in enumerate(names, start=1)
            ),
            trials_section(trials),
            origin_section(trials, study_description=study_description, source=source, notes=notes),
            "</main>",
        ]
    )
    return _write_page(path, title, body)


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


def _header(
    title: str, trials: pd.DataFrame, *, source: str, sweeps: Sequence[str], linked: bool, overview: bool
) -> Markup:
    links = [("overview", "All sweeps")] if overview and len(sweeps) > 1 else []
    links += [(f"sweep-{number}", name) for number, name in enumerate(sweeps, start=1)] if linked else []
    links += [("trials", "All trials"), ("origin", "How this was made")]
    items = "".join(f'<li><a href="#{name}">{text(words)}</a></li>' for name, words in links)
    origin = source or ", ".join(distinct_words(trials, "study"))
    count = f"{len(trials)} trials in {len(sweeps)} sweep{'s' if len(sweeps) != 1 else ''}"
    eyebrow = " · ".join(part for part in (origin, count) if part)
    return (
        f'<header><div><p class="eyebrow">{text(eyebrow)}</p><h1>{text(title)}</h1></div>'
        '<button type="button" class="theme" id="theme" hidden>Dark theme</button></header>'
        f'<nav aria-label="Contents"><ul>{items}</ul></nav>'
        "<noscript><p>Figures and the table of trials need JavaScript; the rest can be read without.</p></noscript>"
    )


def _answer(said: Mapping[str, Sequence[str]], *, short: Sequence[str] = ()) -> Markup:
    """Return the answer in words: of each sweep the verdict large and the rest as a list, or ``short`` instead.

    Args:
        said: sweep -> its sentences, the first of which is its answer.
        short: sentences about many sweeps together.
    """
    parts = []
    if short:
        first, *others = short
        parts = [paragraph(first, kind="lead"), *(paragraph(line) for line in others)]
    for name, sentences in {} if short else said.items():
        verdict, *others = sentences or [f"{name}: there is nothing to answer from yet."]
        items = "".join(f"<li>{prose(_without_name(line, name))}</li>" for line in others)
        parts.append(paragraph(verdict, kind="lead") + (f"<ul>{items}</ul>" if items else ""))
    return f'<section id="answer" class="answer"><h2>The answer</h2>{"".join(parts)}</section>'


def _sentences(sweep: Sweep) -> list[str]:
    """Return the answer of a sweep, and in one sentence what derived laws say; the section has the rest of that."""
    derived = [] if sweep.derived is None else sweep.derived.sentences(sweep.name)
    return [*sweep.tables.sentences(), *derived[:1]]


def _without_name(line: str, sweep: str) -> str:
    """Return a sentence without the name of the sweep that it stands under."""
    return capitalised(line.removeprefix(f"{sweep}: ")) if line.startswith(f"{sweep}: ") else line


def _write_page(path: str | os.PathLike[str], title: str, body: Markup) -> Path:
    destination = Path(path)
    destination.parent.mkdir(parents=True, exist_ok=True)
    _write_atomically(destination, _page(title, body))
    return destination


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
