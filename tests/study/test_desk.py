"""The desk by itself: jobs go to one crew each, nothing that matters is forgotten, nothing is believed of the gone."""

from __future__ import annotations

from typing import Any

import pytest

from study.desk import STOP, WAIT, Desk

FACTS = {"where": "process 7 on node-2", "version": "1.2", "code": "aaaaaaaabb", "hardware": "abacus"}
RESULT: dict[str, Any] = {"outcome": {"status": "reached"}, "points": [], "probes": []}


def job(name: str, attempt: int = 0) -> dict[str, Any]:
    return {"trial_id": name, "attempt": attempt, "spec": "{}"}


def news(desk: Desk) -> list[tuple[Any, ...]]:
    """Return what the driver hears, as kind and name."""
    return [(m["kind"], m.get("crew") or f"{m['trial_id']}{m['attempt']}") for m in desk.collect()[1]]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def taken(desk: Desk, crew: str = "one") -> dict[str, Any]:
    answer = dict(desk.ask(crew, FACTS))
    assert answer.pop("kind") == "job"
    return answer


def test_a_job_goes_to_one_crew_and_its_result_to_the_driver_once(desk: Desk) -> None:
    assert desk.ask("one", FACTS) is WAIT
    assert not desk.has_answer("one")
    desk.offer([job("a"), job("b")])
    assert desk.has_answer("one")
    assert taken(desk, "one") == job("a")
    assert taken(desk, "two") == job("b")
    assert desk.ask("three", FACTS) is WAIT
    assert taken(desk, "one") == job("a")  # asked once more: the answer was lost on the way
    desk.end("one", job("a"), RESULT)
    expected = [("came", "one"), ("begun", "a0"), ("came", "two"), ("begun", "b0"), ("came", "three"), ("ended", "a0")]
    assert news(desk) == expected
    assert not desk.has_news
    assert news(desk) == []


def test_only_the_latest_step_of_a_trial_is_told_and_none_of_one_that_ended(desk: Desk) -> None:
    desk.offer([job("a")])
    taken(desk)
    desk.collect()
    assert desk.advance("one", job("a"), 5)
    assert desk.advance("one", job("a"), 9)
    assert not desk.has_news  # nobody is woken for it
    (message,) = desk.collect()[1]
    assert (message["kind"], message["step"]) == ("advanced", 9)
    desk.advance("one", job("a"), 12)
    desk.end("one", job("a"), RESULT)
    assert news(desk) == [("ended", "a0")]


def test_the_job_of_a_crew_that_is_gone_is_lost_and_what_it_still_says_is_not_believed(desk: Desk) -> None:
    desk.offer([job("a")])
    taken(desk)
    desk.collect()
    desk.gone("one", "killed")
    (message,) = desk.collect()[1]
    assert (message["kind"], message["trial_id"], message["attempt"]) == ("lost", "a", 0)
    assert (message["cause"], message["hardware"]) == ("killed", "abacus")
    assert not desk.advance("one", job("a"), 3)
    desk.end("one", job("a"), RESULT)
    assert desk.ask("one", FACTS) is STOP
    assert news(desk) == []
    desk.gone("two", "never had anything")
    assert news(desk) == []


def test_a_second_attempt_comes_before_what_waits(desk: Desk) -> None:
    desk.offer([job("b")])
    desk.offer([job("a", attempt=1)])
    assert taken(desk) == job("a", attempt=1)


def test_what_becomes_of_a_job_is_told_with_its_last_checkpoint(desk: Desk) -> None:
    desk.offer([job("a"), job("b"), job("c")])
    for crew, name in (("one", "a"), ("two", "b"), ("three", "c")):
        taken(desk, crew)
        assert desk.advance(crew, job(name), 9, 8)
        assert desk.advance(crew, job(name), 12)
    assert [m["kept"] for m in desk.collect()[1] if m["kind"] == "advanced"] == [8, 8, 8]
    desk.gone("one", "killed")
    desk.end("two", job("b"), RESULT)
    desk.refuse("three", job("c"), "the data are gone")
    assert [(m["kind"], m.get("kept")) for m in desk.collect()[1]] == [("lost", 8), ("ended", 8), ("refused", None)]
    # Another crew has the same job from its start.
    assert taken(desk, "four") == job("c")
    desk.gone("four", "killed")
    assert desk.collect()[1][-1]["kept"] == 0


