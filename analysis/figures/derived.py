"""Rates derived from gradients on one chart with the fitted ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ..derived import DERIVATIONS, DIRECT
from .optima import OPTIMUM_MARKERS, learning_rate_error
from .style import LIGHT, LINE_DASHES, Theme, batch_axis, blank_figure, log_axis
from .text import interval, number, plot_text

DERIVED_FIGURE_COLUMNS = (
    *("derivation", "kind", "batch_size", "learning_rate", "low", "high"),
    "verdict",  # supported | rejected | not resolved; empty without a sweep
    "shown",  # or waiting in the legend
)
SAME_CURVE = 0.05
"""Two curves closer than this in ln everywhere are one to the eye."""
_CURVE_COLOURS = (2, 8, 4, 3, 2, 6, 8)
"""Of ``theme.series``, by the place in ``DERIVATIONS``: apart from the accent's blue for all that one optimiser has."""
_DIRECT_MARKERS = {"one_step": (1, "diamond", 0.93), "line_search": (7, "square", 1.075)}
"""Colour, symbol and how far points are moved aside, so that error bars don't hide one another."""
_OTHER_MARKER = (6, "cross", 1.0)


def derived_rates_table(derived: pd.DataFrame, verdicts: pd.DataFrame) -> pd.DataFrame:
    """Return the resolved mean rates of one sweep's derivations, as drawn.

    Args:
        derived: with ``DERIVED_COLUMNS``.
        verdicts: with ``DERIVATION_VERDICT_COLUMNS``; may be empty.

    Returns:
        `DERIVED_FIGURE_COLUMNS`. ``kind`` is ``points`` for a direct law and ``curve`` for a closed form; a curve that
        an earlier one hides is not ``shown``.
    """
    rows = derived[derived["step"].isna() & (derived["status"] == "ok")]
    said = dict(zip(verdicts["derivation"], verdicts["verdict"], strict=True))
    parts: list[pd.DataFrame] = []
    curves: list[pd.Series] = []
    for name, part in rows.groupby("derivation", sort=False):
        kind, curve = "points" if name in DIRECT else "curve", part.set_index("batch_size")["learning_rate"].map(np.log)
        hidden = kind == "curve" and any(_alike(curve, other) for other in curves)
        if kind == "curve" and not hidden:
            curves.append(curve)
        parts.append(part.assign(kind=kind, verdict=said.get(name, ""), shown=not hidden).sort_values("batch_size"))
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*DERIVED_FIGURE_COLUMNS])
    return table[list(DERIVED_FIGURE_COLUMNS)]


def derived_rates_figure(
    table: pd.DataFrame,
    optima: pd.DataFrame,
    laws: pd.DataFrame,
    *,
    runs: pd.DataFrame,
    theme: Theme = LIGHT,
) -> go.Figure:
    """Draw `derived_rates_table` over the fitted law and the optima: direct laws as points, closed forms as lines.

    Args:
        table: from `derived_rates_table`.
        optima: from ``optima_table``; may be empty.
        laws: from ``laws_table``; the verdict's law is drawn, or the likeliest one; may be empty.
        runs: the probe runs, whose own rates are drawn where there are no optima.
        theme: colours.
    """
    figure = blank_figure(theme, height=520)
    _add_fitted(figure, laws, theme=theme)
    for name, rows in table[table["kind"] == "curve"].groupby("derivation", sort=False):
        _add_curve(figure, str(name), rows, theme=theme)
    known = optima[optima["learning_rate"].notna()]
    _add_optima(figure, known, theme=theme)
    for name, rows in table[table["kind"] == "points"].groupby("derivation", sort=False):
        _add_points(figure, str(name), rows, theme=theme)
    if known.empty:
        figure.add_scatter(
            x=runs["batch_size"],
            y=runs["learning_rate"],
            mode="markers",
            name="rate of the probe run",
            legendrank=200,
            marker={"symbol": "x-thin", "size": 9, "line": {"color": theme.muted, "width": 2}},
            hovertemplate="probe run at batch size %{x:.4~g}, rate %{y:.3~g}<extra></extra>",
        )
    batches = [*known["batch_size"], *table["batch_size"], *(runs["batch_size"] if known.empty else ())]
    drawn = table[table["shown"].astype(bool)]
    heights = [*known["learning_rate"], *known["low"], *known["high"], *drawn["learning_rate"]]
    figure.update_xaxes(batch_axis(batches, ticks=9))
    figure.update_yaxes(log_axis(heights, "best learning rate (peak)"))
    inside = np.log10([value for value in heights if 0 < value < np.inf])
    if len(inside):
        figure.update_yaxes(range=[inside.min() - 0.25, inside.max() + 0.25])
    if batches:
        figure.update_xaxes(range=[np.log10(min(batches) / 1.6), np.log10(max(batches) * 1.6)])
    return figure


