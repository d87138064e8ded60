"""The best learning rate against the batch size, and the laws that were fitted to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ..laws import LAWS
from .outcome import Outcome
from .style import LIGHT, LINE_DASHES, Theme, batch_axis, blank_figure, log_axis
from .text import interval, number, plot_text, share

LEAST_WEIGHT_SHOWN = 0.01
"""Laws below this AICc weight wait in the legend, so that the others can be seen."""
_READINGS = {"interior": "point", "edge_low": "upper bound", "edge_high": "lower bound", "unresolved": "unresolved"}
OPTIMUM_MARKERS = {
    "point": ("circle", "optimum, 95 % interval"),
    "lower bound": ("triangle-up", "bound: the optimum is higher"),
    "upper bound": ("triangle-down", "bound: the optimum is lower"),
    "unresolved": ("circle-open", "not resolved"),
}


def optima_table(optima: pd.DataFrame) -> pd.DataFrame:
    """Return the optima of one sweep by batch size, with how each is to be read.

    Returns:
        The columns of ``optima.csv`` and ``reading``: ``point``, ``lower bound`` (best at the upper edge of the
        grid, so the optimum lies higher), ``upper bound`` or ``unresolved``.
    """
    table = optima.sort_values("batch_size").reset_index(drop=True)
    return table.assign(reading=[_READINGS.get(str(status), "unresolved") for status in table["status"]])


def laws_table(bands: pd.DataFrame, fits: pd.DataFrame, *, verdict: str) -> pd.DataFrame:
    """Return the drawn curve of every fitted law of one sweep.

    Args:
        bands: law, batch_size, learning_rate, low, high.
        fits: rows of ``fits.csv``; the weight is the same for all parameters of a law.
        verdict: a law's name, or ``undetermined``.

    Returns:
        The columns of ``bands`` with ``weight`` (AICc weight; NaN for a law outside the choice), ``rank`` (0 for the
        largest weight) and ``role``: ``verdict``, ``possible`` or ``unlikely`` (weight below
        `LEAST_WEIGHT_SHOWN`; without any weights all are possible). Ordered by rank, then batch size.
    """
    weights = fits.groupby("law")["weight"].first() if len(fits) else pd.Series(dtype=float)
    order = list(weights.sort_values(ascending=False, na_position="last", kind="stable").index)
    table = bands.assign(
        weight=[float(weights.get(law, np.nan)) for law in bands["law"]],
        rank=[order.index(law) if law in order else len(order) for law in bands["law"]],
    )
    shown = (table["weight"] >= LEAST_WEIGHT_SHOWN) | bool(weights.isna().all())
    possible = np.where(shown, "possible", "unlikely")
    table["role"] = np.where(table["law"] == verdict, "verdict", possible)
    return table.sort_values(["rank", "law", "batch_size"]).reset_index(drop=True)


def optima_figure(table: pd.DataFrame, laws: pd.DataFrame, *, outcome: Outcome, theme: Theme = LIGHT) -> go.Figure:
    """Draw `optima_table` over `laws_table`: one line a law with its band, the verdict's law thick.

    With an undetermined verdict no law is thick. A click on a law in the legend shows or hides it.
    """
    figure = blank_figure(theme, height=520)
    for law in reversed(list(dict.fromkeys(laws["law"]))):  # the likeliest is drawn last, on top
        _add_law(figure, laws[laws["law"] == law], theme=theme)
    known = table[table["learning_rate"].notna()]
    for reading, (symbol, words) in OPTIMUM_MARKERS.items():
        rows = known[known["reading"] == reading]
        if rows.empty:
            continue
        figure.add_scatter(
            x=rows["batch_size"],
            y=rows["learning_rate"],
            mode="markers",
            name=words,
            legendrank=100,
            marker={"symbol": symbol, "size": 11, "color": theme.ink, "line": {"color": theme.paper, "width": 1}},
            error_y=learning_rate_error(rows) | {"color": theme.ink, "thickness": 1.6, "width": 5},
            text=[_hover(row, outcome) for row in rows.to_dict("records")],
            hovertemplate="%{text}<extra></extra>",
        )
    for row in known[known["reading"].isin(["lower bound", "upper bound"])].to_dict("records"):
        _add_arrow(figure, row, theme=theme)
    batches = [*table["batch_size"]]
    heights = [*known["learning_rate"], *known["low"], *known["high"]]
    figure.update_xaxes(batch_axis(batches, ticks=9))
    if batches:  # the laws go further: an octave of that is enough to see where they lead
        figure.update_xaxes(range=[np.log10(min(batches) / 2), np.log10(max(batches) * 2)])
    figure.update_yaxes(log_axis(heights, "best learning rate (peak)"))
    if len(known):
        # Laws that miss the data may leave the frame; the data decide its size.
        inside = np.log10([v for v in heights if 0 < v < np.inf])
        figure.update_yaxes(range=[inside.min() - 0.3, inside.max() + 0.3])
    return figure


def optimum_words(row: Mapping[str, Any]) -> str:
    """Return a row of `optima_table` as ``0.0031 [0.0025, 0.0038]``, as a bound, or as not resolved."""
    if row["reading"] == "lower bound":
        return f"at least {number(row['low'])}"
    if row["reading"] == "upper bound":
        return f"at most {number(row['high'])}"
    if not np.isfinite(row["learning_rate"]):
        return "not resolved"
    return interval(row["learning_rate"], row["low"], row["high"])


def learning_rate_error(rows: pd.DataFrame, *, log2: bool = False) -> dict[str, Any]:
    """Return plotly's error bars for ``learning_rate`` with ``low`` and ``high``; an end not known has no bar."""
    scale = np.log2 if log2 else np.asarray
    ends = [
        scale(rows[name].astype(float).where(rows[name] > 0).to_numpy()) for name in ("low", "learning_rate", "high")
    ]
    ends = [np.where(np.isfinite(end), end, np.nan) for end in ends]
    return {"type": "data", "symmetric": False, "array": ends[2] - ends[1], "arrayminus": ends[1] - ends[0]}


