"""How the metric fell at the best learning rate of every batch size, over steps and over examples."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from .style import LIGHT, LINE_DASHES, Theme, axis_names, facet_figure, log_axis
from .text import number, plot_text

CURVE_TABLE_COLUMNS = ("batch_size", "learning_rate", "step", "examples", "value", "low", "high", "seeds")


def curves_table(trials: pd.DataFrame, curves: pd.DataFrame, cells: pd.DataFrame, optima: pd.DataFrame) -> pd.DataFrame:
    """Return the metric over the run in one cell a batch size of one sweep: the measured cell nearest to the optimum.

    Returns:
        `CURVE_TABLE_COLUMNS`. ``value`` is the mean over the seeds measured at this step, ``low`` and ``high`` are
        their smallest and largest. A batch size without a measured cell has no rows.
    """
    metrics = set(trials["metric"])
    frames = [pd.DataFrame(columns=list(CURVE_TABLE_COLUMNS)).astype(float)]
    for batch_size, of_batch in cells[cells["status"] == "measured"].groupby("batch_size", sort=True):
        found = optima.loc[optima["batch_size"] == batch_size, "learning_rate"].dropna()
        best = of_batch["score"].idxmin()
        if len(found):
            best = np.abs(np.log(of_batch["learning_rate"] / found.iloc[0])).idxmin()
        rate = float(of_batch.loc[best, "learning_rate"])
        ids = trials.loc[(trials["batch_size"] == batch_size) & (trials["learning_rate"] == rate), "trial_id"]
        rows = curves[curves["trial_id"].isin(ids) & curves["name"].isin(metrics) & np.isfinite(curves["value"])]
        steps = rows.groupby("step", as_index=False, sort=True).agg(
            examples=("examples", "first"),
            value=("value", "mean"),
            low=("value", "min"),
            high=("value", "max"),
            seeds=("trial_id", "nunique"),
        )
        if len(steps):
            frames.append(steps.assign(batch_size=batch_size, learning_rate=rate))
    return pd.concat([frame for frame in frames if len(frame)] or frames)[list(CURVE_TABLE_COLUMNS)].reset_index(
        drop=True
    )


def curves_figure(table: pd.DataFrame, *, metric: str, target: float | None, theme: Theme = LIGHT) -> go.Figure:
    """Draw `curves_table` over steps and over examples, logarithmic, with the target as a dashed line."""
    titles = (f"{plot_text(metric)} over steps", f"{plot_text(metric)} over examples")
    figure = facet_figure(theme, titles, least_width=380, height=380)
    batches = sorted(table["batch_size"].unique())
    positive = bool(len(table)) and bool((table["value"] > 0).all())
    for index, quantity in enumerate(("step", "examples")):
        x_axis, y_axis = axis_names(index)
        for position, batch_size in enumerate(batches):
            rows = table[(table["batch_size"] == batch_size) & (table[quantity] > 0)]
            name = (
                f"B {number(batch_size)}, rate {number(rows['learning_rate'].iloc[0])}"
                if len(rows)
                else number(batch_size)
            )
            figure.add_scatter(
                x=rows[quantity],
                y=rows["value"].round(5),
                mode="lines",
                name=name,
                legendgroup=str(position),
                showlegend=index == 0,
                xaxis=x_axis,
                yaxis=y_axis,
                line={"color": theme.ordered(position, len(batches)), "width": 2, "dash": LINE_DASHES[position % 3]},
                hovertemplate=f"{name}<br>%{{x}} {quantity}: %{{y:.4~g}}<extra></extra>",
            )
        if target is not None and np.isfinite(target):
            figure.add_shape(
                type="line",
                xref=f"{x_axis} domain",
                x0=0,
                x1=1,
                yref=y_axis,
                y0=target,
                y1=target,
                line={"color": theme.muted, "width": 1.2, "dash": "dash"},
            )
        x_title = "optimiser steps" if quantity == "step" else "examples"
        values = log_axis([*table["value"], target], "", ticks=5) if positive else {}
        figure.update_layout(
            {
                f"xaxis{x_axis[1:]}": log_axis(table[quantity], x_title, ticks=6),
                f"yaxis{y_axis[1:]}": values,
            }
        )
    return figure
