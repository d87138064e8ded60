"""What a larger batch buys: steps and examples to the target, and the hyperbola between them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from .outcome import Outcome
from .style import LIGHT, Theme, axis_names, batch_axis, facet_figure, log_axis
from .text import interval, number, plot_text

TRADEOFF_FIGURE_COLUMNS = (
    *("batch_size", "status"),
    *("steps", "steps_low", "steps_high", "examples", "examples_low", "examples_high"),
    *("fitted_steps", "fitted_examples"),
)
_MARKERS = {
    "measured": ("circle", "measured, 95 % interval"),
    "at_most": ("triangle-down", "at most (rate at the edge)"),
    "at_least": ("triangle-up", "at least (target not reached)"),
}


def tradeoff_table(steps: pd.DataFrame, fit: Mapping[str, Any] | None) -> pd.DataFrame:
    """Return steps and examples to the target by batch size of one sweep, beside the fitted hyperbola.

    Args:
        steps: rows of the analysis's table ``steps``.
        fit: a row of ``tradeoff.csv``, or None.

    Returns:
        `TRADEOFF_FIGURE_COLUMNS`. An end that is not known is NaN, as are the fitted columns without a fit.
    """
    table = steps[["batch_size", "status", "steps", "examples"]].sort_values("batch_size").reset_index(drop=True)
    ends = steps.sort_values("batch_size").reset_index(drop=True)
    batch_size = table["batch_size"].to_numpy(dtype=float)
    fitted = hyperbola(batch_size, fit)
    table = table.assign(
        steps_low=ends["low"],
        steps_high=ends["high"],
        examples_low=ends["low"] * batch_size,
        examples_high=ends["high"] * batch_size,
        fitted_steps=fitted,
        fitted_examples=fitted * batch_size,
    )
    return table[list(TRADEOFF_FIGURE_COLUMNS)]


def hyperbola(batch_sizes: np.ndarray, fit: Mapping[str, Any] | None) -> np.ndarray:
    """Return the fitted steps at ``batch_sizes``; NaN where the fit has no finite S_min and B_crit."""
    if fit is None or not all(np.isfinite(fit[name]) for name in ("s_min", "b_crit")):
        return np.full(len(batch_sizes), np.nan)
    return fit["s_min"] * (1 + fit["b_crit"] / batch_sizes)


def tradeoff_figure(
    table: pd.DataFrame, fit: Mapping[str, Any] | None, *, outcome: Outcome, theme: Theme = LIGHT
) -> go.Figure:
    """Draw `tradeoff_table`: steps and examples over the batch size, with S_min, E_min and B_crit.

    Args:
        table: from `tradeoff_table`.
        fit: the row of ``tradeoff.csv`` that it was made with.
        outcome: words for the steps to the target.
        theme: colours.
    """
    label = plot_text(outcome.label)
    figure = facet_figure(theme, (label, label.replace("steps", "examples", 1)), least_width=380, height=360)
    dense = np.geomspace(table["batch_size"].min(), table["batch_size"].max(), 80) if len(table) else np.array([])
    for index, (quantity, floor, symbol) in enumerate((("steps", "s_min", "S_min"), ("examples", "e_min", "E_min"))):
        x_axis, y_axis = axis_names(index)
        axes = {"xaxis": x_axis, "yaxis": y_axis}
        line = hyperbola(dense, fit) * (1 if quantity == "steps" else dense)
        if np.isfinite(line).any():
            stroke = {"color": theme.accent, "width": 2.5}
            figure.add_scatter(
                x=dense, y=line, mode="lines", name="fitted hyperbola", showlegend=index == 0, line=stroke, **axes
            )
            figure.update_traces(hoverinfo="skip", selector={"name": "fitted hyperbola"})
        _add_rule(figure, fit, floor, symbol, axes=axes, theme=theme)
        _add_critical_batch(figure, fit, axes=axes, theme=theme, named=index == 0)
        for status, (marker, words) in _MARKERS.items():
            _add_points(figure, table[table["status"] == status], quantity, marker, words, axes=axes, theme=theme)
        heights = [*table[quantity], *line, fit[floor] if fit else None]
        figure.update_layout(
            {
                f"xaxis{x_axis[1:]}": batch_axis(table["batch_size"]),
                f"yaxis{y_axis[1:]}": log_axis(heights, f"{quantity} to the target", ticks=6),
            }
        )
    return figure


def _add_points(
    figure: go.Figure,
    rows: pd.DataFrame,
    quantity: str,
    marker: str,
    words: str,
    *,
    axes: Mapping[str, str],
    theme: Theme,
) -> None:
    if rows.empty:
        return
    value, low, high = (rows[name] for name in (quantity, f"{quantity}_low", f"{quantity}_high"))
    figure.add_scatter(
        x=rows["batch_size"],
        y=value,
        mode="markers",
        name=words,
        showlegend=quantity == "steps",
        marker={"symbol": marker, "color": theme.ink, "size": 9, "line": {"color": theme.paper, "width": 1}},
        error_y={"type": "data", "array": high - value, "arrayminus": value - low, "color": theme.ink, "width": 4},
        text=[
            f"batch size {number(b)}: {interval(v, at_least, at_most, digits=3)} {quantity}"
            for b, v, at_least, at_most in zip(rows["batch_size"], value, low, high, strict=True)
        ],
        hovertemplate="%{text}<extra></extra>",
        **axes,
    )


def _add_rule(
    figure: go.Figure,
    fit: Mapping[str, Any] | None,
    name: str,
    symbol: str,
    *,
    axes: Mapping[str, str],
    theme: Theme,
) -> None:
    """Draw S_min or E_min as a dashed line at the foot of its panel, with the interval in words."""
    if fit is None or not np.isfinite(fit[name]):
        return
    x_domain, y_axis, value = f"{axes['xaxis']} domain", axes["yaxis"], float(fit[name])
    dashed = {"color": theme.muted, "width": 1.2, "dash": "dash"}
    figure.add_shape(type="line", line=dashed, xref=x_domain, x0=0, x1=1, yref=y_axis, y0=value, y1=value)
    side = "left" if name == "s_min" else "right"  # where the curve is high
    figure.add_annotation(
        text=f"{symbol} = {interval(value, fit[f'{name}_low'], fit[f'{name}_high'])}",
        showarrow=False,
        font={"size": 11, "color": theme.muted},
        bgcolor=theme.paper,
        xref=x_domain,
        x=0.02 if side == "left" else 0.98,
        xanchor=side,
        yref=y_axis,
        y=math.log10(value),
        yanchor="bottom",
    )


def _add_critical_batch(
    figure: go.Figure, fit: Mapping[str, Any] | None, *, axes: Mapping[str, str], theme: Theme, named: bool
) -> None:
    """Draw B_crit as an upright dashed line, with its interval in words in the panel where there is room."""
    if fit is None or not np.isfinite(fit["b_crit"]):
        return
    x_axis, y_domain, value = axes["xaxis"], f"{axes['yaxis']} domain", float(fit["b_crit"])
    dashed = {"color": theme.muted, "width": 1.2, "dash": "dash"}
    figure.add_shape(type="line", line=dashed, xref=x_axis, x0=value, x1=value, yref=y_domain, y0=0, y1=1)
    if named:
        figure.add_annotation(
            text=f"B_crit = {interval(value, fit['b_crit_low'], fit['b_crit_high'])}",
            showarrow=False,
            font={"size": 11, "color": theme.muted},
            xref=x_axis,
            x=math.log10(value),
            xanchor="left",
            yref=y_domain,
            y=0.98,
            yanchor="top",
        )
