"""One row for a trial that is stored more than once: after a crash, and after a failed trial was run again."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from .schema import Status


def one_row_a_trial(tables: Sequence[tuple[pd.DataFrame, ...]]) -> tuple[pd.DataFrame, ...]:
    """Join tables, the oldest first; of each trial keep one row and what was measured in that row's run.

    The row that did not fail is kept, and among equals the newest.

    Args:
        tables: at least one tuple, of equal lengths: the trials, and tables of what was measured in their runs, each
            with the column ``trial_id``.
    """
    best: dict[str, tuple[bool, int]] = {}
    for number, (trials, *_) in enumerate(tables):
        for trial_id, status in zip(trials["trial_id"], trials["status"], strict=True):
            best[trial_id] = max(best.get(trial_id, (False, 0)), (status != Status.FAILED, number))
    kept: list[tuple[pd.DataFrame, ...]] = []
    for number, (trials, *others) in enumerate(tables):
        ids = {trial_id for trial_id, (_, chosen) in best.items() if chosen == number}
        once = trials.drop_duplicates("trial_id", keep="last")
        kept.append(tuple(table[table["trial_id"].isin(ids)] for table in (once, *others)))
    return tuple(_join(list(frames)) for frames in zip(*kept, strict=True))


def _join(frames: list[pd.DataFrame]) -> pd.DataFrame:
    # pandas lets an empty frame decide the types of what it is joined with.
    return pd.concat([frame for frame in frames if len(frame)] or frames[-1:], ignore_index=True)
