"""Small pieces of HTML. Everything that goes in as text comes out escaped."""

from __future__ import annotations

import base64
import hashlib
import html
import importlib.resources
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Markup = str
"""A string that is HTML already; every other string is text and goes through `text`."""


def text(value: object) -> Markup:
    """Return ``value`` as HTML that shows it letter by letter, in an element or in an attribute."""
    return html.escape(str(value), quote=True)


def paragraph(value: object, *, kind: str = "") -> Markup:
    """Return a paragraph of plain text, with the CSS class ``kind``."""
    return f'<p class="{text(kind)}">{prose(value)}</p>' if kind else f"<p>{prose(value)}</p>"


def prose(value: object) -> Markup:
    """Return running text; a per cent sign stays with its number."""
    return re.sub(r"(?<=\d) %", "\u00a0%", text(value))


def capitalised(sentence: object) -> str:
    """Return a sentence with a capital first letter, the rest as it is."""
    words = str(sentence)
    return words[:1].upper() + words[1:]


def data_table(
    caption: str,
    headers: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    numeric: Iterable[int] = (),
    kind: str = "",
    places: Sequence[str] = (),
) -> Markup:
    """Return a table in a box of its own that scrolls sideways when the screen is narrow.

    Args:
        caption: what the table shows, with the outcome.
        headers: one a column, with the unit.
        rows: cells as text.
        numeric: positions of the columns that are aligned to the right.
        kind: CSS class.
        places: id of the place on the page that each row leads to; none if left out.
    """
    right = set(numeric)

    def cell(row: int, position: int, value: object) -> Markup:
        if position == 0:
            words = f'<a href="#{text(places[row])}">{text(value)}</a>' if places else text(value)
            return f'<th scope="row">{words}</th>'
        return f"<td{_number_class(position in right)}>{text(value)}</td>"

    head = "".join(f'<th scope="col"{_number_class(i in right)}>{text(h)}</th>' for i, h in enumerate(headers))
    body = "".join(
        f"<tr>{''.join(cell(at, i, value) for i, value in enumerate(row))}</tr>" for at, row in enumerate(rows)
    )
    return (
        f'<p class="caption">{text(caption)}</p>'  # outside of the box, so that it stays in view when the table scrolls
        f'<div class="table-box {text(kind)}" role="region" tabindex="0" aria-label="{text(caption)}">'
        f'<table aria-label="{text(caption)}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def definitions(pairs: Mapping[str, object]) -> Markup:
    """Return a list of terms, each with its meaning."""
    items = "".join(f"<div><dt>{text(term)}</dt><dd>{text(value)}</dd></div>" for term, value in pairs.items())
    return f"<dl>{items}</dl>"


def details(summary: str, content: Markup) -> Markup:
    """Return ``content`` folded under ``summary``."""
    return f"<details><summary>{text(summary)}</summary>{content}</details>"


def json_block(name: str, value: Any) -> Markup:
    """Return ``value`` as JSON that a script finds under the id ``name`` and that can't end its element."""
    return f'<script type="application/json" id="{text(name)}">{safe_json(value)}</script>'


def safe_json(value: Any) -> str:
    """Return JSON without the letters that HTML reads; it parses back to an equal value.

    Raises:
        ValueError: for NaN and infinities, which JSON does not have.
    """
    return safe_json_text(json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")))


def safe_json_text(encoded: str) -> str:
    """Return JSON text with ``<``, ``>``, ``&`` and the line separators of JavaScript as escapes."""
    escapes: dict[str, str | int | None] = {
        "<": "\\u003c",
        ">": "\\u003e",
        "&": "\\u0026",
        "\u2028": "\\u2028",
        "\u2029": "\\u2029",
    }
    return encoded.translate(str.maketrans(escapes))


def asset(name: str) -> str:
    """Return the text of a file in ``analysis/page/assets``."""
    return importlib.resources.files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


def script_hash(script: str) -> str:
    """Return the source expression that lets this script, and no other, run under a content security policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _number_class(is_number: bool) -> str:
    return ' class="number"' if is_number else ""
