"""The noise scale along training as probes see it, over what the fit and the trade-off say it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from .style import LIGHT, Theme, axis_names, facet_figure, log_axis
from .text import interval, number, plot_text

NOISE_STEP_COLUMNS = (
    *("source", "trial_id", "batch_size", "learning_rate", "step", "examples"),
    *("value", "low", "high", "status"),
)
_PANELS = {"probe_b_noise": "tr(HΣ) / gᵀHg", "probe_b_simple": "B_simple = tr Σ / |g|²", "probe_b_sign": "π κ² / 2"}
_BANDS = {"fit": "fitted", "hyperbola": "B_crit"}


def noise_steps_table(three_way: pd.DataFrame, noise_scales: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the probes' noise scales of one sweep with the run and the examples seen before each.

    Args:
        three_way: with ``THREE_WAY_COLUMNS``; values carry the optimiser's noise factor.
        noise_scales: with ``CONSTANT_COLUMNS``.
        runs: the probe runs.

    Returns:
        `NOISE_STEP_COLUMNS`, by source, batch size, run and step.
    """
    seen = noise_scales.drop_duplicates(["trial_id", "step"])[["trial_id", "step", "examples"]]
    rows = three_way[three_way["step"].notna()].merge(seen, on=["trial_id", "step"], how="left")
    rows = rows.merge(runs[["trial_id", "batch_size", "learning_rate"]], on="trial_id", how="left")
    order = ["source", "batch_size", "learning_rate", "trial_id", "step"]
    return rows.sort_values(order, kind="stable").reset_index(drop=True)[list(NOISE_STEP_COLUMNS)]


def noise_steps_figure(table: pd.DataFrame, three_way: pd.DataFrame, *, theme: Theme = LIGHT) -> go.Figure:
    """Draw `noise_steps_table`, one panel a quantity and one line a run, with the other two measurements as bands.

    Args:
        table: from `noise_steps_table`.
        three_way: of the same sweep; its ``fit`` and ``hyperbola`` are the bands.
        theme: colours.
    """
    known = table[(table["status"] != "not_measured") & table["value"].notna()]
    panels = {source: title for source, title in _PANELS.items() if (known["source"] == source).any()}
    figure = facet_figure(theme, list(panels.values()), least_width=380, height=380)
    bands = three_way[three_way["step"].isna() & three_way["source"].isin(list(_BANDS))]
    heights = [*known["value"], *known["low"], *known["high"], *bands["value"], *bands["low"], *bands["high"]]
    runs = list(dict.fromkeys(known["trial_id"]))
    sizes = sorted(known["batch_size"].dropna().unique())
    known = known.assign(place=_seen(known["examples"]))
    span = log_axis(heights, "noise scale (examples per step)", ticks=6)
    inside = np.log10([height for height in heights if 0 < height < np.inf])
    if len(inside):
        span["range"] = [inside.min() - 0.08, inside.max() + 0.08]
    for index, source in enumerate(panels):
        x_axis, y_axis = axis_names(index)
        for band in bands.itertuples(index=False):
            _add_band(figure, band, axes=(x_axis, y_axis), named=index == 0, theme=theme)
        for trial_id, rows in known[known["source"] == source].groupby("trial_id", sort=False):
            batch_size = rows["batch_size"].iloc[0]
            position = sizes.index(batch_size) if batch_size in sizes else 0
            _add_run(
                figure,
                rows,
                group=f"run {runs.index(trial_id)}",
                colour=theme.ordered(position, len(sizes)),
                axes=(x_axis, y_axis),
                named=index == 0,
            )
        figure.update_layout({f"yaxis{y_axis[1:]}": span, f"xaxis{x_axis[1:]}": _examples_axis(known["examples"])})
    return figure


def _seen(examples: pd.Series) -> pd.Series:
    """Return where probes stand on a logarithmic axis: one before the first step stands left of all others."""
    later = examples[examples > 0]
    return examples.where(examples > 0, later.min() / 4.0 if len(later) else 1.0)


