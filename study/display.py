"""Drawing a study's progress: a live table on a terminal, a line every ten seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .design import PlannedTrial
from .progress import BatchProgress, Progress, Snapshot
from .terminal import line, plain_table, say, text_row

LIVE_SECONDS = 0.5
PLAIN_SECONDS = 10.0
DRAWING_SHARE = 0.05
"""Of the driver's time that drawing may take: a large study is drawn more rarely."""


class Display:
    """An ``Observer`` that feeds ``progress`` and draws it every ``seconds``, more rarely where drawing takes long."""

    def __init__(
        self,
        progress: Progress,
        draw: Callable[[Snapshot], None],
        *,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Draw for the first time after ``seconds``."""
        self._progress = progress
        self._draw = draw
        self._seconds = self._pause = seconds
        self._clock = clock
        self._drawn = clock()

    def started(self, trial: PlannedTrial) -> None:
        """Pass on."""
        self._progress.started(trial)

    def advanced(self, trial: PlannedTrial, step: int) -> None:
        """Pass on."""
        self._progress.advanced(trial, step)

    def lost(self, trial: PlannedTrial) -> None:
        """Pass on."""
        self._progress.lost(trial)

    def stored(self, row: Mapping[str, Any]) -> None:
        """Pass on."""
        self._progress.stored(row)

    def tick(self) -> None:
        """Draw when it is time."""
        begun = self._clock()
        if begun - self._drawn >= self._pause:
            self._draw(self._progress.snapshot())
            self._drawn = self._clock()
            self._pause = max(self._seconds, (self._drawn - begun) / DRAWING_SHARE)


@contextmanager
def show_progress(progress: Progress, console: Console, *, quiet: bool) -> Iterator[Display]:
    """Draw ``progress`` on ``console`` until the block ends, in the form that the console allows."""
    if quiet:
        yield Display(progress, lambda _: None, seconds=float("inf"))
    elif console.is_terminal:
        with Live(Text("starting workers …"), console=console, auto_refresh=False, transient=True) as live:
            yield Display(progress, lambda s: live.update(progress_view(s), refresh=True), seconds=LIVE_SECONDS)
    else:
        yield Display(progress, lambda s: say(progress_line(s), console=console), seconds=PLAIN_SECONDS)


def progress_line(snapshot: Snapshot) -> str:
    """Return the totals as one line."""
    counts = (
        f"{snapshot.stored} of {snapshot.trials} trials stored, {snapshot.running} running, {snapshot.waiting} waiting"
    )
    troubles = [f"{n} {what}" for n, what in ((snapshot.diverged, "diverged"), (snapshot.failed, "failed")) if n]
    done = snapshot.stored == snapshot.trials
    left = "" if done or snapshot.seconds_left is None else f"; about {duration(snapshot.seconds_left)} left"
    return f"{', '.join([counts, *troubles])}{left}"


def progress_view(snapshot: Snapshot) -> Group:
    """Return the totals and the best rate of each batch size."""
    return Group(Text(progress_line(snapshot)), batch_table(snapshot.batches))


def batch_table(batches: tuple[BatchProgress, ...]) -> Table:
    """Return a table with a row for each sweep and batch size."""
    headers = ("sweep", "batch size", "stored", "diverged", "failed", "best rate", "outcome")
    table = plain_table(*headers, right=headers[1:-1])
    for batch in batches:
        unit = "steps" if batch.outcome == "steps_to_target" else "at budget"
        cells = (
            batch.sweep,
            batch.batch_size,
            f"{batch.stored}/{batch.trials}",
            batch.diverged or "",
            batch.failed or "",
            "" if batch.best_rate is None else f"{batch.best_rate:.4g}",
            "" if batch.best_outcome is None else f"{batch.best_outcome:.4g} {unit}",
        )
        table.add_row(*text_row(*cells))
    return table


def show_answer(sentences: list[str], report: str) -> None:
    """Print the answer in words and where the report is."""
    for sentence in sentences:
        say("", sentence)
    line()
    line(f"report: {report}")


def duration(seconds: float) -> str:
    """Return seconds as people say them: 40 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
