"""A figure in its place on the page."""

from __future__ import annotations

import dataclasses

import plotly.graph_objects as go
import plotly.io

from .markup import Markup, prose, safe_json_text, text


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shown:
    """A figure with its heading, the sentence under it, and the tables that hold its numbers."""

    heading: str
    caption: str
    figure: go.Figure
    tables: Markup = ""


def figure_markup(shown: Shown, *, name: str, label: str) -> Markup:
    """Return the place of a figure and its data; ``name`` is its id, ``label`` its number in words."""
    spec = safe_json_text(plotly.io.to_json(shown.figure, engine="json", validate=False))
    return (
        f"<h3>{text(shown.heading)}</h3><figure>"
        f'<div class="plot" data-figure="{name}" role="img" aria-label="{text(shown.heading)}" '
        f'style="min-height: {shown.figure.layout.height}px"></div>'
        f"<figcaption><b>Figure {label}.</b> {prose(shown.caption)}</figcaption></figure>"
        f'<script type="application/json" id="{name}">{spec}</script>{shown.tables}'
    )
