"""What the measurements say of the derivations, in sentences made of the tables' numbers only."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..noise_status import NOT_MEASURED
from .verdicts import NOT_RESOLVED, REJECTED, SUPPORTED

_SOURCES = {
    "fit": "the fit of the best rates",
    "hyperbola": "the trade-off of steps and examples (B_crit)",
    "probe_b_noise": "tr(HΣ)/gᵀHg of the probes",
    "probe_b_simple": "tr Σ/|g|² of the probes (B_simple)",
    "probe_b_sign": "π κ²/2 of the probes (B_sign)",
}
_SHORT = {
    "fit": "the fit",
    "hyperbola": "B_crit",
    "probe_b_noise": "tr(HΣ)/gᵀHg",
    "probe_b_simple": "B_simple",
    "probe_b_sign": "B_sign",
}
_AGREEMENT = {
    "agree": "These agree (ratio)",
    "differ": "These differ (ratio)",
    "not resolved": "Whether these agree is not resolved",
}


def verdict_sentences(verdicts: pd.DataFrame) -> list[str]:
    """Return a line on shape and level of every derivation, the rejected ones after the supported.

    Args:
        verdicts: with ``DERIVATION_VERDICT_COLUMNS``.
    """
    order = {SUPPORTED: 0, REJECTED: 1, NOT_RESOLVED: 2}
    rows = sorted(verdicts.itertuples(index=False), key=lambda row: order.get(str(row.verdict), 3))
    return [f"{_shape(row)}{_level(row)}" for row in rows]


def summary_sentence(verdicts: pd.DataFrame) -> str:
    """Return in one sentence which derivations the data support and reject, and how far the levels are off.

    Those that the probes did not measure are left out.

    Args:
        verdicts: with ``DERIVATION_VERDICT_COLUMNS``.
    """
    measured = verdicts[~verdicts["reason"].astype(str).str.startswith(NOT_MEASURED)]
    parts = []
    for verdict, words in ((SUPPORTED, "support"), (REJECTED, "reject"), (NOT_RESOLVED, "don't resolve")):
        rows = measured[measured["verdict"] == verdict]
        if len(rows):
            parts.append(f"{words} {_listed([_with_level(row) for row in rows.itertuples(index=False)])}")
    if not parts:
        return "Of the laws derived from gradients none was measured."
    return f"Of the laws derived from gradients, without a free parameter, the data {_listed(parts)}."


def rates_sentences(derived: pd.DataFrame) -> list[str]:
    """Return the derived rates at the smallest and the largest batch size where there is no sweep to compare with.

    Args:
        derived: of one sweep, with ``DERIVED_COLUMNS``.
    """
    run = derived[derived["step"].isna() & (derived["status"] == "ok")]
    lines: list[str] = []
    for name, rows in run.groupby("derivation", sort=False):
        ends = rows.sort_values("batch_size").iloc[[0, -1] if len(rows) > 1 else [0]]
        said = " and ".join(
            f"{row.learning_rate:.3g} [{row.low:.3g}, {row.high:.3g}] at batch size {row.batch_size:g}"
            for row in ends.itertuples(index=False)
        )
        lines.append(f"By {name}: {said}." if lines else f"The best rate, derived without a sweep by {name}: {said}.")
    return lines or ["No best rate could be derived from the probes."]


def three_way_sentences(three_way: pd.DataFrame, agreements: pd.DataFrame) -> list[str]:
    """Return the noise scales side by side, and which of them agree.

    Args:
        three_way: with ``three_way.THREE_WAY_COLUMNS``.
        agreements: with ``three_way.AGREEMENT_COLUMNS``.
    """
    run = three_way[three_way["step"].isna() & (three_way["status"] != "not_measured")]
    if not len(run):
        return []
    listed = "; ".join(f"{_SOURCES[str(row.source)]}: {_number(row)}" for row in run.itertuples(index=False))
    lines = [f"The noise scale in examples per step, by {listed}."]
    pairs = agreements[agreements["first"].isin(run["source"]) & agreements["second"].isin(run["source"])]
    for agreement, words in _AGREEMENT.items():
        said = [_pair(row) for row in pairs[pairs["agreement"] == agreement].itertuples(index=False)]
        lines += [f"{words}: {'; '.join(said)}."] if said else []
    lines += [line for source in _SOURCES if (line := _drift(three_way, source))]
    return lines


def _pair(row: Any) -> str:
    ends = f" {_factor(row.ratio)} [{_factor_end(row.low)}, {_factor_end(row.high)}]"
    return f"{_SHORT[row.first]} and {_SHORT[row.second]}{ends if np.isfinite(row.ratio) else ''}"


def _drift(three_way: pd.DataFrame, source: str) -> str:
    """Return how a noise scale moved from the first to the last resolved probe of a run, or of each of several."""
    probes = three_way[(three_way["source"] == source) & three_way["step"].notna() & (three_way["status"] == "ok")]
    ends = [
        (rows.iloc[0], rows.iloc[-1])
        for _, rows in probes.sort_values("step", kind="stable").groupby("trial_id", sort=False)
        if rows["step"].nunique() > 1
    ]
    if not ends:
        return ""
    if len(ends) == 1:
        first, last = ends[0]
        return (
            f"From step {first['step']} to step {last['step']}, {_SOURCES[source]} went from {first['value']:.3g} to "
            f"{last['value']:.3g}."
        )
    factors = sorted(float(last["value"] / first["value"]) for first, last in ends)
    return (
        f"From the first to the last probe of a run, {_SOURCES[source]} became {factors[0]:.2g} to {factors[-1]:.2g} "
        f"times as large over {len(ends)} runs."
    )


def _with_level(row: Any) -> str:
    level, name = float(row.level), str(row.derivation)
    return f"{name} (rates {_factor(level)} times the fitted ones)" if np.isfinite(level) else name


def _factor(ratio: float) -> str:
    """Return a ratio near one to a hundredth: 1.04, not 1."""
    return f"{ratio:.2f}" if 0.1 <= ratio < 10.0 else f"{ratio:.2g}"


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _shape(row: object) -> str:
    verdict, reason, derivation = (str(getattr(row, name)) for name in ("verdict", "reason", "derivation"))
    where = _where(row)
    if verdict == SUPPORTED:
        return (
            f"{where}{derivation}: the way the rate moves with the batch is supported from batch size "
            f"{_batch(row, 'smallest')} to {_batch(row, 'largest')}; {reason}."
        )
    if verdict == REJECTED:
        return f"{where}{derivation}: the way the rate moves with the batch is rejected; {reason}."
    if reason.startswith(NOT_MEASURED):
        return f"{where}{derivation}: {reason}."
    return f"{where}{derivation}: not resolved; {reason}."


def _level(row: Any) -> str:
    level, low, high = (float(getattr(row, name)) for name in ("level", "level_low", "level_high"))
    if not np.isfinite(level):
        return ""
    said = {
        SUPPORTED: "The level is right within a factor of 2",
        REJECTED: "The level is wrong",
        NOT_RESOLVED: "The level is not resolved",
    }[str(row.level_verdict)]
    ratio = f"ratio {_factor(level)} [{_factor_end(low)}, {_factor_end(high)}]"
    return f" {said}; derived rates lie {_distance(level)} the fitted ones ({ratio})."


def _distance(ratio: float) -> str:
    """Return how far apart a ratio is from one, in words: ``3 % above``, ``2.5 times below``."""
    side, factor = ("above", ratio) if ratio >= 1.0 else ("below", 1.0 / ratio)
    return f"{factor:.2g} times {side}" if factor >= 1.5 else f"{100.0 * abs(ratio - 1.0):.0f} % {side}"


def _where(row: object) -> str:
    parts = [str(getattr(row, name)) for name in ("study", "workload", "optimizer") if getattr(row, name)]
    return f"{' '.join(parts)}, " if parts else ""


def _batch(row: object, name: str) -> str:
    return f"{getattr(row, name):g}"


def _number(row: object) -> str:
    value, low, high = (float(getattr(row, name)) for name in ("value", "low", "high"))
    if not np.isfinite(value):
        if np.isfinite(low):
            return f"at least {low:.3g}"
        return f"at most {high:.3g}" if np.isfinite(high) else "not resolved"
    return f"{value:.3g} [{_end(low)}, {_end(high)}]"


def _end(value: float) -> str:
    return f"{value:.3g}" if np.isfinite(value) else "unknown"


def _factor_end(ratio: float) -> str:
    return _factor(ratio) if np.isfinite(ratio) else "unknown"
