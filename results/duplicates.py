"""One row for a trial that is stored more than once: after a crash, and after a failed trial was run again."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from .schema import Status


def one_row_a_trial(tables: Sequence[tuple[pd.DataFrame, pd.DataFrame]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Join tables of trials and curves, the oldest first; of each trial keep one row and that row's curve.

    The row that did not fail is kept, and among equals the newest.

    Args:
        tables: at least one pair; columns as in ``TRIAL_COLUMNS`` and ``CURVE_COLUMNS``.
    """
    best: dict[str, tuple[bool, int]] = {}
    for number, (trials, _) in enumerate(tables):
        for trial_id, status in zip(trials["trial_id"], trials["status"], strict=True):
            best[trial_id] = max(best.get(trial_id, (False, 0)), (status != Status.FAILED, number))
    kept_trials, kept_curves = [], []
    for number, (trials, curves) in enumerate(tables):
        ids = {trial_id for trial_id, (_, chosen) in best.items() if chosen == number}
        kept_trials.append(trials[trials["trial_id"].isin(ids)].drop_duplicates("trial_id", keep="last"))
        kept_curves.append(curves[curves["trial_id"].isin(ids)])
    return _join(kept_trials), _join(kept_curves)


def _join(frames: list[pd.DataFrame]) -> pd.DataFrame:
    # pandas lets an empty frame decide the types of what it is joined with.
    return pd.concat([frame for frame in frames if len(frame)] or frames[-1:], ignore_index=True)
