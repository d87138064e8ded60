"""Outcome against learning rate, one small panel a batch size: the valleys whose floor is the optimum."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from .outcome import Outcome
from .style import LIGHT, Theme, axis_names, facet_figure, log_axis
from .text import number

VALLEY_COLUMNS = (
    "batch_size",
    "learning_rate",
    "seed",
    "kind",
    "outcome",
    "mean",
    "optimum",
    "low",
    "high",
    "optimum_outcome",
)


def valleys_table(trials: pd.DataFrame, cells: pd.DataFrame, optima: pd.DataFrame) -> pd.DataFrame:
    """Return one row a trial of one sweep that did not fail, with its cell's mean and its batch size's optimum.

    Args:
        trials: rows of one sweep, columns as in ``results.TRIAL_COLUMNS``.
        cells: rows of the same sweep, as from ``tabulate_cells``; they say which outcome.
        optima: rows of ``optima.csv``.

    Returns:
        `VALLEY_COLUMNS`. ``outcome`` is NaN where the trial has none (``kind``: its status). ``mean`` is NaN in a cell
        that is not measured; ``optimum``, ``low``, ``high`` and ``optimum_outcome`` are NaN without an optimum.
    """
    keys = ["batch_size", "learning_rate"]
    trials = trials[trials["status"] != "failed"]
    of_steps = set(cells["outcome_name"]) == {"steps_to_target"}
    own = trials["steps_to_target"] if of_steps else trials["value"].where(trials["status"] != "diverged")
    table = trials[[*keys, "seed"]].assign(kind=trials["status"], outcome=own)
    means = cells[keys].assign(mean=cells["outcome"].where(cells["status"] == "measured"))
    table = table.merge(means, on=keys, how="left")
    found = optima.rename(columns={"learning_rate": "optimum", "outcome": "optimum_outcome"})
    table = table.merge(found[["batch_size", "optimum", "low", "high", "optimum_outcome"]], on="batch_size", how="left")
    return table.sort_values([*keys, "seed"]).reset_index(drop=True)[list(VALLEY_COLUMNS)]


def valleys_figure(table: pd.DataFrame, *, outcome: Outcome, theme: Theme = LIGHT) -> go.Figure:
    """Draw `valleys_table`: a dot a trial, a line through the means, the optimum with its interval."""
    batches = sorted(table["batch_size"].unique())
    figure = facet_figure(theme, [f"batch {number(b)}" for b in batches], least_width=170, height=190)
    finite = table.loc[np.isfinite(table["outcome"]), "outcome"]
    if finite.empty:
        return figure
    # The panels share one scale; values far on the bad side are cut off, or no valley could be seen.
    low, high = float(finite.min()), float(finite.max())
    logarithmic = low > 0 and high > 2 * low
    rates = log_axis(table["learning_rate"], "", ticks=2)
    for index, batch_size in enumerate(batches):
        x_axis, y_axis = axis_names(index)
        rows = table[table["batch_size"] == batch_size]
        _add_panel(
            figure,
            rows,
            worst=high if outcome.lower_is_better else low,
            first=index == 0,
            axes={"xaxis": x_axis, "yaxis": y_axis},
            theme=theme,
        )
        values = log_axis(finite, "", ticks=4) if logarithmic else {}
        shared = {"matches": "x"} if index else {}
        figure.update_layout(
            {
                f"xaxis{x_axis[1:]}": rates | shared | {"tickfont": {"size": 10}},
                f"yaxis{y_axis[1:]}": values | ({"matches": "y"} if index else {}) | {"tickfont": {"size": 10}},
            }
        )
    return figure


def _add_panel(
    figure: go.Figure,
    rows: pd.DataFrame,
    *,
    worst: float,
    first: bool,
    axes: dict[str, str],
    theme: Theme,
) -> None:
    means = rows.drop_duplicates("learning_rate")
    shared = {"showlegend": first, "hoverinfo": "skip"} | axes
    figure.add_scatter(
        x=means["learning_rate"],
        y=means["mean"],
        mode="lines",
        name="mean over seeds",
        line={"color": theme.muted, "width": 1.2},
        **shared,
    )
    figure.add_scatter(
        x=rows["learning_rate"],
        y=rows["outcome"],
        mode="markers",
        name="trial",
        marker={"color": theme.series[0], "size": 5, "opacity": 0.8},
        hovertemplate="rate %{x:.3~g}: %{y:.4~g}<extra></extra>",
        showlegend=first,
        **axes,
    )
    for kind, symbol, words in (("diverged", "x-thin-open", "diverged"), ("exhausted", "line-ew-open", "not reached")):
        lost = rows[(rows["kind"] == kind) & rows["outcome"].isna()]
        if len(lost) or first:
            figure.add_scatter(
                x=lost["learning_rate"],
                y=[worst] * len(lost),
                mode="markers",
                name=f"{words} (drawn at the worst value)",
                marker={"symbol": symbol, "size": 7, "color": theme.series[1], "line": {"width": 1.6}},
                **shared,
            )
    best = rows.iloc[0]
    if np.isfinite(best["optimum"]):
        ends = np.array([best["low"], best["high"]], dtype=float)
        array, minus = ends[1] - best["optimum"], best["optimum"] - ends[0]
        figure.add_scatter(
            x=[best["optimum"]],
            y=[best["optimum_outcome"]],
            mode="markers",
            name="optimum, 95 % interval",
            marker={"symbol": "diamond", "size": 10, "color": theme.accent, "line": {"color": theme.paper, "width": 1}},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [array],
                "arrayminus": [minus],
                "color": theme.accent,
                "thickness": 2,
                "width": 4,
            },
            **shared,
        )
