"""Numbers as words, and names that come from data made safe for plotly."""

from __future__ import annotations

import html
import math

UNKNOWN = "–"
"""Stands where there is no number."""
_THOUSANDS = "\u202f"
"""A narrow no-break space: a comma would read as the end of a number inside an interval."""


def number(value: float | None, *, digits: int = 3) -> str:
    """Return ``value`` to ``digits`` significant digits: 0.0031, 1.3e-6, 1024, 12 800, ∞; a dash if unknown.

    A learning rate or a batch size can be copied from the page into code.
    """
    if value is None or math.isnan(value):
        return UNKNOWN
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    size = abs(value)
    if value == 0:
        return "0"
    if size >= 1e7 or size < 1e-4:
        mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        return f"{mantissa}e{int(exponent)}"
    if float(value).is_integer() or size >= 10 ** (digits - 1):
        return f"{value:_.0f}".replace("_", _THOUSANDS) if size >= 1e4 else f"{value:.0f}"
    return f"{value:.{digits}g}"


def share(value: float | None) -> str:
    """Return a weight between 0 and 1 to two decimals; one that would round to nothing or to all as a bound."""
    if value is None or math.isnan(value):
        return UNKNOWN
    if value < 0.005:
        return "< 0.01"
    return "> 0.99" if value > 0.995 else f"{value:.2f}"


def interval(value: float | None, low: float | None, high: float | None, *, digits: int = 2) -> str:
    """Return ``0.0031 [0.0025, 0.0038]``; an end not known is ∞ or a dash, never left out."""
    if value is None or math.isnan(value):
        return UNKNOWN
    if (low is None or math.isnan(low)) and (high is None or math.isnan(high)):
        return f"{number(value, digits=digits)} [{UNKNOWN}]"
    shown = (_with_zeros(end, digits) for end in (value, low, high))
    return "{} [{}, {}]".format(*shown)


def _with_zeros(value: float | None, digits: int) -> str:
    """Return `number`, but keep the zeros that say how exact an end is: 0.0030."""
    if value is None or not math.isfinite(value) or not 1e-4 <= abs(value) < 10 ** (digits - 1):
        return number(value, digits=digits)
    return f"{value:#.{digits}g}".removesuffix(".")


def plot_text(name: object) -> str:
    """Return a name from data as plotly shows it letter by letter.

    Plotly reads a part of HTML in titles, legends and hover labels, and ``%{…}`` in templates.
    """
    return html.escape(str(name), quote=False).replace("%{", "%&#123;").replace("$", "&#36;")
