"""The whole grid at a glance: the outcome of every cell of batch size and learning rate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from .optima import learning_rate_error
from .outcome import Outcome
from .style import LIGHT, Theme, batch_axis, blank_figure, log_axis
from .text import number, plot_text

_STATUSES = ("reached", "exhausted", "diverged", "failed")
HEATMAP_COLUMNS = ("batch_size", "learning_rate", "kind", "outcome", *_STATUSES)
_MARKS = {
    "right_censored": ("line-ew-open", "target not reached"),
    "diverged": ("x-thin-open", "diverged"),
    "failed": ("diamond-open", "failed, not fitted"),
}


def heatmap_table(trials: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Return one row a cell of one sweep, with cells of which every trial failed.

    Args:
        trials: rows of one sweep, columns as in ``results.TRIAL_COLUMNS``.
        cells: rows of the same sweep, as from ``tabulate_cells``.

    Returns:
        `HEATMAP_COLUMNS`: ``kind`` is the cell's status (``measured``, ``right_censored``, ``diverged``) or
        ``failed``; ``outcome`` is the mean over seeds of a measured cell, a bound of a right-censored one, else NaN.
        The four last columns count its trials by status.
    """
    keys = ["batch_size", "learning_rate"]
    counts = pd.DataFrame({status: trials["status"] == status for status in _STATUSES}).astype(int)
    table = pd.concat([trials[keys], counts], axis="columns").groupby(keys, as_index=False, sort=True).sum()
    table = table.merge(cells[[*keys, "status", "outcome"]], on=keys, how="left")
    table["kind"] = table["status"].fillna("failed")
    return table[list(HEATMAP_COLUMNS)]


def heatmap_figure(table: pd.DataFrame, optima: pd.DataFrame, *, outcome: Outcome, theme: Theme = LIGHT) -> go.Figure:
    """Draw `heatmap_table` with the ridge of optima on it. Brighter is better; cells without a number carry a mark.

    The axes are powers of two; positions are log2, so that cells are as wide as they are far apart.
    """
    figure = blank_figure(theme, height=480)
    if table.empty:
        return figure
    _add_cells(figure, table, outcome=outcome, theme=theme)
    for kind, (symbol, words) in _MARKS.items():
        cells = table[table["kind"] == kind]
        if len(cells):
            figure.add_scatter(
                x=np.log2(cells["batch_size"]),
                y=np.log2(cells["learning_rate"]),
                mode="markers",
                name=words,
                marker={"symbol": symbol, "size": 10, "color": theme.ink, "line": {"width": 2, "color": theme.ink}},
                hoverinfo="skip",
            )
    _add_ridge(figure, optima)
    batches, rates = batch_axis(table["batch_size"], ticks=9), log_axis(table["learning_rate"], "learning rate (peak)")
    for update, axis in ((figure.update_xaxes, batches), (figure.update_yaxes, rates)):
        update(title=axis["title"], showgrid=False)
        update(tickvals=[math.log2(value) for value in axis["tickvals"]], ticktext=axis["ticktext"])
    y = np.log2(table["learning_rate"])
    figure.update_yaxes(range=[y.min() - 0.5, y.max() + 0.5])
    figure.update_layout(margin={"t": 56})
    return figure


def _add_cells(figure: go.Figure, table: pd.DataFrame, *, outcome: Outcome, theme: Theme) -> None:
    shown = table.assign(outcome=table["outcome"].where(table["kind"] == "measured"))
    grid = shown.pivot(index="learning_rate", columns="batch_size", values="outcome")
    hover = table.assign(hover=[_hover(row, outcome) for row in table.to_dict("records")])
    text = hover.pivot(index="learning_rate", columns="batch_size", values="hover").reindex_like(grid)
    place = {"x": np.log2(grid.columns.to_numpy(dtype=float)), "y": np.log2(grid.index.to_numpy(dtype=float))}
    void = np.where(text.notna() & grid.isna(), 1.0, np.nan)
    common = {"text": text.fillna("").to_numpy(), "hovertemplate": "%{text}<extra></extra>", "xgap": 2, "ygap": 2}
    flat = [[0, theme.void], [1, theme.void]]
    figure.add_heatmap(z=void, colorscale=flat, zmin=0, zmax=1, showscale=False, showlegend=False, **place, **common)
    finite = grid.to_numpy()[np.isfinite(grid.to_numpy())]
    if not len(finite):
        return
    # A few cells near divergence would use up the whole scale: it ends at the 90th percentile on the bad side.
    logarithmic = bool((finite > 0).all() and finite.max() > 4 * finite.min())
    scale = np.log10 if logarithmic else np.asarray
    low, high = np.quantile(scale(finite), (0, 0.9) if outcome.lower_is_better else (0.1, 1))
    marks = [
        float(f"{10**tick if logarithmic else tick:.2g}") for tick in np.linspace(low, high, 4 if high > low else 1)
    ]
    words = [number(mark, digits=2) for mark in marks]
    if outcome.lower_is_better and scale(finite).max() > high:
        words[-1] = f"≥ {words[-1]}"
    if not outcome.lower_is_better and scale(finite).min() < low:
        words[0] = f"≤ {words[0]}"
    figure.add_heatmap(
        z=scale(grid.to_numpy()),
        zmin=low,
        zmax=high if high > low else low + 1,
        colorscale="Cividis",
        reversescale=outcome.lower_is_better,
        colorbar={
            "orientation": "h",
            "thickness": 10,
            "len": 1,
            "y": 1.01,
            "yanchor": "bottom",
            "title": {"text": plot_text(outcome.label), "side": "top"},
            "tickvals": np.clip(scale(marks), low, high).tolist(),
            "ticktext": words,
            "outlinewidth": 0,
        },
        **place,
        **common,
    )


def _hover(row: Mapping[str, Any], outcome: Outcome) -> str:
    counts = ", ".join(f"{row[status]} {status}" for status in _STATUSES if row[status])
    head = f"batch size {number(row['batch_size'])}, learning rate {number(row['learning_rate'])}"
    least = "at least " if row["kind"] == "right_censored" else ""
    shown = f"{plot_text(outcome.label)}: {least}{number(row['outcome'], digits=4)}<br>"
    value = "" if math.isnan(row["outcome"]) else shown
    return f"{head}<br>{value}trials: {counts}"


def _add_ridge(figure: go.Figure, optima: pd.DataFrame) -> None:
    known = optima[optima["learning_rate"].notna()].sort_values("batch_size")
    if known.empty:
        return
    x, y = np.log2(known["batch_size"]), np.log2(known["learning_rate"])
    symbols = [{"edge_low": "triangle-down", "edge_high": "triangle-up"}.get(s, "circle") for s in known["status"]]
    error = learning_rate_error(known, log2=True)
    # White over black can be seen on every colour of the scale, lines and intervals alike.
    figure.add_scatter(
        x=x,
        y=y,
        mode="lines",
        line={"color": "#000000", "width": 4},
        error_y=error | {"color": "#000000", "thickness": 5, "width": 6},
        opacity=0.6,
        hoverinfo="skip",
        showlegend=False,
    )
    figure.add_scatter(
        x=x,
        y=y,
        mode="lines+markers",
        name="optimum, 95 % interval",
        line={"color": "#ffffff", "width": 2},
        marker={"symbol": symbols, "size": 10, "color": "#ffffff", "line": {"color": "#000000", "width": 1.5}},
        error_y=error | {"color": "#ffffff", "thickness": 2, "width": 4},
        hoverinfo="skip",
    )
