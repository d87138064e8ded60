"""What is shown on a terminal: text letter by letter, whole words there and whole lines in a pipe.

Names and messages come from data. Square brackets in them are no markup, and nothing in them steers the terminal.
"""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from collections.abc import Sequence
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

_PIPE_WIDTH = 240


def printable(text: str) -> str:
    """Return one line of text without the characters that would steer a terminal or turn the direction of writing."""
    return "".join(letter if _is_harmless(letter) else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _is_harmless(letter: str) -> bool:
    return letter.isprintable() or unicodedata.category(letter) == "Zs"  # spaces that keep a number together


def line(text: str = "", *, err: bool = False) -> None:
    """Print one line as it is, never wrapped: for paths, and for what a script reads."""
    typer.echo(printable(text), err=err)


def print_file(text: str) -> None:
    """Print the text of a file: into a pipe or a file as it is, on a terminal without what would steer it."""
    shown = "\n".join(map(printable, text.split("\n"))) if sys.stdout.isatty() else text
    typer.echo(shown, nl=False)


def say(*sentences: str, console: Console | None = None) -> None:
    """Print sentences, whole words in a terminal, one line each into a pipe."""
    console = console or Console()
    for sentence in sentences:
        console.print(Text(printable(sentence)), soft_wrap=not console.is_terminal)


def plain_table(*headers: str, right: Sequence[str] = (), no_wrap: bool = False, title: str | None = None) -> Table:
    """Return an empty table without a frame; the columns named in ``right`` are aligned to the right."""
    # A title is text for the table's own style, which a Text would bring its own of.
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    table.title = None if title is None else Text(printable(title), style="table.title")
    for header in headers:
        table.add_column(Text(header), justify="right" if header in right else "left", no_wrap=no_wrap)
    return table


def text_row(*cells: object) -> tuple[Text, ...]:
    """Return the cells of a table's row."""
    return tuple(Text(printable(str(cell))) for cell in cells)


def print_table(table: Table) -> None:
    """Print it at the terminal's width; a pipe has none, and what reads it wants whole cells."""
    console = Console()
    console = console if console.is_terminal else Console(width=_PIPE_WIDTH)
    console.print(table)


def print_json(value: Any) -> None:
    """Print JSON that is readable and parses to an equal value.

    Raises:
        ValueError: for NaN and infinities, which JSON does not have.
    """
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False)
    # json escapes the control characters of ASCII; a terminal obeys some beyond.
    typer.echo(re.sub(r"[^\n]", lambda found: _escaped(found[0]), text))


def _escaped(letter: str) -> str:
    return letter if _is_harmless(letter) else json.dumps(letter)[1:-1]
