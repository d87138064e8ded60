"""One look for every figure: colours, fonts and axes, in a light and a dark theme.

A figure is drawn with a `Theme`. `LIGHT` and `DARK` hold colours, for notebooks and for saved images.
`PAGE` holds the names of CSS variables in the place of colours, so that a page can change its theme
without drawing anything anew; `css_variables` gives these names their values.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any

import plotly.colors
import plotly.graph_objects as go

from .text import number

FONT_FAMILY = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
RAMP_STEPS = 12
"""How many ordered colours a theme has for batch sizes."""
LINE_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
"""Drawn in turn, so that no two neighbours in a legend differ by colour alone."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Theme:
    """Colours by their role. Lists are used in their order."""

    paper: str
    panel: str
    ink: str
    muted: str
    rule: str
    accent: str
    accent_band: str
    void: str
    """Fill of a heat-map cell that holds no number."""
    series: tuple[str, ...]
    """Unordered things: laws. Okabe and Ito's palette, which colour-blind readers can tell apart."""
    series_band: tuple[str, ...]
    ramp: tuple[str, ...]
    """Ordered things: batch sizes, smallest first."""

    def ordered(self, position: int, count: int) -> str:
        """Return the colour of the thing at ``position`` of ``count`` ordered things."""
        share = position / (count - 1) if count > 1 else 0.5
        return self.ramp[round(share * (RAMP_STEPS - 1))]


def _ramp(start: float, stop: float) -> tuple[str, ...]:
    shares = [start + (stop - start) * step / (RAMP_STEPS - 1) for step in range(RAMP_STEPS)]
    rgb = plotly.colors.sample_colorscale("Viridis", shares, colortype="tuple")
    return tuple("#" + "".join(f"{round(255 * channel):02x}" for channel in colour) for colour in rgb)


def _faint(colours: Iterable[str], opacity: float) -> tuple[str, ...]:
    return tuple(f"rgba{(*plotly.colors.hex_to_rgb(colour), opacity)}" for colour in colours)


_LIGHT_SERIES = ("#0072b2", "#c25100", "#00825f", "#a8558a", "#8a6d00", "#2b8cbe", "#5f5f5f", "#7a4fb5", "#b0323c")
_DARK_SERIES = ("#56b4e9", "#ff9248", "#33c99d", "#e39ac6", "#e6c229", "#8fc7ff", "#b4bcc6", "#b79cf0", "#ff8a8f")

LIGHT = Theme(
    paper="#ffffff",
    panel="#f6f7f9",
    ink="#1b2330",
    muted="#586475",
    rule="#dfe3e9",
    accent="#0b5cad",
    accent_band="rgba(11, 92, 173, 0.15)",
    void="#e6e9ee",
    series=_LIGHT_SERIES,
    series_band=_faint(_LIGHT_SERIES, 0.08),
    ramp=_ramp(0.0, 0.57),
)
DARK = Theme(
    paper="#12161c",
    panel="#1a2028",
    ink="#e7ebf0",
    muted="#a3afbd",
    rule="#2e3742",
    accent="#79b8ff",
    accent_band="rgba(121, 184, 255, 0.20)",
    void="#2a323d",
    series=_DARK_SERIES,
    series_band=_faint(_DARK_SERIES, 0.10),
    ramp=_ramp(0.42, 1.0),
)


def _named(theme: Theme) -> dict[str, str]:
    named: dict[str, str] = {}
    for field in dataclasses.fields(theme):
        value = getattr(theme, field.name)
        name = "--" + field.name.replace("_", "-")
        named.update({name: value} if isinstance(value, str) else {f"{name}-{i}": item for i, item in enumerate(value)})
    return named


def _page_theme() -> Theme:
    def variables(field: dataclasses.Field[Any]) -> Any:
        name, value = field.name.replace("_", "-"), getattr(LIGHT, field.name)
        if isinstance(value, str):
            return f"var(--{name})"
        return tuple(f"var(--{name}-{i})" for i in range(len(value)))

    return Theme(**{field.name: variables(field) for field in dataclasses.fields(Theme)})


PAGE = _page_theme()


def css_variables(theme: Theme) -> str:
    """Return the CSS declarations that give the names in `PAGE` the colours of ``theme``."""
    return " ".join(f"{name}: {value};" for name, value in _named(theme).items())


