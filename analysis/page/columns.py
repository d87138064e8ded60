"""Which columns of the trials say something: a table of another origin has few of a stored study's."""

from __future__ import annotations

import pandas as pd

_FIGURES_READ = {
    "learning_rate": float("nan"),
    "seed": 0,
    "metric": "",
    "mode": "min",
    "target": float("nan"),
    "value": float("nan"),
    "steps": float("nan"),
    "steps_to_target": float("nan"),
}
"""Columns that figures read, and what stands for one that is not there."""


def complete(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the trials with every column that figures read, unknown where it was not there."""
    missing = {name: value for name, value in _FIGURES_READ.items() if name not in trials.columns}
    if "trial_id" not in trials.columns:
        own = trials["run"].astype(str) if "run" in trials.columns else [str(row) for row in range(len(trials))]
        missing["trial_id"] = own
    return trials.assign(**missing)


def says_something(column: pd.Series) -> bool:
    """Return whether any cell holds a number or a word."""
    return bool((column.notna() & (column.astype(str) != "")).any())


def distinct_words(trials: pd.DataFrame, name: str) -> list[str]:
    """Return the different words of a column in their order, none where it is not there or blank."""
    if name not in trials.columns:
        return []
    return [word for word in dict.fromkeys(trials[name].dropna().astype(str)) if word]
