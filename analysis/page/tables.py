"""Tables of numbers as tables to read: intervals, bounds and statuses in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from results import TRIAL_COLUMNS

from ..figures import heatmap_table, interval, number, optima_table, optimum_words, share
from ..laws import LAWS
from .columns import says_something
from .markup import Markup, data_table
from .sweep import Sweep

TRIAL_TABLE_COLUMNS = (
    "sweep",
    "purpose",
    "status",
    "batch_size",
    "learning_rate",
    "seed",
    "value",
    "steps",
    "examples",
    "steps_to_target",
    "train_seconds",
    "examples_per_second",
    "world_size",
    "micro_batch_size",
    "hardware",
    "message",
    "trial_id",
)
_ALWAYS = ("sweep", "status", "batch_size")
"""Columns that the page's table sorts and filters by."""
_FIT_STATUS = {
    "ok": "fitted",
    "at_bound": "at its bound",
    "unbounded_low": "not bounded below",
    "unbounded_high": "not bounded above",
    "unbounded": "not bounded",
    "failed": "too few optima",
}
_KINDS = {"measured": "measured", "right_censored": "target not reached", "diverged": "diverged", "failed": "failed"}


def optima_markup(sweep: Sweep) -> Markup:
    """Return the best rate of every batch size."""
    rows = [
        (
            number(row["batch_size"]),
            optimum_words(row),
            number(row["outcome"], digits=4),
            _spaced(row["status"]),
            row["cells"],
            row["seeds"],
        )
        for row in optima_table(sweep.tables.optima).to_dict("records")
    ]
    headers = (
        "batch size (examples/step)",
        "best learning rate [95\u00a0%]",
        "outcome there",
        "status",
        "cells",
        "seeds",
    )
    caption = f"Best learning rate by batch size. Outcome: {sweep.outcome.label}."
    return data_table(caption, headers, rows, numeric=(1, 2, 4, 5))


def laws_markup(sweep: Sweep) -> Markup:
    """Return the fitted laws, the likeliest first."""
    rows = []
    for law, fits in sweep.tables.fits.groupby("law", sort=False):
        first = fits.iloc[0]
        rows.append(
            (
                -1.0 if math.isnan(first["weight"]) else float(first["weight"]),
                (
                    law,
                    LAWS[str(law)].formula if law in LAWS else "",
                    "; ".join(dict.fromkeys(parameter_words(row) for row in fits.to_dict("records"))),
                    number(first["aicc"]),
                    share(first["weight"]),
                    _octaves(first["holdout_error_log2"]),
                    number(first["batch_sizes"]),
                ),
            )
        )
    rows.sort(key=lambda pair: -pair[0])
    headers = (
        "law",
        "best rate at batch size B",
        "parameters [95\u00a0%]",
        "AICc",
        "AICc weight",
        "held-out error (octaves)",
        "batch sizes",
    )
    caption = f"Laws fitted to the best learning rates, likeliest first. Outcome: {sweep.outcome.label}."
    return data_table(caption, headers, [row for _, row in rows], numeric=(3, 4, 5, 6), kind="laws")


def parameter_words(row: Mapping[str, Any]) -> str:
    """Return a row of ``fits.csv`` as ``B_noise = 130 [90, 190]``, or as the bound that is all that is known."""
    name, status = row["parameter"], str(row["status"])
    if status == "unbounded_high":
        return f"{name} at least {number(row['low'])}"
    if status == "unbounded_low":
        return f"{name} at most {number(row['high'])}"
    if status == "failed":
        return "not fitted"
    if math.isnan(row["value"]):
        return f"{name} {_FIT_STATUS.get(status, status)}"
    words = f"{name} = {interval(row['value'], row['low'], row['high'], digits=3)}"
    return f"{words} (at its bound)" if status == "at_bound" else words


def tradeoff_markup(sweep: Sweep) -> Markup:
    """Return the parameters of the hyperbola between steps and examples; empty without a row."""
    fit = sweep.tradeoff
    if fit is None:
        return ""
    words = [_bounded(fit[name], fit[f"{name}_low"], fit[f"{name}_high"]) for name in ("s_min", "e_min", "b_crit")]
    headers = ("S_min (steps)", "E_min (examples)", "B_crit (examples/step)", "B_crit is")
    caption = f"Steps against examples. Outcome: {sweep.outcome.label}."
    return data_table(caption, headers, [(*words, _FIT_STATUS.get(str(fit["status"]), str(fit["status"])))])


def _bounded(value: float, low: float, high: float) -> str:
    """Return a number with its interval, or the one end that is known of it."""
    if math.isnan(value) and math.isfinite(low) != math.isfinite(high):
        return f"at least {number(low)}" if math.isfinite(low) else f"at most {number(high)}"
    return interval(value, low, high, digits=3)


def cells_markup(sweep: Sweep) -> Markup:
    """Return the numbers of the heat map."""
    rows = [
        (
            number(row["batch_size"]),
            number(row["learning_rate"]),
            _KINDS.get(row["kind"], row["kind"]),
            ("at least " if row["kind"] == "right_censored" else "") + number(row["outcome"], digits=4),
            *(row[status] for status in ("reached", "exhausted", "diverged", "failed")),
        )
        for row in heatmap_table(sweep.trials, sweep.tables.cells).to_dict("records")
    ]
    headers = ("batch size", "learning rate", "cell", "mean outcome", "reached", "exhausted", "diverged", "failed")
    caption = f"Cells, averaged over seeds. Outcome: {sweep.outcome.label}."
    return data_table(caption, headers, rows, numeric=(1, 3, 4, 5, 6, 7))


def trials_data(trials: pd.DataFrame) -> dict[str, Any]:
    """Return all trials by column for the page's own table: text as indices into ``words``, unknown numbers as None.

    Columns without a single word or number are left out; what a table of another origin has besides stands last.
    """
    others = [name for name in trials.columns if name not in TRIAL_COLUMNS and name != "run"]
    shown = [name for name in (*TRIAL_TABLE_COLUMNS, *others) if name in trials.columns]
    columns = []
    for key in shown:
        if key not in _ALWAYS and not says_something(trials[key]):
            continue
        if key == "purpose" and trials[key].nunique() == 1:
            continue  # a study without probes
        column = TRIAL_COLUMNS.get(key)
        unit = column.unit if column is not None and column.unit not in ("", "metric", key) else ""
        label = (key.replace("_", " ") if column is not None else key) + (f" ({unit})" if unit else "")
        described = {"key": key, "label": label, "meaning": column.meaning if column is not None else ""}
        is_text = column.dtype == "str" if column is not None else not pd.api.types.is_numeric_dtype(trials[key])
        if is_text:
            codes, words = pd.factorize(trials[key].astype(str))
            columns.append(described | {"values": codes.tolist(), "words": [str(word) for word in words]})
        else:
            columns.append(described | {"values": [_plain(value) for value in trials[key].astype(float).tolist()]})
    return {"count": len(trials), "columns": columns}


def _plain(value: float) -> float | int | None:
    if not math.isfinite(value):
        return None
    return int(value) if float(value).is_integer() else float(f"{value:.6g}")


def _octaves(value: float) -> str:
    return number(value) if math.isnan(value) else f"{value:.2f}"


def _spaced(status: object) -> str:
    return str(status).replace("_", " ")
