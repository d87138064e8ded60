"""What the measurements say of the derivations, in sentences made of the tables' numbers only."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .verdicts import NOT_RESOLVED, REJECTED, SUPPORTED

_SOURCES = {
    "fit": "the fit of the best rates",
    "hyperbola": "the trade-off of steps and examples (B_crit)",
    "probe_b_noise": "tr(HΣ)/gᵀHg of the probes",
    "probe_b_simple": "tr Σ/|g|² of the probes (B_simple)",
}
_AGREEMENT = {"agree": "agree", "differ": "differ", "not resolved": "can't be told apart or together"}


def verdict_sentences(verdicts: pd.DataFrame) -> list[str]:
    """Return a sentence on the shape and one on the level of every derivation, the rejected ones after the supported.

    Args:
        verdicts: with ``DERIVATION_VERDICT_COLUMNS``.
    """
    order = {SUPPORTED: 0, REJECTED: 1, NOT_RESOLVED: 2}
    rows = sorted(verdicts.itertuples(index=False), key=lambda row: order.get(str(row.verdict), 3))
    return [line for row in rows for line in (_shape(row), _level(row)) if line]


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
    known = set(run["source"])
    for row in agreements.itertuples(index=False):
        if not {row.first, row.second} <= known:
            continue
        ratio = f", a factor of {row.ratio:.2g} [{_end(row.low)}, {_end(row.high)}]" if np.isfinite(row.ratio) else ""
        lines.append(
            f"{_capital(_SOURCES[str(row.first)])} and {_SOURCES[str(row.second)]} {_AGREEMENT[row.agreement]}{ratio}."
        )
    for source in ("probe_b_noise", "probe_b_simple"):
        drift = three_way[(three_way["source"] == source) & three_way["step"].notna() & (three_way["status"] == "ok")]
        if len(drift) >= 2:
            drift = drift.sort_values("step", kind="stable")
            first, last = drift.iloc[0], drift.iloc[-1]
            if first["step"] != last["step"]:
                lines.append(
                    f"From step {first['step']} to step {last['step']}, {_SOURCES[source]} went from "
                    f"{first['value']:.3g} to {last['value']:.3g}."
                )
    return lines


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
    return f"{where}{derivation}: not resolved; {reason}."


def _level(row: object) -> str:
    level, low, high = (float(getattr(row, name)) for name in ("level", "level_low", "level_high"))
    if not np.isfinite(level):
        return ""
    (verdict, derivation) = (str(getattr(row, name)) for name in ("level_verdict", "derivation"))
    side = "above" if level >= 1 else "below"
    factor = level if level >= 1 else 1.0 / level
    said = {
        SUPPORTED: "the level is right within a factor of 2",
        REJECTED: "the level is wrong",
        NOT_RESOLVED: "the level is not resolved",
    }[verdict]
    return (
        f"{_where(row)}{derivation}: {said}; derived rates lie {factor:.2g} times {side} the fitted "
        f"ones (ratio {level:.2g} [{_end(low)}, {_end(high)}])."
    )


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
    return f"{value:.2g}" if np.isfinite(value) else "unknown"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
