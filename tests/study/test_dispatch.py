"""Driver, desk and crews without Ray: each trial is stored once whoever dies, and the study ends."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from results import ResultStore
from study.agenda import Agenda
from study.checkpoint_place import CheckpointPlace
from study.design import Design
from study.desk import Desk
from study.dispatch import STILLBORN, Dispatch
from study.errors import ConfigError
from study.fits import Fits
from study.notes import MOST_NOTES
from study.outcomes import Outcomes
from study.progress import Progress
from study.recorder import Recorder
from study.resolve import BatchArithmetic

from .studies import design

RETRIES = 2
GIVEN_UP = "WorkerLost: killed; 3 attempts in a row came no further (resources.retries: 2)"
FACTS = {"where": "here", "version": "0", "code": "", "hardware": "abacus"}
CROWDED = "WorkerLost: 1 worker(s) were killed due to the node running low on memory."
FINISHED = {"status": "exhausted", "message": "", "steps": 10, "examples": 40, "value": 0.09, "train_seconds": 2.0}


class Office:
    """A dispatch with its desk, whose process may die."""

    def __init__(self, folder: Path, study: Design, *, places: int = 2) -> None:
        self.store = ResultStore(folder)
        self.study = study
        self.outcomes = Outcomes()
        self.progress = Progress(study, self.outcomes)
        self.recorder = Recorder(
            store=self.store,
            outcomes=self.outcomes,
            study="shape",
            code_version="0",
            arithmetic={
                (sweep.name, size): BatchArithmetic(
                    batch_size=size, steps=40, world_size=1, micro_batch_size=size, accumulation_steps=1
                )
                for sweep in study.sweeps
                for size in sweep.lanes
            },
            observer=self,  # type: ignore[arg-type]
        )
        self.desk = Desk()
        self.notes: list[str] = []
        self.checkpoints = CheckpointPlace(self.store.storage, every_seconds=60.0)
        assert self.checkpoints.open(is_stored=self.outcomes.__contains__) == ""
        self.dispatch = Dispatch(
            agenda=Agenda(study, self.outcomes),
            desk=self,
            recorder=self.recorder,
            job=lambda trial: {"spec": trial.trial_id},
            places=places,
            retries=RETRIES,
            checkpoints=self.checkpoints,
            fits=Fits(self.store),
            note=self.notes.append,
        )
        self.listen()
        self.dispatch.hand_out()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.desk if hasattr(self.desk, name) else self.progress, name)

    def listen(self) -> None:
        self.dispatch.hear(*self.desk.collect())

    def take(self, crew: str) -> dict[str, Any] | None:
        answer = dict(self.desk.ask(crew, FACTS))
        return answer if answer.pop("kind") == "job" else None

    def end(self, crew: str, job: dict[str, Any], **outcome: Any) -> None:
        self.desk.end(crew, job, {"outcome": {**FINISHED, **outcome}, "points": [], "probes": []})


def six() -> Design:
    return design(batch_sizes=[2], learning_rates=[0.1, 0.2, 0.4], seeds=[0, 1])


def test_trials_come_in_order_one_for_each_place_and_end_in_the_store(tmp_path: Path) -> None:
    office = Office(tmp_path, six())
    order = [trial.trial_id for trial in office.study.trials({})]
    assert office.dispatch.crews_wanted == 2
    done = []
    jobs = {crew: office.take(crew) for crew in ("one", "two")}
    while any(jobs.values()):
        for crew, job in jobs.items():
            if job:
                done.append(job["trial_id"])
                office.end(crew, job)
                office.listen()
                jobs[crew] = office.take(crew)
    assert done == order
    assert office.dispatch.finished
    assert office.dispatch.crews_wanted == 0
    assert office.desk.ask("one", FACTS)["kind"] == "stop"
    assert set(office.store.trials()["trial_id"]) == set(order)
    assert (office.recorder.trials, office.recorder.train_seconds) == (6, 12.0)


def test_a_lost_trial_is_begun_again_and_after_some_losses_has_failed(tmp_path: Path) -> None:
    office = Office(tmp_path, six(), places=1)
    first = office.study.trials({})[0].trial_id
    for attempt in range(RETRIES + 1):
        assert first not in office.outcomes
        job = office.take(f"crew-{attempt}")
        assert job is not None
        assert (job["trial_id"], job["attempt"]) == (first, attempt)
        office.listen()
        assert office.progress.snapshot().running == 1
        office.dispatch.crew_ended(f"crew-{attempt}", "WorkerLost: killed")
        office.listen()
        assert office.progress.snapshot().running == 0
    (row,) = office.store.trials().to_dict("records")
    assert (row["trial_id"], row["status"], row["message"]) == (first, "failed", GIVEN_UP)
    job = office.take("another")
    assert job is not None
    assert job["trial_id"] == office.study.trials({})[1].trial_id


def test_a_trial_that_comes_further_is_begun_again_as_often_as_it_is_lost(tmp_path: Path) -> None:
    office = Office(tmp_path, six(), places=1)
    first = office.study.trials({})[0].trial_id
    lost = 4 * RETRIES
    for attempt in range(lost):
        job = office.take(f"crew-{attempt}")
        assert job is not None
        assert (job["trial_id"], job["attempt"]) == (first, attempt)
        assert job["checkpoints"]["folder"] == first
        office.desk.advance(f"crew-{attempt}", job, attempt + 2, attempt + 1)
        if attempt % 2:
            office.listen()  # else the loss is the first that the driver hears of the checkpoint
        office.dispatch.crew_ended(f"crew-{attempt}", "WorkerLost: preempted")
        office.listen()
    for attempt in range(lost, lost + RETRIES + 1):  # one that goes on, and is lost before it comes further
        job = office.take(f"crew-{attempt}")
        assert job is not None
        assert (job["trial_id"], job["attempt"]) == (first, attempt)
        office.desk.advance(f"crew-{attempt}", job, lost, lost)
        office.dispatch.crew_ended(f"crew-{attempt}", "WorkerLost: killed")
        office.listen()
    (row,) = office.store.trials().to_dict("records")
    assert (row["trial_id"], row["status"], row["message"]) == (first, "failed", GIVEN_UP)


def test_a_trial_that_does_not_fit_comes_back_smaller_and_those_of_its_shape_begin_so(tmp_path: Path) -> None:
    office = Office(tmp_path, design(batch_sizes=[8, 16], learning_rates=[0.1], seeds=[0, 1]), places=1)
    job = office.take("one")
    assert job is not None
    assert job["micro_batch_at_most"] == {}
    for attempt, size in enumerate((4, 2)):
        assert job["attempt"] == attempt
        office.desk.shrink("one", job, hardware="abacus", micro_batch_at_most=size, reason=f"{2 * size} do not fit")
        office.listen()
        assert office.progress.snapshot().running == 0
        again = office.take("one")
        assert again is not None
        assert (again["trial_id"], again["micro_batch_at_most"]) == (job["trial_id"], {"abacus": size})
        (limit,) = json.loads((tmp_path / "memory.json").read_text())["limits"]
        assert limit["micro_batch_at_most"] == size  # before the trial has ended: others of its shape are running
        job = again
    office.end("one", job, micro_batch_size=2)
    office.listen()
    (row,) = office.store.trials().to_dict("records")
    assert (row["status"], row["halvings"], row["micro_batch_size"]) == ("exhausted", 2, 2)
    other = office.take("one")
    assert other is not None
    assert (other["attempt"], other["micro_batch_at_most"]) == (0, {"abacus": 2})
    # Also in a later run of the study.
    later = Office(tmp_path, design(batch_sizes=[32], learning_rates=[0.1], seeds=[0]), places=1).take("one")
    assert later is not None
    assert later["micro_batch_at_most"] == {"abacus": 2}


def test_what_a_trial_halved_in_place_is_remembered_if_it_ended_well(tmp_path: Path) -> None:
    office = Office(tmp_path, six(), places=1)
    found = {"hardware": "abacus", "micro_batch_size": 2, "micro_batch_at_most": 3, "halvings": 1}
    for outcome, expected in (({"status": "failed", "message": "E"}, {}), ({}, {"abacus": 3})):
        job = office.take("one")
        assert job is not None
        office.end("one", job, **{**found, **outcome})
        office.listen()
        assert office.dispatch._fits.limits(office.study.trials({})[0].spec) == expected
    assert list(office.store.trials()["halvings"]) == [1, 1]


def test_a_trial_that_says_the_same_limit_again_fails_alone(tmp_path: Path) -> None:
    office = Office(tmp_path, six(), places=1)
    for attempt in range(2):
        job = office.take("one")
        assert job is not None
        assert job["attempt"] == attempt
        office.desk.shrink("one", job, hardware="abacus", micro_batch_at_most=1, reason="SettingsError: no room")
        office.listen()
    (row,) = office.store.trials().to_dict("records")
    assert (row["status"], row["message"], row["halvings"]) == ("failed", "SettingsError: no room", 1)
    assert office.take("one") is not None


def test_a_machine_without_memory_halves_from_the_second_loss_on_and_remembers_what_fitted(tmp_path: Path) -> None:
    office = Office(tmp_path, design(batch_sizes=[8], learning_rates=[0.1], seeds=[0, 1]), places=1)
    for attempt, limits in enumerate(({}, {}, {"abacus": 4}, {"abacus": 2})):
        job = office.take(f"crew-{attempt}")
        assert job is not None
        assert (job["attempt"], job["micro_batch_at_most"]) == (attempt, limits)
        if attempt < 3:
            office.dispatch.crew_ended(f"crew-{attempt}", CROWDED)
            office.listen()
    assert not (tmp_path / "memory.json").exists()  # it may still be another process that takes the memory
    office.end("crew-3", job, micro_batch_size=2)
    office.listen()
    other = office.take("crew-3")
    assert other is not None
    assert other["micro_batch_at_most"] == {"abacus": 2}


def test_a_trial_of_which_one_example_is_too_much_for_a_machine_fails_alone(tmp_path: Path) -> None:
    office = Office(tmp_path, six(), places=1)
    crews = 0
    while len(office.store.trials()) == 0:
        assert office.take(f"crew-{crews}") is not None
        office.dispatch.crew_ended(f"crew-{crews}", CROWDED)
        office.listen()
        crews += 1
    (row,) = office.store.trials().to_dict("records")
    assert (row["status"], row["message"], row["halvings"]) == ("failed", CROWDED, 1)  # of two examples
    assert crews == 4
    assert office.take("another") is not None


@pytest.mark.parametrize("told", [False, True])
def test_checkpoints_go_once_the_trial_is_stored(tmp_path: Path, told: bool) -> None:
    office = Office(tmp_path, six(), places=1)
    job = office.take("one")
    assert job is not None
    folder = tmp_path / "checkpoints" / job["trial_id"]
    folder.mkdir()
    office.desk.advance("one", job, 9, 8)
    if told:
        office.listen()
    assert folder.exists()
    office.end("one", job)
    office.listen()
    assert len(office.store.trials()) == 1
    assert not folder.exists()


def test_the_user_is_told_once(tmp_path: Path) -> None:
    office = Office(tmp_path, six())
    for line in ("node-2 does not see it", "node-2 does not see it", "node-3 does not see it"):
        office.desk.note(line)
    office.listen()
    assert office.notes == ["node-2 does not see it", "node-3 does not see it"]
    for number in range(2 * MOST_NOTES):
        office.desk.note(f"trial {number}: no checkpoint")
    office.listen()
    assert len(office.notes) == MOST_NOTES + 1
    assert office.notes[-1] == "more of this kind is not told"


def test_a_late_result_of_a_lost_attempt_is_dropped(tmp_path: Path) -> None:
    office = Office(tmp_path, six(), places=1)
    job = office.take("one")
    assert job is not None
    office.desk.collect()
    message = {**job, "kind": "ended", "outcome": FINISHED, "points": [], "probes": []}
    office.dispatch.crew_ended("one", "WorkerLost: no answer")
    office.listen()
    office.dispatch.hear(office.desk.epoch, [message])
    assert len(office.store.trials()) == 0
    office.dispatch.hear(office.desk.epoch, [{**message, "attempt": 1}, {**message, "attempt": 1}])
    assert len(office.store.trials()) == 1


def test_a_desk_that_dies_costs_no_trial(tmp_path: Path) -> None:
    office = Office(tmp_path, six(), places=2)
    job = office.take("one")
    assert job is not None
    office.desk = Desk()  # neither the taken nor the offered job is known to it
    office.listen()
    assert office.desk.advance("one", job, 3)
    other = office.take("two")
    assert other is not None
    assert {job["trial_id"], other["trial_id"]} == {t.trial_id for t in office.study.trials({})[:2]}
    office.end("one", job)
    office.end("two", other)
    office.listen()
    assert len(office.store.trials()) == 2


@pytest.mark.parametrize("seed", range(5))
def test_deaths_at_random_moments_lose_no_trial_and_store_none_twice(tmp_path: Path, seed: int) -> None:
    study = design(batch_sizes=[2, 4], learning_rates=[0.1, 0.2, 0.4], seeds=[0, 1], extend={"max_steps_per_side": 1})
    office, chance = Office(tmp_path, study, places=3), random.Random(seed)
    crews: dict[str, dict[str, Any] | None] = {}
    named = died = 0
    while not office.dispatch.finished:
        while len(crews) < office.dispatch.crews_wanted:
            crews[f"crew-{named}"] = None
            named += 1
        crew = chance.choice(list(crews))
        job, fate = crews[crew], chance.random()
        if fate < 0.1:
            died += 1
            del crews[crew]
            office.dispatch.crew_ended(crew, "WorkerLost: killed")
        elif fate < 0.15:
            office.desk = Desk()
        elif fate < 0.5:
            office.listen()
        elif job is None:
            crews[crew] = office.take(crew)
        elif fate < 0.7:
            if not office.desk.advance(crew, job, 3):
                crews[crew] = None
        else:
            office.end(crew, job, value=float(int(job["trial_id"], 16) % 7))
            crews[crew] = None
    rows = office.store.trials()
    assert died > 0
    assert len(rows) == rows["trial_id"].nunique()
    assert set(rows["trial_id"]) == {trial.trial_id for trial in study.trials(office.outcomes)}
    assert study.missing(office.outcomes) == []


def test_refusing_crews_keep_their_places_and_when_all_refuse_the_study_stops(tmp_path: Path) -> None:
    office = Office(tmp_path, design(batch_sizes=[2], learning_rates=[0.1], seeds=[0]), places=2)
    assert office.dispatch.crews_wanted == 1
    office.take("one")
    office.desk.refuse("one", None, "node-1: the data are gone")
    office.listen()
    assert office.dispatch.failure is None
    assert office.notes == ["node-1: the data are gone; the other workers go on"]
    assert office.dispatch.crews_wanted == 2
    office.take("two")
    office.desk.refuse("two", None, "node-2: the data are gone")
    office.listen()
    assert isinstance(office.dispatch.failure, ConfigError)
    assert str(office.dispatch.failure) == "node-2: the data are gone"
    assert len(office.notes) == 1  # what stops the study is said by whoever stops it
    assert office.desk.ask("three", FACTS)["kind"] == "stop"


def test_a_refusing_crew_that_ends_makes_room(tmp_path: Path) -> None:
    office = Office(tmp_path, six(), places=2)
    office.take("one")
    office.desk.refuse("one", None, "no")
    office.listen()
    office.dispatch.crew_ended("one", "gone")
    office.take("two")
    office.desk.refuse("two", None, "no")
    office.listen()
    assert office.dispatch.failure is None


def test_crews_that_never_come_stop_the_study(tmp_path: Path) -> None:
    office = Office(tmp_path, six())
    for number in range(STILLBORN - 1):
        office.dispatch.crew_ended(f"crew-{number}", "ImportError: no torch")
    office.take("late")
    office.listen()  # one that comes shows that it can be done
    office.dispatch.crew_ended("late", "killed")
    for number in range(STILLBORN):
        assert office.dispatch.failure is None
        office.dispatch.crew_ended(f"more-{number}", "ImportError: no torch")
    assert str(office.dispatch.failure) == "5 workers in a row ended before they began a trial: ImportError: no torch"


def test_a_storage_that_refuses_ends_the_study_and_the_trial_stays_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    office = Office(tmp_path, six())
    jobs = {crew: office.take(crew) for crew in ("one", "two")}

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device", str(tmp_path))

    monkeypatch.setattr(ResultStore, "append", refuse)
    for crew, job in jobs.items():
        assert job is not None
        office.end(crew, job)
    office.listen()
    assert isinstance(office.dispatch.failure, OSError)
    assert not office.dispatch.finished
    assert len(office.outcomes) == 0
    assert office.desk.ask("one", FACTS)["kind"] == "stop"


def test_room_that_grows_is_filled_and_room_that_shrinks_ends_nothing(tmp_path: Path) -> None:
    office = Office(tmp_path, six(), places=1)
    jobs = [office.take("one")]
    assert office.take("two") is None
    office.dispatch.make_room(3)
    assert office.dispatch.crews_wanted == 3
    jobs += [office.take("two"), office.take("three")]
    assert None not in jobs
    office.dispatch.make_room(0)
    assert office.dispatch.crews_wanted == 0
    for crew, job in zip(("one", "two", "three"), jobs, strict=True):
        assert office.desk.advance(crew, job, 3)
        office.end(crew, job)
        office.listen()
        assert office.take(crew) is None
    assert len(office.store.trials()) == 3
    assert office.dispatch.failure is None
    office.dispatch.make_room(1)
    assert office.dispatch.crews_wanted == 1
    assert office.take("two") is not None


def test_refusals_are_held_against_the_room_that_is_left_once_it_is_sure(tmp_path: Path) -> None:
    office = Office(tmp_path, six(), places=3)
    office.take("one")
    office.desk.refuse("one", None, "node-1: the data are gone")
    office.listen()
    office.dispatch.make_room(1)
    assert office.dispatch.failure is None  # its node may be the one that left
    office.dispatch.crew_ended("one", "its node left")
    office.dispatch.make_room(1)
    assert office.dispatch.failure is None
    office.dispatch.make_room(2)
    office.take("two")
    office.desk.refuse("two", None, "node-2: the data are gone")
    office.listen()
    office.dispatch.make_room(0)
    office.dispatch.make_room(0)
    assert office.dispatch.failure is None
    office.dispatch.make_room(1)
    office.dispatch.make_room(1)
    assert str(office.dispatch.failure) == "node-2: the data are gone"
    assert office.desk.ask("three", FACTS)["kind"] == "stop"
