"""Predictions and plans on the terminal, and as plain values for machines."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from .terminal import line, plain_table, print_table, say, text_row

if TYPE_CHECKING:
    from analysis.hyperbola import Interval
    from analysis.planner import Plan
    from analysis.prediction import Prediction

_LEAST_WEIGHT = 0.001


def show(predictions: Sequence[Prediction], plans: Sequence[Plan]) -> None:
    """Print a sentence and a small table for every prediction, or for every plan with the rates in its table."""
    from analysis.prediction_words import plan_sentences, prediction_sentences

    planned = {(plan.sweep, device.batch_size) for plan in plans for device in plan.plans}
    alone = [p for p in predictions if (p.sweep, p.batch_size) not in planned]
    for prediction in alone:
        say(*prediction_sentences(prediction))
        if len(prediction.laws) > 1:
            _table(("law", "weight", "rate", "95 % interval"), _law_rows(prediction))
    for plan in plans:
        own = {p.batch_size: p for p in predictions if p.sweep == plan.sweep}
        say(*plan_sentences(plan))
        _table(("devices", "batch size", "rate", "steps", "examples"), _step_rows(plan, own))
        if any(device.speed_up is not None for device in plan.plans):
            money = ("hours", "cost") if plan.plans[0].cost is not None else ("hours",)
            head = ("devices", "speed-up", "of perfect", *(money if plan.plans[0].hours is not None else ()))
            _table(head, _time_rows(plan))
        refused = {p.reason: p for p in own.values() if p.status == "refused"}
        for prediction in refused.values():
            say(*prediction_sentences(prediction))
        furthest = max((p for p in own.values() if p.status == "ok"), key=lambda p: p.beyond, default=None)
        if furthest is not None:
            say(*(f"Rates: {sentence}" for sentence in prediction_sentences(furthest)[1:]))


def as_plain_values(predictions: Sequence[Prediction], plans: Sequence[Plan]) -> dict[str, Any]:
    """Return everything as JSON values; a number that is not known is null."""
    shown = [{**_plain(dataclasses.asdict(p)), "beyond": p.beyond} for p in predictions]
    return {"predictions": shown, "plans": [_plain(dataclasses.asdict(plan)) for plan in plans]}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _law_rows(prediction: Prediction) -> Iterator[Sequence[str]]:
    small = []
    for share in prediction.laws:
        if share.weight is not None and share.weight < _LEAST_WEIGHT:
            small.append(share.law)
            continue
        ends = "–" if share.low is None or share.high is None else f"[{share.low:.3g}, {share.high:.3g}]"
        yield share.law, "–" if share.weight is None else f"{share.weight:.3f}", f"{share.learning_rate:.3g}", ends
    for law in small:
        yield law, f"< {_LEAST_WEIGHT:g}", "", ""


def _step_rows(plan: Plan, rates: dict[float, Prediction]) -> Iterator[Sequence[str]]:
    for device in plan.plans:
        found = rates.get(device.batch_size)
        rate = "–"
        if found is not None and found.learning_rate is not None:
            ends = f" [{found.low:.2g}, {found.high:.2g}]" if found.low is not None else ""
            rate = f"{found.learning_rate:.2g}{ends}"
        yield (
            str(device.devices),
            f"{device.batch_size:.0f}",
            rate,
            _interval(device.steps),
            "–" if device.examples is None else f"{device.examples.value:.3g}",
        )


def _time_rows(plan: Plan) -> Iterator[Sequence[str]]:
    for device in plan.plans:
        share = "–" if device.efficiency is None else f"{device.efficiency.value:.0%}"
        row = [str(device.devices), _interval(device.speed_up), share]
        row += [_interval(device.hours, digits=2)] if plan.plans[0].hours is not None else []
        row += [_interval(device.cost, digits=2)] if plan.plans[0].cost is not None else []
        yield row


def _interval(interval: Interval | None, *, digits: int = 3) -> str:
    from analysis.prediction_words import interval_words

    return "–" if interval is None else interval_words(interval, digits=digits)


def _table(headers: Sequence[str], rows: Iterator[Sequence[str]]) -> None:
    table = plain_table(*headers, right=("devices", "batch size"), no_wrap=True)
    for row in rows:
        table.add_row(*text_row(*row))
    line()
    print_table(table)
