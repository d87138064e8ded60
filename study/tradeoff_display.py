"""What ``batchlaw tradeoff`` shows: the numbers, what they mean, and how B_crit moves along the targets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .fit_display import MOST_IN_TABLE, MOST_IN_WORDS
from .terminal import line, plain_table, print_table, say, text_row

if TYPE_CHECKING:
    import pandas as pd

    from analysis.study_analysis import Analysis


def show_tradeoff(analysis: Analysis, groups: pd.DataFrame, counts: pd.DataFrame, *, along_targets: bool) -> None:
    """Print the answer in words, or of many sweeps a line each.

    Args:
        analysis: with the tables ``steps`` and ``tradeoff``.
        groups: the column sweep and the group columns, one row a sweep.
        counts: from ``step_tables.run_counts``.
        along_targets: whether the last group column is ``target``.
    """
    from analysis.tradeoff import DEFINITION
    from analysis.tradeoff_words import tradeoff_sentences

    rows: list[dict[str, Any]] = [
        {str(key): value for key, value in row.items()} for row in analysis.tradeoff.to_dict("records")
    ]
    if len(rows) > MOST_IN_WORDS:
        _show_table(rows)
    else:
        for row in rows:
            sweep = row["sweep"]
            name = sweep if len(groups.columns) > 1 or len(rows) > 1 else ""
            steps = analysis.steps[analysis.steps["sweep"] == sweep]
            own = counts[counts["sweep"].astype(str) == sweep]
            for sentence in tradeoff_sentences(row, steps, own, name=name):
                say("", sentence)
    if along_targets:
        _show_movement(rows, groups)
    say("", f"{DEFINITION}.")


def _show_table(rows: list[dict[str, Any]]) -> None:
    from analysis.tradeoff_words import B_CRIT, estimate

    table = plain_table("sweep", "S_min (steps)", "E_min (examples)", f"{B_CRIT} (examples per step)", "status")
    for row in rows[:MOST_IN_TABLE]:
        numbers = [estimate(row[k], row[f"{k}_low"], row[f"{k}_high"]) for k in ("s_min", "e_min", "b_crit")]
        table.add_row(*text_row(row["sweep"], *numbers, row["status"]))
    line()
    print_table(table)
    more = len(rows) - MOST_IN_TABLE
    if more > 0:
        say("", f"{more} more sweeps stand in tradeoff.csv.")


def _show_movement(rows: list[dict[str, Any]], groups: pd.DataFrame) -> None:
    from analysis.tradeoff_words import movement

    others = [name for name in groups.columns if name not in ("sweep", "target")]
    place = groups.set_index("sweep")
    parts: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        key = tuple(str(place.at[row["sweep"], name]) for name in others)
        parts.setdefault(key, []).append({**row, "target": float(place.at[row["sweep"], "target"])})
    for key, members in list(parts.items())[:MOST_IN_TABLE]:
        if len(members) > 1:
            name = ", ".join(f"{column}={value}" for column, value in zip(others, key, strict=True))
            for sentence in movement(members, name=name):
                say("", sentence)