def blank_figure(theme: Theme, *, height: int = 420) -> go.Figure:
    """Return a figure without traces in the house style."""
    axis = {
        "gridcolor": theme.rule,
        "linecolor": theme.muted,
        "tickcolor": theme.muted,
        "zeroline": False,
        "showline": True,
        "ticks": "outside",
        "ticklen": 4,
        "automargin": True,
        "title": {"standoff": 8},
    }
    layout = go.Layout(
        font={"family": FONT_FAMILY, "size": 13, "color": theme.ink},
        paper_bgcolor=theme.paper,
        plot_bgcolor=theme.paper,
        hoverlabel={
            "bgcolor": theme.panel,
            "bordercolor": theme.muted,
            "font": {"color": theme.ink, "family": FONT_FAMILY},
        },
        legend={"orientation": "h", "xref": "container", "yref": "container", "x": 0, "y": 0, "yanchor": "bottom"},
        margin={"l": 8, "r": 12, "t": 28, "b": 8},
        xaxis=axis,
        yaxis=axis,
    )
    return go.Figure(layout={"template": go.layout.Template(layout=layout), "height": height, "autosize": True})


def facet_figure(theme: Theme, titles: Sequence[str], *, least_width: int, height: int) -> go.Figure:
    """Return a figure of empty panels, one a title, in a grid.

    The grid is ``layout.grid``, and ``layout.meta`` says how to lay it out anew: at least ``least_width``
    pixels a panel and ``height`` pixels a row. The report does so for narrow screens.
    """
    rows = max(1, math.ceil(len(titles) / max(1, 1000 // least_width)))
    columns = max(1, math.ceil(len(titles) / rows))
    figure = blank_figure(theme, height=rows * height + 60)
    gap = {"xgap": 0.16 if columns < 3 else 0.3, "ygap": 0.36}
    figure.update_layout(
        grid={"rows": rows, "columns": columns, "pattern": "independent", **gap},
        margin={"t": 44},
        meta={"panels": len(titles), "least_width": least_width, "row_height": height},
    )
    for index, title in enumerate(titles):
        x_axis, y_axis = axis_names(index)
        figure.update_layout({f"xaxis{x_axis[1:]}": {"anchor": y_axis}, f"yaxis{y_axis[1:]}": {"anchor": x_axis}})
        figure.add_annotation(
            text=title,
            xref=f"{x_axis} domain",
            yref=f"{y_axis} domain",
            x=0,
            y=1,
            xanchor="left",
            yanchor="bottom",
            yshift=4,
            showarrow=False,
            font={"size": 13, "color": theme.ink},
        )
    return figure


def axis_names(index: int) -> tuple[str, str]:
    """Return plotly's names of the axes of panel ``index``: x and y, then x2 and y2, and so on."""
    suffix = "" if index == 0 else str(index + 1)
    return f"x{suffix}", f"y{suffix}"


def batch_axis(batch_sizes: Iterable[float], *, ticks: int = 7) -> dict[str, Any]:
    """Return a logarithmic axis of batch sizes, ticked at batch sizes that were run."""
    values = _thinned(sorted(set(batch_sizes)), ticks)
    return {
        "type": "log",
        "tickvals": values,
        "ticktext": [number(value) for value in values],
        "title": {"text": "batch size (examples per step)"},
    }


def log_axis(values: Iterable[float | None], title: str, *, ticks: int = 7) -> dict[str, Any]:
    """Return a logarithmic axis with round ticks (1, 2, 5) around the positive finite ``values``."""
    positive = [float(value) for value in values if value is not None and 0 < value < math.inf]
    axis: dict[str, Any] = {"type": "log", "title": {"text": title}}
    if not positive:
        return axis
    if max(positive) < 4 * min(positive):
        marks = _round_marks(min(positive), max(positive), ticks)
        return axis | {"tickvals": marks, "ticktext": [number(mark) for mark in marks]}
    decades = range(math.floor(math.log10(min(positive))) - 1, math.ceil(math.log10(max(positive))) + 2)
    for mantissas, every in (((1, 2, 5), 1), ((1, 3), 1), ((1,), 1), ((1,), 2), ((1,), 4)):
        marks = [m * 10.0**decade for decade in decades[::every] for m in mantissas]
        if sum(min(positive) <= mark <= max(positive) for mark in marks) <= ticks:
            break
    marks = [mark for mark in marks if min(positive) / 3 <= mark <= 3 * max(positive)]
    return axis | {"tickvals": marks, "ticktext": [number(mark) for mark in marks]}


def _round_marks(low: float, high: float, ticks: int) -> list[float]:
    """Return about ``ticks`` round numbers an even step apart, from just below ``low`` to just above ``high``."""
    rough = max(high - low, 0.1 * high) / ticks
    unit = 10.0 ** math.floor(math.log10(rough))
    step = unit * next(m for m in (1, 2, 5, 10) if m * unit >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [float(f"{step * k:.10g}") for k in range(max(first, 1), last + 1)]


def _thinned(values: Sequence[float], ticks: int) -> list[float]:
    every = max(1, math.ceil(len(values) / ticks))
    return list(values[::every])
