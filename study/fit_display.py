"""What ``batchlaw fit`` shows: notes, the count of sweeps done, and the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .terminal import line, plain_table, print_table, say, text_row

if TYPE_CHECKING:
    import pandas as pd

    from analysis.study_analysis import Analysis

MOST_IN_WORDS = 4
"""More sweeps than these are shown as a table."""
MOST_IN_TABLE = 40


@contextmanager
def count_sweeps(total: int) -> Iterator[Callable[[], object]]:
    """Show on stderr, if it is a terminal, how many sweeps are done; yield what to call for each."""
    console = Console(stderr=True)
    if total < 2 or not console.is_terminal:
        yield lambda: None
        return
    columns = (TextColumn("sweeps"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda: progress.advance(task)


def show_answer(analysis: Analysis) -> None:
    """Print the answer in words, or of many sweeps a line each."""
    if len(analysis.outcomes) <= MOST_IN_WORDS:
        for sentence in analysis.sentences():
            say("", sentence)
        return
    table = plain_table("sweep", "verdict", "batch sizes", "best rate, first to last")
    by_sweep = dict(iter(analysis.optima.groupby("sweep", sort=False)))
    verdicts = analysis.verdicts.set_index("sweep")["verdict"]
    for sweep in list(analysis.outcomes)[:MOST_IN_TABLE]:
        table.add_row(*text_row(sweep, verdicts[sweep], *_range(by_sweep.get(sweep))))
    line()
    print_table(table)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.value_counts().items())
    more = len(analysis.outcomes) - MOST_IN_TABLE
    rest = f" {more} more sweeps stand in verdicts.csv." if more > 0 else ""
    say(
        "",
        f"{len(analysis.outcomes)} sweeps: {counts}.{rest} Reasons, optima and laws are in the tables and the report.",
    )


def _range(optima: pd.DataFrame | None) -> tuple[str, str]:
    if optima is None or optima.empty:
        return "–", "–"
    batch = f"{optima['batch_size'].min():g} to {optima['batch_size'].max():g}"
    inside = optima[optima["status"] == "interior"].sort_values("batch_size")
    if inside.empty:
        return batch, "no best rate inside the tested ones"
    first, last = inside.iloc[0], inside.iloc[-1]
    if len(inside) == 1:
        return batch, f"{first.learning_rate:.3g} at {first.batch_size:g}"
    return (
        batch,
        f"{first.learning_rate:.3g} at {first.batch_size:g} to {last.learning_rate:.3g} at {last.batch_size:g}",
    )