def _alike(one: pd.Series, other: pd.Series) -> bool:
    gap = (one - other).dropna().abs()
    return len(gap) == len(one) and bool((gap < SAME_CURVE).all())


def _add_fitted(figure: go.Figure, laws: pd.DataFrame, *, theme: Theme) -> None:
    if laws.empty:
        return
    is_verdict = laws["role"] == "verdict"
    rows = laws[is_verdict] if is_verdict.any() else laws[laws["rank"] == laws["rank"].min()]
    rows = rows[rows["law"] == rows["law"].iloc[0]]
    said = "the verdict" if is_verdict.any() else "the likeliest"
    name = f"fitted: {plot_text(rows['law'].iloc[0])} ({said})"
    _add_band(figure, rows, group="fitted", colour=theme.accent_band, shown=True)
    figure.add_scatter(
        x=rows["batch_size"],
        y=rows["learning_rate"],
        mode="lines",
        name=name,
        legendgroup="fitted",
        legendrank=2,
        line={"color": theme.accent, "width": 3.5},
        text=_rates(rows),
        hovertemplate=f"{name}<br>batch size %{{x:.4~g}}: %{{text}}<extra></extra>",
    )


def _add_optima(figure: go.Figure, known: pd.DataFrame, *, theme: Theme) -> None:
    for reading, (symbol, words) in OPTIMUM_MARKERS.items():
        rows = known[known["reading"] == reading]
        if rows.empty:
            continue
        figure.add_scatter(
            x=rows["batch_size"],
            y=rows["learning_rate"],
            mode="markers",
            name=f"fitted {words}" if reading == "point" else words,
            legendrank=1,
            marker={"symbol": symbol, "size": 10, "color": theme.ink, "line": {"color": theme.paper, "width": 1}},
            error_y=learning_rate_error(rows) | {"color": theme.ink, "thickness": 1.6, "width": 5},
            text=_rates(rows),
            hovertemplate="fitted at batch size %{x:.4~g}: %{text}<extra></extra>",
        )


def _add_curve(figure: go.Figure, name: str, rows: pd.DataFrame, *, theme: Theme) -> None:
    position = list(DERIVATIONS).index(name) if name in DERIVATIONS else len(DERIVATIONS)
    colour = _CURVE_COLOURS[position % len(_CURVE_COLOURS)]
    shown, label = bool(rows["shown"].all()), _label(name, rows)
    group = f"derived {len(figure.data)}"  # a name from data would go into the page as it is
    _add_band(figure, rows, group=group, colour=theme.series_band[colour], shown=shown)
    figure.add_scatter(
        x=rows["batch_size"],
        y=rows["learning_rate"],
        mode="lines",
        name=label,
        legendgroup=group,
        legendrank=20 + position,
        visible=True if shown else "legendonly",
        line={
            "color": theme.series[colour],
            "width": 2.5,
            "dash": LINE_DASHES[1 + position % (len(LINE_DASHES) - 1)],
        },
        text=_rates(rows),
        hovertemplate=f"{label}<br>batch size %{{x:.4~g}}: %{{text}}<extra></extra>",
    )


def _add_points(figure: go.Figure, name: str, rows: pd.DataFrame, *, theme: Theme) -> None:
    colour, symbol, aside = _DIRECT_MARKERS.get(name, _OTHER_MARKER)
    label = _label(name, rows)
    figure.add_scatter(
        x=rows["batch_size"] * aside,
        y=rows["learning_rate"],
        mode="markers",
        name=label,
        legendrank=10,
        marker={
            "symbol": symbol,
            "size": 9,
            "color": theme.series[colour],
            "line": {"color": theme.paper, "width": 1},
        },
        error_y=learning_rate_error(rows) | {"color": theme.series[colour], "thickness": 1.6, "width": 4},
        text=[f"batch size {number(b)}: {rate}" for b, rate in zip(rows["batch_size"], _rates(rows), strict=True)],
        hovertemplate=f"{label}<br>%{{text}}<extra></extra>",
    )


def _add_band(figure: go.Figure, rows: pd.DataFrame, *, group: str, colour: str, shown: bool) -> None:
    shared: dict[str, Any] = {
        "x": rows["batch_size"],
        "mode": "lines",
        "line": {"width": 0},
        "legendgroup": group,
        "showlegend": False,
        "hoverinfo": "skip",
        "visible": True if shown else "legendonly",
    }
    figure.add_scatter(y=rows["low"], **shared)
    figure.add_scatter(y=rows["high"], fill="tonexty", fillcolor=colour, **shared)


def _label(name: str, rows: pd.DataFrame) -> str:
    verdict = str(rows["verdict"].iloc[0])
    return f"derived: {plot_text(name)}" + (f" ({plot_text(verdict)})" if verdict else "")


def _rates(rows: pd.DataFrame) -> Sequence[str]:
    return [interval(row.learning_rate, row.low, row.high) for row in rows.itertuples(index=False)]
