"""Predictions and plans on the terminal, and as plain values for machines."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from analysis.hyperbola import Interval
    from analysis.planner import Plan
    from analysis.prediction import Prediction

_LEAST_WEIGHT = 0.001


def show(predictions: Sequence[Prediction], plans: Sequence[Plan]) -> None:
    """Print a sentence and a small table for every prediction, or for every plan with the rates in its table."""
    from analysis.prediction_words import plan_sentences, prediction_sentences

    console = Console()
    planned = {(plan.sweep, device.batch_size) for plan in plans for device in plan.plans}
    alone = [p for p in predictions if (p.sweep, p.batch_size) not in planned]
    for prediction in alone:
        _say(console, prediction_sentences(prediction))
        if len(prediction.laws) > 1:
            _table(console, ("law", "weight", "rate", "95 % interval"), _law_rows(prediction))
    for plan in plans:
        own = {p.batch_size: p for p in predictions if p.sweep == plan.sweep}
        _say(console, plan_sentences(plan))
        _table(console, ("devices", "batch size", "rate", "steps", "examples"), _step_rows(plan, own))
        if any(device.speed_up is not None for device in plan.plans):
            money = ("hours", "cost") if plan.plans[0].cost is not None else ("hours",)
            head = ("devices", "speed-up", "of perfect", *(money if plan.plans[0].hours is not None else ()))
            _table(console, head, _time_rows(plan))
        refused = {p.reason: p for p in own.values() if p.status == "refused"}
        for prediction in refused.values():
            _say(console, prediction_sentences(prediction))
        furthest = max((p for p in own.values() if p.status == "ok"), key=lambda p: p.beyond, default=None)
        if furthest is not None:
            _say(console, [f"Rates: {line}" for line in prediction_sentences(furthest)[1:]])


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


def _say(console: Console, sentences: Sequence[str]) -> None:
    for sentence in sentences:
        # Words stay whole in a terminal; what reads a pipe gets one line a sentence.
        console.print(Text(_harmless(sentence)), soft_wrap=not console.is_terminal)


def _table(console: Console, headers: Sequence[str], rows: Iterator[Sequence[str]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        table.add_column(header, no_wrap=True, justify="right" if header in ("devices", "batch size") else "left")
    for row in rows:
        table.add_row(*(Text(_harmless(cell)) for cell in row))
    typer.echo()
    wide = console if console.is_terminal else Console(width=240)
    wide.print(table)


def _harmless(text: str) -> str:
    """Return text from data without the characters by which a terminal is controlled."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
