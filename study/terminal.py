"""Tables on a terminal, and whole in a pipe."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

_PIPE_WIDTH = 240


def plain_table(*headers: str) -> Table:
    """Return an empty table without a frame."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        table.add_column(header)
    return table


def print_table(table: Table) -> None:
    """Print it at the terminal's width; a pipe has none, and what reads it wants whole cells."""
    console = Console()
    console = console if console.is_terminal else Console(width=_PIPE_WIDTH)
    console.print(table)
