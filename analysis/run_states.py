"""How runs ended, in the words of the tools that ran them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from .errors import TableError

FINISHED = frozenset(
    {"", "finished", "finish", "complete", "completed", "done", "success", "succeeded", "terminated", "ok", "stopped"}
    | {"reached", "exhausted", "true", "1", "nan", "none"}
)
DIVERGED = frozenset({"diverged", "divergence", "nan_loss", "exploded"})
LEFT_OUT = frozenset(
    {"failed", "fail", "failure", "crashed", "crash", "killed", "error", "errored", "aborted", "canceled", "cancelled"}
    | {"running", "pending", "queued", "waiting", "scheduled", "pruned", "paused", "preempted", "preempting"}
    | {"unfinished", "interrupted", "timeout", "timed_out", "oom", "out_of_memory", "node_fail", "false", "0"}
)
"""Runs that say nothing about the rate: something else ended them, or nothing has yet."""


def read_states(
    cells: pd.Series, *, where: Callable[[int], str], what: str
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return which runs are left out, which diverged, and the words of those left out.

    Raises:
        TableError: a word that is none of the known ones.
    """
    words = cells.astype(str).str.strip().str.lower().str.replace(r"[\s-]+", "_", regex=True)
    words = words.str.removeprefix("trialstate.").fillna("")
    codes, distinct = pd.factorize(words, use_na_sentinel=False)
    unknown = np.array([word not in FINISHED | DIVERGED | LEFT_OUT for word in distinct], dtype=bool)[codes]
    if unknown.any():
        position = int(np.argmax(unknown))
        raise TableError(
            f"{what} must be a word such as finished, diverged, failed or running, but {where(position)} has "
            f"{str(cells.iloc[position])[:40]!r}; rename it, or name another column by --status COLUMN"
        )
    out = np.array([word in LEFT_OUT for word in distinct], dtype=bool)[codes]
    diverged = np.array([word in DIVERGED for word in distinct], dtype=bool)[codes]
    left = words[out]
    return out, diverged, [f"{count:,} {word}" for word, count in left.value_counts().sort_index().items()]
