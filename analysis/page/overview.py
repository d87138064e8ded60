"""What stands before the sections where there are several sweeps: the answer in short, a table and a chart of all."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..compare import UNDETERMINED
from ..figures import PAGE, groups_figure, groups_table, interval, number
from . import captions
from .markup import Markup, data_table, paragraph
from .shown import Shown, figure_markup
from .sweep import Sweep

FOLDED_FROM = 7
"""With this many sweeps a section each would bury the answer: they are folded under their names."""
MOST_DRAWN_FULLY = 60
"""Beyond this many sweeps a section keeps its first figure: the page must stay small enough to send."""


def overview(sweeps: list[Sweep], optima: pd.DataFrame, groups: pd.DataFrame | None) -> Markup:
    """Return the table and the chart of all sweeps; nothing for a single one."""
    rated = [sweep for sweep in sweeps if sweep.has_rates]
    if len(sweeps) < 2:
        return ""
    parts = ['<section id="overview"><h2>All sweeps</h2>', _table(sweeps, groups)]
    table = groups_table(optima)
    if len(rated) > 1 and len(table):
        outcomes = " / ".join(dict.fromkeys(sweep.outcome.label for sweep in rated))
        shown = Shown(
            heading="Best learning rate against batch size, all together",
            caption=f"Outcome: {outcomes}. {captions.GROUPS}",
            figure=groups_figure(table, theme=PAGE),
        )
        parts.append(figure_markup(shown, name="figure-all", label="A"))
    if len(sweeps) > MOST_DRAWN_FULLY:
        parts.append(
            paragraph(
                f"With more than {MOST_DRAWN_FULLY} sections, each shows its first figure and its tables alone; a "
                "report of fewer sweeps shows every figure.",
                kind="caption",
            )
        )
    return "".join([*parts, "</section>"])


def short_answer(sweeps: list[Sweep]) -> list[str]:
    """Return the answer of many sweeps in a few sentences: how many verdicts of each kind, and the exponents' range."""
    lines = []
    verdicts = pd.Series([_verdict(sweep) for sweep in sweeps if sweep.has_rates], dtype=object)
    if len(verdicts):
        counts = verdicts.value_counts()
        said = ", ".join(f"{name} in {count}" for name, count in counts.items() if name != UNDETERMINED)
        named = f"Of {len(verdicts)} sweeps the best rate follows {said}; " if said else f"Of {len(verdicts)} sweeps "
        lines.append(f"{named}{counts.get(UNDETERMINED, 0)} leave the law undetermined.")
        exponents = [found[0] for sweep in sweeps if (found := _exponent(sweep)) is not None]
        if len(exponents) > 1:
            low, high = np.quantile(exponents, [0.1, 0.9])
            lines.append(
                f"The exponent of the best rate over the batch size has the median {np.median(exponents):.2f} over "
                f"{len(exponents)} sweeps; 80 % of them lie between {low:.2f} and {high:.2f}."
            )
    critical = [float(s.tradeoff["b_crit"]) for s in sweeps if s.tradeoff is not None and s.tradeoff["status"] == "ok"]
    if len(critical) > 1:
        lines.append(
            f"B_crit = E_min/S_min is known in {len(critical)} of {len(sweeps)} sweeps, with the median "
            f"{number(float(np.median(critical)))} examples per step ({number(min(critical))} to "
            f"{number(max(critical))})."
        )
    return lines or ["There is nothing to answer from yet."]


def _table(sweeps: list[Sweep], groups: pd.DataFrame | None) -> Markup:
    names, values = ["sweep"], {sweep.name: [sweep.name] for sweep in sweeps}
    if groups is not None and len(groups.columns) > 1:
        names = [str(name) for name in groups.columns if name != "sweep"]
        values |= {str(row[0]): list(row[1:]) for row in groups[["sweep", *names]].astype(str).to_numpy()}
    rated = any(sweep.has_rates for sweep in sweeps)
    stepped = any(sweep.tradeoff is not None and sweep.has_target for sweep in sweeps)
    headers = [*names, "batch sizes"]
    headers += ["verdict", "exponent [95\u00a0%]", "best rate at smallest batch", "at largest batch"] if rated else []
    headers += ["B_crit (examples/step)"] if stepped else []
    rows = []
    for sweep in sweeps:
        row: list[object] = [*values[sweep.name], _batches(sweep)]
        if rated:
            found = _exponent(sweep)
            row += [_verdict(sweep) if sweep.has_rates else "–", "–" if found is None else interval(*found)]
            row += _ends(sweep)
        if stepped:
            row.append(_critical(sweep))
        rows.append(row)
    caption = "One row a sweep; the link leads to its section. Best rates are those inside the tested ones."
    return data_table(
        caption,
        headers,
        rows,
        numeric=[i for i in range(len(names), len(headers)) if headers[i] != "verdict"],
        kind="linked",
        places=[f"sweep-{sweep.number}" for sweep in sweeps],
    )


def _verdict(sweep: Sweep) -> str:
    return str(sweep.verdict["verdict"]) if sweep.verdict else UNDETERMINED


def _exponent(sweep: Sweep) -> tuple[float, float, float] | None:
    fits = sweep.tables.fits
    found = fits[(fits["law"] == "power") & (fits["parameter"] == "p") & (fits["status"] == "ok")]
    return None if found.empty else tuple(float(found[name].iloc[0]) for name in ("value", "low", "high"))  # type: ignore[return-value]


def _batches(sweep: Sweep) -> str:
    sizes = sweep.trials["batch_size"]
    return "–" if sizes.empty else f"{number(float(sizes.min()))} to {number(float(sizes.max()))}"


def _ends(sweep: Sweep) -> list[str]:
    optima = sweep.tables.optima
    inside = optima[optima["status"] == "interior"].sort_values("batch_size")
    if inside.empty:
        return ["–", "–"]
    return [number(float(inside["learning_rate"].iloc[position])) for position in (0, -1)]


def _critical(sweep: Sweep) -> str:
    fit = sweep.tradeoff
    return "–" if fit is None else interval(fit["b_crit"], fit["b_crit_low"], fit["b_crit_high"])