def _examples_axis(examples: pd.Series) -> dict[str, Any]:
    axis = log_axis(examples[examples > 0], "examples seen before the probe", ticks=5)
    if (examples > 0).all():
        return axis
    start = float(_seen(examples).min())
    marks = [mark for mark in axis.get("tickvals", []) if mark > 2.0 * start]
    return axis | {"tickvals": [start, *marks], "ticktext": ["0", *(number(mark) for mark in marks)]}


def _add_run(
    figure: go.Figure,
    rows: pd.DataFrame,
    *,
    group: str,
    colour: str,
    axes: tuple[str, str],
    named: bool,
) -> None:
    batch_size, rate = number(rows["batch_size"].iloc[0]), number(rows["learning_rate"].iloc[0])
    label = f"probe run at batch size {batch_size}"
    figure.add_scatter(
        x=rows["place"],
        y=rows["value"],
        mode="lines+markers",
        name=f"B = {batch_size}",
        legendgroup=group,
        showlegend=named,
        xaxis=axes[0],
        yaxis=axes[1],
        line={"color": colour, "width": 1.6},
        marker={
            "color": colour,
            "size": 8,
            "symbol": ["circle" if status == "ok" else "circle-open" for status in rows["status"]],
        },
        error_y={
            "type": "data",
            "symmetric": False,
            "array": (rows["high"] - rows["value"]).to_numpy(dtype=float),
            "arrayminus": (rows["value"] - rows["low"]).to_numpy(dtype=float),
            "color": colour,
            "thickness": 1.4,
            "width": 4,
        },
        text=[
            f"{label}, rate {rate}<br>step {number(float(row.step))}: {interval(row.value, row.low, row.high)}"
            + ("" if row.status == "ok" else " (not resolved)")
            for row in rows.itertuples(index=False)
        ],
        hovertemplate="%{text}<extra></extra>",
    )


def _add_band(figure: go.Figure, band: object, *, axes: tuple[str, str], named: bool, theme: Theme) -> None:
    """Draw a measurement as a line with its interval, or as the one end of it that is known."""
    source, value, low, high = (getattr(band, name) for name in ("source", "value", "low", "high"))
    line, fill = (theme.accent, theme.accent_band) if source == "fit" else (theme.series[1], theme.series_band[1])
    dash = "dash" if source == "fit" else "dot"
    ends = [end for end in (low, high) if pd.notna(end)]
    if not ends:
        return
    shape = {"xref": f"{axes[0]} domain", "x0": 0, "x1": 1, "yref": axes[1], "layer": "below"}
    if len(ends) == 2:
        figure.add_shape(type="rect", y0=low, y1=high, fillcolor=fill, line={"width": 0}, **shape)
    height = value if pd.notna(value) else ends[0]
    figure.add_shape(type="line", y0=height, y1=height, line={"color": line, "width": 2, "dash": dash}, **shape)
    figure.add_scatter(
        x=[None],
        y=[None],
        mode="lines",
        name=f"{_band_name(band)} {_band_words(value, low, high)}",
        legendrank=1,
        showlegend=named,
        line={"color": line, "width": 2, "dash": dash},
        xaxis=axes[0],
        yaxis=axes[1],
    )


def _band_name(band: object) -> str:
    if getattr(band, "source") == "hyperbola":  # noqa: B009
        return "B_crit of steps and examples:"
    first, _, rest = str(getattr(band, "definition")).partition(" fitted")  # noqa: B009
    return f"{plot_text(first)}, fitted:" if rest else "fitted:"


def _band_words(value: float, low: float, high: float) -> str:
    if pd.isna(value) or pd.isna(low) or pd.isna(high):
        return f"at least {number(low)}" if pd.notna(low) else f"at most {number(high)}"
    return interval(value, low, high)
