"""Tools that are told of trials: each alone, each trial once, whatever they raise."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from study.chronicle import Chronicle
from study.design import Design
from study.logged_trial import LoggedTrial

from .logged_studies import config, points, row

TRIALS = Design(config()).trials({})[:4]
ROWS = [row(trial) for trial in TRIALS]
KEYS = [trial.trial_id for trial in TRIALS]


class Tool:
    """A tool of strings, which raises when it is told to."""

    def __init__(self, *, name: str = "tool", patience: float = math.inf, held: Iterable[str] = ()) -> None:
        self.name, self.patience = name, patience
        self.kept = list(held)
        self.broken = False
        self.open_calls = self.close_calls = 0

    def open(self) -> set[str]:
        self.open_calls += 1
        if self.broken:
            raise ConnectionError("no route\nto it")
        return set(self.kept)

    def write(self, trial: LoggedTrial) -> None:
        if self.broken:
            raise RuntimeError("it is full")
        self.kept.append(trial.key)

    def close(self) -> None:
        self.close_calls += 1

    def explain(self, error: BaseException) -> str:
        return str(error).splitlines()[0]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Fixture:
    def __init__(self, *tools: Tool) -> None:
        self.said: list[str] = []
        self.clock = Clock()
        self.chronicle = Chronicle(tools, say=self.said.append, clock=self.clock)

    def write(self, *numbers: int) -> None:
        for number in numbers:
            self.chronicle.write(LoggedTrial.of(ROWS[number], points(TRIALS[number])))

    def complete(self) -> dict[str, int]:
        by_id = dict(zip(KEYS, TRIALS, strict=True))
        return self.chronicle.complete(ROWS, lambda trial_id: points(by_id[trial_id]))


def test_a_trial_is_told_once_whoever_told_it() -> None:
    tool = Tool(held=KEYS[:1])
    fixture = Fixture(tool)
    fixture.write(0, 1, 1)
    assert tool.kept == KEYS[:2]
    assert fixture.complete() == {"tool": 0}
    assert tool.kept == KEYS
    assert tool.open_calls == 1
    fixture.complete()
    assert tool.kept == KEYS


def test_a_tool_that_raises_is_left_alone_and_the_others_go_on() -> None:
    bad, good = Tool(name="bad"), Tool(name="good")
    fixture = Fixture(bad, good)
    fixture.write(0)
    bad.broken = True
    fixture.write(1, 2)
    bad.broken = False
    fixture.write(3)
    assert (bad.kept, good.kept) == (KEYS[:1], KEYS)
    assert fixture.said == ["bad: left alone from here on, and the results are not touched: it is full"]
    assert fixture.complete() == {"bad": 3, "good": 0}
    assert (bad.open_calls, bad.close_calls) == (1, 1)


def test_a_storage_that_is_down_is_tried_again_in_its_own_time_and_catches_up() -> None:
    tool = Tool(patience=30.0)
    fixture = Fixture(tool)
    tool.broken = True
    fixture.write(0)
    fixture.clock.now = 29.0
    fixture.write(1)
    assert tool.open_calls == 1
    assert fixture.said == ["tool: tried again every 30 s, and the results are not touched: no route"]
    fixture.clock.now = 31.0
    fixture.write(1)  # still down: nothing more is said
    assert (tool.open_calls, len(fixture.said)) == (2, 1)
    tool.broken = False
    fixture.clock.now = 62.0
    fixture.write(2)
    assert tool.kept == KEYS[2:3]
    assert fixture.complete() == {"tool": 0}
    assert sorted(tool.kept) == sorted(KEYS)
    assert fixture.said[1:] == ["tool: 3 trials to write"]


def test_what_stays_missing_is_counted() -> None:
    tool = Tool(patience=30.0)
    tool.broken = True
    assert Fixture(tool).complete() == {"tool": 4}


def test_a_failed_trial_does_not_stand_for_the_one_that_follows() -> None:
    failed: Mapping[str, Any] = {**ROWS[0], "status": "failed"}
    tool = Tool()
    fixture = Fixture(tool)
    fixture.chronicle.write(LoggedTrial.of(failed, []))
    fixture.write(0)
    fixture.chronicle.write(LoggedTrial.of(failed, []))
    assert tool.kept == [f"{KEYS[0]}-failed", KEYS[0]]
