"""Two routes to each law, side by side: the best rate of each batch size, and one surface through all cells."""

from __future__ import annotations

import pandas as pd

from ..figures import interval, number
from .markup import Markup, data_table, details
from .sweep import Sweep


def routes_markup(sweep: Sweep) -> Markup:
    """Return each law's parameters by both routes, folded; empty where no surface could be fitted."""
    keys = ["law", "parameter"]
    both = sweep.tables.surface.merge(sweep.tables.fits, on=keys, how="left", suffixes=("", "_first"), sort=False)
    both = both[both["status"] != "failed"]
    if both.empty:
        return ""
    rows = [
        (
            row["law"],
            row["parameter"],
            interval(row["value_first"], row["low_first"], row["high_first"], digits=3),
            interval(row["value"], row["low"], row["high"], digits=3),
            number(row["difference_sd"], digits=2),
            _agreement(row["agrees"]),
            number(row["lack_of_fit"], digits=2),
        )
        for row in both.to_dict("records")
    ]
    headers = (
        "law",
        "parameter",
        "best rates, then law [95\u00a0%]",
        "one surface [95\u00a0%]",
        "difference (standard deviations)",
        "the routes",
        "chance of such a misfit",
    )
    caption = (
        f"Two routes to each law: through the best rate of each batch size, and as the ridge of one surface through "
        f"{number(both['cells'].iloc[0])} cells. Outcome: {sweep.outcome.label}."
    )
    return details("Two routes to each law", data_table(caption, headers, rows, numeric=(2, 3, 4, 6)))


def _agreement(agrees: object) -> str:
    return "–" if pd.isna(agrees) else "agree" if agrees else "disagree"