def _add_law(figure: go.Figure, rows: pd.DataFrame, *, theme: Theme) -> None:
    law, weight, rank, role = (rows[name].iloc[0] for name in ("law", "weight", "rank", "role"))
    position = list(LAWS).index(law) if law in LAWS else len(LAWS)  # a law looks the same in every sweep
    colour = theme.accent if role == "verdict" else theme.series[position % len(theme.series)]
    band = theme.accent_band if role == "verdict" else theme.series_band[position % len(theme.series)]
    name = plot_text(law) + (f" (weight {share(weight)})" if np.isfinite(weight) else "")
    shared = {
        "x": rows["batch_size"],
        "legendgroup": f"law {rank}",
        "visible": "legendonly" if role == "unlikely" else True,
    }
    edge = {"mode": "lines", "line": {"width": 0}, "showlegend": False, "hoverinfo": "skip"}
    figure.add_scatter(y=rows["low"], **edge, **shared)
    figure.add_scatter(y=rows["high"], fill="tonexty", fillcolor=band, **edge, **shared)
    figure.add_scatter(
        y=rows["learning_rate"],
        mode="lines",
        name=name + (" – the verdict" if role == "verdict" else ""),
        legendrank=1 + int(rank),
        line={
            "color": colour,
            "width": 3.5 if role == "verdict" else 1.5,
            "dash": "solid" if role == "verdict" else LINE_DASHES[position % len(LINE_DASHES)],
        },
        text=[interval(r.learning_rate, r.low, r.high) for r in rows.itertuples()],
        hovertemplate=f"{name}<br>batch size %{{x:.4~g}}: %{{text}}<extra></extra>",
        **shared,
    )


def _add_arrow(figure: go.Figure, row: dict[str, Any], *, theme: Theme) -> None:
    upwards = row["reading"] == "lower bound"
    tail = {
        "x": [row["batch_size"]] * 2,
        "y": [row["learning_rate"], row["learning_rate"] * (1.6 if upwards else 1 / 1.6)],
    }
    figure.add_scatter(
        **tail,
        mode="lines+markers",
        line={"color": theme.ink, "width": 1.6},
        marker={"symbol": "arrow-up" if upwards else "arrow-down", "size": [0, 9], "color": theme.ink},
        showlegend=False,
        hoverinfo="skip",
    )


def _hover(row: dict[str, Any], outcome: Outcome) -> str:
    """Say everything about one optimum; the text is safe for plotly."""
    lines: Sequence[str] = (
        f"batch size {number(row['batch_size'])}",
        f"best learning rate {optimum_words(row)}",
        f"{plot_text(outcome.label)}: {number(row['outcome'], digits=4)}",
        f"{row['reading']} ({plot_text(row['status'])}), {row['cells']} cells, {row['seeds']} seeds",
    )
    return "<br>".join(lines)
