"""The last sections of the report: all trials, baselines, and how it was made."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly

from results import TRIAL_COLUMNS

from ..figures import number
from .columns import distinct_words, says_something
from .markup import Markup, data_table, definitions, details, json_block, prose, text
from .tables import trials_data

DEFINITIONS: Mapping[str, str] = {
    "batch size": "global examples per optimiser step, over all devices",
    "learning rate": "peak value given to the optimiser; nothing rescales it",
    "best learning rate": "vertex of a parabola through the log outcome against log rate near its minimum, mean over "
    "seeds; the interval holds 95 % of resampled optima",
    "bound": "the best rate lies at the edge of the grid or beyond it, so that only one side of it is known",
    "target not reached": "the budget ended first; the cell's steps are a lower bound and are kept as one",
    "AICc weight": "share of the evidence for a law among those compared, by Akaike's criterion for small samples",
    "derived law": "best rates computed from measured gradients, their noise and the curvature, without a free "
    "parameter; supported or rejected by how they move with the batch size, and beside that by their level",
    "octave": "a factor of two in the learning rate",
    "undetermined": "the data do not separate the laws; no fault, but a call for the trials named",
    "[low, high]": "95 % interval; a dash is an end that the data do not bound",
}


def trials_section(trials: pd.DataFrame) -> Markup:
    """Return the place of the table of all trials, and its data."""
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


def baselines_section(baselines: Mapping[str, Mapping[str, float]] | None) -> Markup:
    """Return what a workload's metric is without training; nothing without any."""
    if not baselines:
        return ""
    rows = [
        (workload, name, number(value, digits=4)) for workload, row in baselines.items() for name, value in row.items()
    ]
    table = data_table(
        "What a workload's metric is without training.", ("workload", "baseline", "value"), rows, numeric=(2,)
    )
    return f'<section id="baselines"><h2>Baselines</h2>{table}</section>'


def origin_section(
    trials: pd.DataFrame, *, study_description: Mapping[str, Any] | None, source: str, notes: Sequence[str]
) -> Markup:
    """Return where the trials came from, as far as they say, and what the words of the page mean."""

    def distinct(name: str) -> str:
        if name not in trials.columns or not says_something(trials[name]):
            return ""
        counts = trials[name].astype(str).value_counts()
        return ", ".join(f"{value} ({count} trials)" for value, count in counts.items())

    facts = {
        "read from": source,
        "code of the trials": distinct("code_version"),
        "code of this report": f"batchlaw {importlib.metadata.version('batchlaw')}, plotly {plotly.__version__}",
        "hardware": distinct("hardware"),
        "data-parallel workers": distinct("world_size"),
        "arithmetic": distinct("dtype"),
        "ZeRO stage": distinct("zero_stage"),
        "trials began": _span(trials),
        "training time": _training_time(trials),
    }
    read = "".join(f"<li>{prose(note)}</li>" for note in notes)
    described = json.dumps(study_description, indent=2, ensure_ascii=False, default=str) if study_description else ""
    study = f"<h3>Resolved study</h3><pre>{text(described)}</pre>" if described else ""
    units = [
        (name, column.unit or "–", column.meaning)
        for name, column in TRIAL_COLUMNS.items()
        if name in trials.columns and says_something(trials[name])
    ]
    table = data_table("Columns of a stored trial.", ("column", "unit", "meaning"), units)
    return (
        '<section id="origin"><h2>How this was made</h2>'
        f"{definitions({name: words for name, words in facts.items() if words})}"
        f"{f'<h3>How the table was read</h3><ul>{read}</ul>' if read else ''}"
        f"<h3>Definitions</h3>{definitions(DEFINITIONS)}"
        f"{study}{details('Columns and units', table)}</section>"
    )


def _span(trials: pd.DataFrame) -> str:
    began = distinct_words(trials, "started_at")
    return f"{min(began)} to {max(began)}" if began else ""


def _training_time(trials: pd.DataFrame) -> str:
    if "train_seconds" not in trials.columns or not says_something(trials["train_seconds"]):
        return ""
    return f"{number(float(trials['train_seconds'].sum()) / 3600)} h over all trials, evaluation excluded"
