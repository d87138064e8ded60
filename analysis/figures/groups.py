"""The best learning rate against the batch size for several sweeps on one chart."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from .optima import optima_table, optimum_words
from .style import LIGHT, LINE_DASHES, Theme, batch_axis, blank_figure, log_axis
from .text import number, plot_text

GROUPS_COLUMNS = ("sweep", "batch_size", "learning_rate", "low", "high", "reading", "words")
MOST_NAMED = 18
"""Sweeps that a legend can name; more are told apart by pointing at them."""
LONGEST_NAME = 40


def groups_table(optima: pd.DataFrame) -> pd.DataFrame:
    """Return the optima and bounds of all sweeps by sweep and batch size, with `GROUPS_COLUMNS`.

    ``reading`` is that of `optima_table`, ``words`` are its rate and interval in words. What is not resolved is left
    out.
    """
    table = optima_table(optima)
    table = table[table["learning_rate"].notna() & (table["reading"] != "unresolved")]
    table = table.assign(words=[optimum_words(row) for row in table.to_dict("records")])
    order = {sweep: position for position, sweep in enumerate(dict.fromkeys(optima["sweep"]))}
    table = table.sort_values(["sweep", "batch_size"], key=lambda c: c.map(order) if c.name == "sweep" else c)
    return table[list(GROUPS_COLUMNS)].reset_index(drop=True)


def groups_figure(table: pd.DataFrame, *, theme: Theme = LIGHT) -> go.Figure:
    """Draw `groups_table`: a line a sweep through its optima, bounds as open triangles."""
    figure = blank_figure(theme, height=520)
    sweeps = list(dict.fromkeys(table["sweep"]))
    named = len(sweeps) <= MOST_NAMED
    for position, sweep in enumerate(sweeps):
        rows = table[table["sweep"] == sweep]
        short = sweep if len(sweep) <= LONGEST_NAME else f"{sweep[: LONGEST_NAME - 1]}…"
        # Many lines are told apart by their order along the groups, few by colours that differ most.
        colour = theme.series[position % len(theme.series)] if named else theme.ordered(position, len(sweeps))
        figure.add_scatter(
            x=rows["batch_size"],
            y=rows["learning_rate"],
            mode="lines+markers",
            name=plot_text(short),
            showlegend=named,
            opacity=1.0 if named else 0.65,
            line={"color": colour, "width": 1.8 if named else 1.1, "dash": _dash(position, named)},
            marker={"color": colour, "size": 8 if named else 5, "symbol": [_SYMBOLS[r] for r in rows["reading"]]},
            text=[
                f"{plot_text(sweep)}<br>batch size {number(b)}: {words}"
                for b, words in zip(rows["batch_size"], rows["words"], strict=True)
            ],
            hovertemplate="%{text}<extra></extra>",
        )
    figure.update_xaxes(batch_axis(table["batch_size"], ticks=9))
    figure.update_yaxes(log_axis(table["learning_rate"], "best learning rate (peak)"))
    rates = table["learning_rate"].to_numpy(dtype=float)
    if len(rates):
        ends = np.log10([rates.min(), rates.max()])
        figure.update_yaxes(range=[ends[0] - 0.2, ends[1] + 0.2])
    return figure


_SYMBOLS = {"point": "circle", "lower bound": "triangle-up-open", "upper bound": "triangle-down-open"}


def _dash(position: int, named: bool) -> str:
    return LINE_DASHES[position % len(LINE_DASHES)] if named else "solid"