def test_a_job_that_does_not_fit_goes_back_to_the_driver(desk: Desk) -> None:
    desk.offer([job("a"), job("b")])
    taken(desk)
    desk.advance("one", job("a"), 9, 8)
    desk.collect()
    limit: dict[str, Any] = {"hardware": "abacus", "micro_batch_at_most": 4, "reason": "8 do not fit"}
    desk.shrink("one", job("a"), **limit)
    assert desk.collect()[1] == [{"kind": "too_large", "trial_id": "a", "attempt": 0, "kept": 8, **limit}]
    desk.offer([job("a", attempt=1)])
    assert taken(desk) == job("a", attempt=1)


def test_what_the_user_should_know_is_passed_on(desk: Desk) -> None:
    desk.note("node-2 does not see /results")
    assert desk.has_news
    assert desk.collect()[1] == [{"kind": "noted", "line": "node-2 does not see /results"}]


def test_everybody_is_sent_home_and_trials_are_given_up(desk: Desk) -> None:
    desk.offer([job("a")])
    taken(desk)
    desk.stop()
    assert not desk.advance("one", job("a"), 3)
    assert desk.has_answer("one")
    assert desk.ask("one", FACTS) is STOP
    assert desk.ask("two", FACTS) is STOP


def test_a_crew_that_refuses_keeps_its_place_and_its_job_goes_to_another(desk: Desk) -> None:
    desk.offer([job("a"), job("b")])
    taken(desk, "one")
    desk.collect()
    desk.refuse("one", job("a"), "the data are gone")
    assert desk.collect()[1] == [{"kind": "refused", "crew": "one", "reason": "the data are gone"}]
    assert desk.ask("one", FACTS) is WAIT
    assert not desk.has_answer("one")
    assert taken(desk, "two") == job("a")  # before the others, and the same attempt


def test_a_crew_with_other_code_gets_nothing_and_is_named() -> None:
    desk = Desk(code="ffff0000cc")
    desk.offer([job("a")])
    assert desk.ask("one", FACTS) is WAIT
    came, refused = desk.collect()[1]
    assert came["kind"] == "came"
    assert refused["reason"] == (
        "process 7 on node-2 runs batchlaw 1.2 (code aaaaaaaa), but the driver runs other code (ffff0000); "
        "install the same version there"
    )
    assert taken_by_same(desk) == job("a")


def taken_by_same(desk: Desk) -> dict[str, Any]:
    answer = dict(desk.ask("two", {**FACTS, "code": "ffff0000cc"}))
    assert answer.pop("kind") == "job"
    return answer


def test_a_desk_that_begins_again_has_another_epoch_and_lets_crews_go_on() -> None:
    before, after = Desk(), Desk()
    assert before.collect()[0] != after.collect()[0]
    # A crew that trains since before tells first; then the driver offers what is open, and it is not offered twice.
    assert after.advance("one", job("a"), 3)
    after.offer([job("a"), job("b")])
    assert taken(after, "two") == job("b")
    after.end("one", job("a"), RESULT)
    after.offer([job("a")])  # a driver that has not heard of the end yet
    assert after.ask("three", FACTS) is WAIT
    assert ("ended", "a0") in news(after)


def test_a_job_that_is_offered_again_is_taken_back_by_who_trains_it() -> None:
    desk = Desk()
    desk.offer([job("a"), job("b")])
    assert desk.advance("one", job("a"), 3)
    assert taken(desk, "two") == job("b")
    assert desk.ask("three", FACTS) is WAIT


def test_a_job_that_somebody_else_has_taken_is_given_up() -> None:
    desk = Desk()
    desk.offer([job("a")])
    taken(desk, "two")
    desk.collect()
    assert not desk.advance("one", job("a"), 3)
    desk.end("one", job("a"), RESULT)
    assert news(desk) == []
