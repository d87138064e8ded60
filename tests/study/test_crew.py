"""The loop that every crew runs, with a desk in the same process."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from study import crew as crew_module
from study.crew import CannotTrain, Noted, facts, work
from study.desk import Desk
from study.training import Training
from study.version import code_digest
from trainers.errors import DataError
from trainers.events import Finished, Kept, Measured, Probed, Progress, Resumed
from trainers.memory import DoesNotFit
from trainers.probes.rows import ProbeRow
from trainers.process import hardware_name

FACTS = {"where": "here", "version": "0", "code": ""}
FINISHED = Finished(
    status="reached",
    message="",
    steps=10,
    examples=40,
    steps_to_target=8.5,
    value=0.09,
    train_seconds=2.0,
    evaluate_seconds=0.5,
    setup_seconds=0.1,
    probe_seconds=0.0,
    world_size=1,
    micro_batch_size=1,
    accumulation_steps=4,
    device_batch_size=1,
    dtype="float32",
    zero_stage=0,
    hardware="abacus",
)
PROBE_ROW = ProbeRow(
    step=3, examples=12, name="n", scope="all", batch_size=4, rate=math.inf, draw=0, total=1.0, count=2
)


class OneByOne(Desk):
    """A desk that stops when nothing is left, as there is no driver to say so."""

    def ask(self, crew: str, facts: Mapping[str, Any]) -> Mapping[str, Any]:
        answer = super().ask(crew, facts)
        if answer["kind"] == "wait":
            self.stop()
            return super().ask(crew, facts)
        return answer


def run(train: Any, *names: str) -> dict[str, Mapping[str, Any]]:
    """Train jobs of these names and return what the driver hears of each at last."""
    desk = OneByOne()
    desk.offer([{"trial_id": name, "attempt": 0} for name in names])
    work(desk, crew="one", train=train, facts=FACTS)
    return {message.get("trial_id", ""): message for message in desk.collect()[1]}


def test_a_trial_is_told_at_its_end_with_all_that_was_measured() -> None:
    def train(job: Mapping[str, Any]) -> Iterator[Any]:
        assert job == {"trial_id": "a", "attempt": 0}
        yield Measured(step=0, examples=0, train_seconds=0.0, values={"loss": 2, "accuracy": 0.5})
        yield Progress(step=3, examples=12, train_seconds=0.1)
        yield Probed(
            step=3,
            examples=12,
            train_seconds=0.1,
            rows=(PROBE_ROW,),
            seconds=0.1,
            equivalent_steps=1.0,
            gradient_examples=1,
            product_examples=1,
            loss_examples=1,
        )
        yield FINISHED
        raise AssertionError("nothing is asked for after the end")

    told = run(train, "a")["a"]
    assert told["kind"] == "ended"
    assert told["outcome"]["steps_to_target"] == 8.5
    assert told["outcome"]["started_at"].endswith("+00:00")
    assert [(p["step"], p["name"], p["value"]) for p in told["points"]] == [(0, "loss", 2.0), (0, "accuracy", 0.5)]
    assert isinstance(told["points"][0]["value"], float)
    (probe,) = told["probes"]
    assert (probe["name"], probe["total"], probe["rate"]) == ("n", 1.0, math.inf)


@pytest.mark.parametrize(
    ("error", "message"),
    [(RuntimeError("no such data\nsecond"), "RuntimeError: no such data"), (KeyError(), "KeyError: KeyError")],
)
def test_an_exception_is_a_failed_trial_and_the_next_one_begins(error: Exception, message: str) -> None:
    def train(job: Mapping[str, Any]) -> Iterator[Any]:
        yield Progress(step=1, examples=4, train_seconds=0.1)
        if job["trial_id"] == "a":
            raise error
        yield FINISHED

    told = run(train, "a", "b")
    assert (told["a"]["outcome"]["status"], told["a"]["outcome"]["message"]) == ("failed", message)
    assert told["b"]["outcome"]["status"] == "reached"


def test_training_that_ends_without_a_word_has_failed() -> None:
    told = run(lambda job: (event for event in ()), "a")
    assert told["a"]["outcome"]["message"] == "RuntimeError: training ended without a result"


def test_a_trial_that_is_given_up_is_closed_and_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew_module, "TELL_SECONDS", 0.0)
    closed = []

    class Deaf(OneByOne):
        def advance(self, crew: str, job: Any, step: int, kept: int = 0) -> bool:
            super().advance(crew, job, step, kept)
            self.stop()
            return False

    def train(job: Mapping[str, Any]) -> Iterator[Any]:
        try:
            yield Progress(step=7, examples=28, train_seconds=0.1)
            yield FINISHED
        finally:
            closed.append(job["trial_id"])

    desk = Deaf()
    desk.offer([{"trial_id": "a", "attempt": 0}])
    work(desk, crew="one", train=train, facts=FACTS)
    assert closed == ["a"]
    assert [(m["kind"], m.get("step")) for m in desk.collect()[1]][2:] == [("advanced", 7)]


def test_checkpoints_are_told_at_once_and_what_is_wrong_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew_module, "TELL_SECONDS", 1e9)
    here = {"examples": 0, "train_seconds": 0.1}
    steps = []

    class Listening(OneByOne):
        def advance(self, crew: str, job: Any, step: int, kept: int = 0) -> bool:
            steps.append((step, kept))
            return super().advance(crew, job, step, kept)

    def train(job: Mapping[str, Any]) -> Iterator[Any]:
        yield Noted(line="node-2 does not see it")
        yield Resumed(step=8, resumes=1, problems=("checkpoint 16 is not used: torn",), **here)
        yield Measured(step=7, values={"loss": 1.0}, **here)
        yield Progress(step=12, **here)
        yield Kept(step=16, seconds=0.1, file_bytes=9, problem="", **here)
        yield Kept(step=24, seconds=0.1, file_bytes=9, problem="OSError: no space", **here)
        yield Kept(step=32, seconds=0.1, file_bytes=9, problem="OSError: no space", **here)
        yield FINISHED

    desk = Listening()
    desk.offer([{"trial_id": "a", "attempt": 1}])
    work(desk, crew="one", train=train, facts=FACTS)
    assert steps == [(8, 8), (16, 16)]
    told = desk.collect()[1]
    assert [message["line"] for message in told if message["kind"] == "noted"] == [
        "node-2 does not see it",
        "trial a: checkpoint 16 is not used: torn",
        "trial a: no checkpoint at step 24: OSError: no space",
    ]
    (end,) = [message for message in told if message["kind"] == "ended"]
    assert end["kept"] == 16
    assert [point["step"] for point in end["points"]] == [7]


def test_what_does_not_fit_is_told_and_the_next_job_asked_for() -> None:
    def train(job: Mapping[str, Any]) -> Iterator[Any]:
        if job["trial_id"] == "a":
            raise DoesNotFit("a micro-batch of 8 does not fit\nsecond", micro_batch_at_most=4)
        yield FINISHED

    told = run(train, "a", "b")
    assert told["a"] == {
        "kind": "too_large",
        "trial_id": "a",
        "attempt": 0,
        "hardware": hardware_name(),
        "micro_batch_at_most": 4,
        "reason": "a micro-batch of 8 does not fit",
        "kept": 0,
    }
    assert told["b"]["outcome"]["status"] == "reached"


def test_a_process_that_cannot_train_refuses_and_takes_nothing_more() -> None:
    def train(job: Mapping[str, Any]) -> Iterator[Any]:
        raise CannotTrain("no data here")
        yield

    told = run(train, "a", "b")
    assert (told[""]["kind"], told[""]["reason"]) == ("refused", "no data here")
    assert "b" not in told


def test_data_that_cannot_be_had_are_no_fault_of_the_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: object) -> None:
        raise DataError("rotten-tomatoes can't be fetched\nno network")

    monkeypatch.setattr("trainers.workloads.load_workload", lost)
    with pytest.raises(CannotTrain, match=r"^process \d+ on \S+: rotten-tomatoes can't be fetched$"):
        list(Training().events({"spec": '{"workload_settings": {}}', "workload": "bert-mlm"}))


def test_a_process_says_which_code_it_runs() -> None:
    told = facts()
    assert told["code"] == code_digest()
    assert len(told["code"]) == 64
    assert told["where"].startswith("process ")
    assert told["hardware"] == hardware_name()
