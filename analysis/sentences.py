"""The answer in plain words, made of the tables' numbers only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .compare import UNDETERMINED

if TYPE_CHECKING:
    from .study_analysis import Analysis

OUTCOME_TEXT = {
    "steps_to_target": "fewest steps to the target",
    "value_at_budget": "best metric at the budget",
}


def sweep_sentences(analysis: Analysis, sweep: str) -> list[str]:
    """Return the sentences about one sweep: verdict, growth, rates, optima that are only bounds, trade-off.

    Args:
        analysis: of this sweep alone.
        sweep: its name.
    """
    outcome = OUTCOME_TEXT[analysis.outcomes[sweep]]
    lines = []
    for row in analysis.verdicts.itertuples():
        said = "the law is undetermined" if row.verdict == UNDETERMINED else f"the best rate follows {row.verdict}"
        lines.append(f"{sweep} ({outcome}): {said}. {row.reason}")
        lines += [_rate_growth(analysis.optima, sweep), _speed_up(analysis.steps, sweep)]
        if row.verdict != UNDETERMINED:
            lines.append(_rates_by_law(analysis, sweep, row.verdict))
        lines.append(_second_route(analysis, sweep, "power" if row.verdict == UNDETERMINED else row.verdict))
        if row.suggested_trials:
            lines.append(f"{sweep}: what would tell more: {row.suggested_trials}.")
    if len(analysis.optima):
        lines.append(_optima_line(analysis.optima, sweep, outcome))
    lines += _tradeoff_lines(analysis, sweep)
    return [line for line in lines if line]


def reaches_target(steps: pd.DataFrame) -> bool:
    """Return whether any run behind a sweep's table of steps reached a target; one without a target never does."""
    return bool(steps["status"].isin(["measured", "at_most"]).any())


def _rate_growth(optima: pd.DataFrame, sweep: str) -> str:
    inside = optima[optima["status"] == "interior"].sort_values("batch_size")
    if len(inside) < 2:
        return ""
    first, last = inside.iloc[0], inside.iloc[-1]
    return (
        f"{sweep}: from batch size {first.batch_size:.0f} to {last.batch_size:.0f}, "
        f"{last.batch_size / first.batch_size:.3g} times as large, the best rate became "
        f"{last.learning_rate / first.learning_rate:.2g} times as large ({first.learning_rate:.3g} to "
        f"{last.learning_rate:.3g})."
    )


def _speed_up(steps: pd.DataFrame, sweep: str) -> str:
    measured = steps[steps["status"] == "measured"].sort_values("batch_size")
    if len(measured) < 2:
        return ""
    first, last = measured.iloc[0], measured.iloc[-1]
    more, fewer = last.batch_size / first.batch_size, first.steps / last.steps
    return (
        f"{sweep}: {more:.3g} times the devices, at batch size {last.batch_size:.0f} in place of "
        f"{first.batch_size:.0f}, would reach the target in {fewer:.2g} times fewer steps ({first.steps:.3g} to "
        f"{last.steps:.3g}): {fewer / more:.0%} of a perfect speed-up."
    )


def _rates_by_law(analysis: Analysis, sweep: str, law: str) -> str:
    band = analysis.bands[analysis.bands["law"] == law].set_index("batch_size")["learning_rate"]
    tested = analysis.optima["batch_size"].to_numpy(dtype=float)
    pairs = ", ".join(f"{b:.0f}: {band[b]:.3g}" for b in tested)
    grow = [band[2.0 * b] / band[b] for b in (tested.min(), tested.max())]
    return (
        f"{sweep}: rates by {law} at batch size {pairs}. Doubling the batch multiplies the rate by {grow[0]:.2f} from "
        f"{tested.min():.0f} and by {grow[1]:.2f} from {tested.max():.0f} (the latter lies outside the tested range)."
    )


def _second_route(analysis: Analysis, sweep: str, law: str) -> str:
    """Return what the surface says of the law's last parameter, the one of its shape, beside the optima."""
    found = analysis.surface[analysis.surface["law"] == law]
    first = analysis.fits[analysis.fits["law"] == law]
    if found.empty or first.empty or np.isnan(found["value"].iloc[-1]) or np.isnan(first["value"].iloc[-1]):
        return ""
    one, other = (
        _estimate(table["value"].iloc[-1], table["low"].iloc[-1], table["high"].iloc[-1]) for table in (found, first)
    )
    agrees = found["agrees"].iloc[-1]
    said = "" if pd.isna(agrees) else "; the two routes agree" if agrees else "; the two routes contradict each other"
    return (
        f"{sweep}: {found['parameter'].iloc[-1]} of {law} is {one} by one surface through {found['cells'].iloc[-1]} "
        f"cells, {other} by the best rate of each batch size{said}."
    )


def _optima_line(optima: pd.DataFrame, sweep: str, outcome: str) -> str:
    inside = optima[optima["status"] == "interior"]
    pairs = ", ".join(
        f"{r.batch_size:.0f}: {r.learning_rate:.3g} [{_end(r.low)}, {_end(r.high)}]" for r in inside.itertuples()
    )
    text = f"{sweep}: measured best rates ({outcome}) {pairs}" if pairs else f"{sweep}: no best rate was measured"
    edges = [
        f"{word} {bound:.3g} at batch size {batch_size:.0f} (an edge of the tested rates)"
        for status, word, end in (("edge_low", "at or below", "high"), ("edge_high", "at or above", "low"))
        for batch_size, bound in optima.loc[optima["status"] == status, ["batch_size", end]].itertuples(index=False)
    ]
    lost = [f"{b:.0f}" for b in optima.loc[optima["status"] == "unresolved", "batch_size"]]
    if not edges and not lost:
        return f"{text}; all {len(optima)} optima lie inside the tested rates."
    parts = [f"the optimum lies {', '.join(edges)}"] if edges else []
    parts += [f"not resolved at batch size {', '.join(lost)}"] if lost else []
    return f"{text}; {'; '.join(parts)}."


def _tradeoff_lines(analysis: Analysis, sweep: str) -> list[str]:
    lines = []
    for row in analysis.tradeoff.itertuples():
        if row.status == "failed":
            # A sweep judged by its metric at the budget may have no target at all: then there is nothing to say.
            if analysis.outcomes[sweep] == "steps_to_target" or reaches_target(analysis.steps):
                reached = int((analysis.steps["status"] == "measured").sum())
                have = "batch size has" if reached == 1 else "batch sizes have"
                lines.append(
                    f"{sweep}: no trade-off between steps and examples: {reached or 'no'} {have} measured fewest steps "
                    "to the target, three are needed."
                )
            continue
        lines.append(
            f"{sweep} (steps to the target): "
            f"S_min {_estimate(row.s_min, row.s_min_low, row.s_min_high)} steps, "
            f"E_min {_estimate(row.e_min, row.e_min_low, row.e_min_high)} examples, "
            f"B_crit {_estimate(row.b_crit, row.b_crit_low, row.b_crit_high)} examples per step. {row.definition}."
        )
    return lines


def _estimate(value: float, low: float, high: float) -> str:
    if np.isnan(value) and np.isfinite(low) != np.isfinite(high):
        return f"at least {low:.3g}" if np.isfinite(low) else f"at most {high:.3g}"
    shown = "unknown" if np.isnan(value) else f"{value:.3g}"
    return f"{shown} [{_end(low)}, {_end(high)}]"


def _end(value: float) -> str:
    return "unknown" if np.isnan(value) else f"{value:.3g}"
