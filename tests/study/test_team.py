"""Several workers as one crew: what the desk hears of them, in threads that stand for processes."""

from __future__ import annotations

import dataclasses
import datetime
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from study import crew as crew_module
from study import team_desk
from study.crew import CannotTrain, work
from study.team import GroupBroken, Team
from study.team_desk import TeamDesk
from study.training import Training
from trainers.events import Measured, Progress
from trainers.memory import DoesNotFit

from .test_crew import FACTS, FINISHED, OneByOne

WORLD = 2
DEADLINE = 120.0
STUCK = "gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:4242"


class Table:
    """A store, as all ranks reach it."""

    def __init__(self) -> None:
        self.rows: dict[str, bytes] = {}
        self._changed = threading.Condition()

    def set(self, key: str, value: str) -> None:
        with self._changed:
            self.rows[key] = value.encode()
            self._changed.notify_all()

    def get(self, key: str) -> bytes:
        return self.rows[key]

    def wait(self, keys: list[str], timeout: datetime.timedelta) -> None:
        limit = min(timeout.total_seconds(), DEADLINE)
        with self._changed:
            if not self._changed.wait_for(lambda: all(key in self.rows for key in keys), limit):
                raise RuntimeError(f"wait timeout after {limit}s")

    def add(self, key: str, amount: int) -> int:
        with self._changed:
            self.rows[key] = str(int(self.rows.get(key, b"0")) + amount).encode()
            return int(self.rows[key])

    def delete_key(self, key: str) -> bool:
        return self.rows.pop(key, None) is not None


class Wire:
    """A process group: every call waits for all ranks, as a collective does."""

    def __init__(self) -> None:
        self._barrier = threading.Barrier(WORLD)
        self._told = b""

    def of(self, rank: int) -> WireEnd:
        return WireEnd(self, rank)

    def from_first(self, rank: int, message: bytes) -> bytes:
        self.meet()
        if rank == 0:
            self._told = message
        self.meet()
        return self._told

    def meet(self) -> None:
        try:
            self._barrier.wait(DEADLINE)
        except threading.BrokenBarrierError:
            raise RuntimeError(STUCK) from None

    def cut(self) -> None:
        """End as a process does: whoever waits for it learns of it."""
        self._barrier.abort()


@dataclasses.dataclass
class WireEnd:
    wire: Wire
    rank: int
    collectives: int = 0

    def from_first(self, message: bytes) -> bytes:
        self.collectives += 1
        return self.wire.from_first(self.rank, message)

    def first_says(self, yes: bool) -> bool:
        return self.from_first(b"\1" if yes else b"\0") == b"\1"

    def all_reduce(self) -> None:
        self.collectives += 1
        self.wire.meet()


TrainRank = Callable[[Mapping[str, Any], int, WireEnd], Iterator[Any]]


@dataclasses.dataclass
class Crew:
    """What became of a crew of two."""

    told: list[Mapping[str, Any]]
    left: list[BaseException | None]

    def of(self, name: str) -> list[Mapping[str, Any]]:
        return [message for message in self.told if message.get("trial_id") == name and message["kind"] != "begun"]


def together(train: TrainRank, *names: str, desk: OneByOne | None = None) -> Crew:
    """Train jobs of these names in two ranks."""
    desk = desk or OneByOne()
    limits = {"old": 32, "older": 16, "elsewhere": 1}
    desk.offer([{"trial_id": name, "attempt": 0, "micro_batch_at_most": limits} for name in names])
    table, wire = Table(), Wire()
    left: list[BaseException | None] = [None] * WORLD

    def one(rank: int) -> None:
        end = wire.of(rank)
        team = Team(rank=rank, world=WORLD, links=end, store=table, collectives=lambda: end.collectives)
        mine = TeamDesk(desk, team, hardware=["old", "older"])
        try:
            work(mine, crew="pair", train=mine.training(lambda job: train(job, rank, end)), facts=FACTS)
        except BaseException as error:
            left[rank] = error
            wire.cut()

    threads = [threading.Thread(target=one, args=(rank,), daemon=True) for rank in range(WORLD)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive(), "a rank hangs"
    assert len(table.rows) <= 2 * (WORLD + 1)  # what has been read is forgotten
    return Crew(told=desk.collect()[1], left=left)


def measured(step: int) -> Measured:
    return Measured(step=step, examples=4 * step, train_seconds=0.1, values={"loss": 1.0 / (1 + step)})


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team_desk, "PATIENCE_SECONDS", 0.2)


def test_both_ranks_train_each_job_and_one_of_them_tells() -> None:
    seen: list[tuple[str, int]] = []

    def train(job: Mapping[str, Any], rank: int, end: WireEnd) -> Iterator[Any]:
        seen.append((job["trial_id"], rank))
        yield measured(0)
        if rank:
            yield Progress(step=1, examples=4, train_seconds=0.1)  # by its own clock: no other rank waits for it
        end.all_reduce()
        yield FINISHED

    names = "abcde"
    crew = together(train, *names)
    assert sorted(seen) == [(name, rank) for name in names for rank in (0, 1)]
    for name in names:
        (told,) = crew.of(name)
        assert (told["kind"], told["outcome"]["status"]) == ("ended", "reached")
        assert [point["value"] for point in told["points"]] == [1.0]
    assert crew.left == [None, None]


@pytest.mark.parametrize("culprit", [None, 0, 1])
def test_what_is_raised_at_one_point_fails_the_trial_and_the_group_goes_on(culprit: int | None) -> None:
    def train(job: Mapping[str, Any], rank: int, end: WireEnd) -> Iterator[Any]:
        yield measured(0)
        end.all_reduce()
        if job["trial_id"] == "a" and culprit in (None, rank):
            raise KeyError("no such data")
        yield FINISHED

    crew = together(train, "a", "b")
    (told,) = crew.of("a")
    assert (told["outcome"]["status"], told["outcome"]["message"]) == ("failed", "KeyError: 'no such data'")
    assert crew.of("b")[0]["outcome"]["status"] == "reached"
    assert crew.left == [None, None]


@pytest.mark.parametrize("culprit", [0, 1])
def test_a_rank_that_raises_alone_tells_of_the_trial_and_the_group_ends(culprit: int) -> None:
    def train(job: Mapping[str, Any], rank: int, end: WireEnd) -> Iterator[Any]:
        yield measured(0)
        if rank == culprit:
            raise ValueError("only here")
        end.all_reduce()
        yield FINISHED

    crew = together(train, "a", "b")
    (told,) = crew.of("a")
    assert (told["outcome"]["status"], told["outcome"]["message"]) == ("failed", "ValueError: only here")
    assert not crew.of("b")
    assert all(isinstance(error, GroupBroken) for error in crew.left)
    assert str(crew.left[culprit]) == f"worker {culprit} of 2 raised alone: ValueError: only here"


def test_ranks_that_raise_at_different_points_do_not_meet_again() -> None:
    def train(job: Mapping[str, Any], rank: int, end: WireEnd) -> Iterator[Any]:
        yield measured(0)
        end.collectives += rank  # one more that was begun and not waited for
        raise ValueError("everywhere")

    crew = together(train, "a", "b")
    assert [message["outcome"]["message"] for message in crew.of("a")] == ["ValueError: everywhere"]
    assert not crew.of("b")
    assert all(isinstance(error, GroupBroken) for error in crew.left)


@pytest.mark.parametrize("survivor", [0, 1])
def test_a_rank_whose_peer_is_gone_tells_of_no_failure(survivor: int) -> None:
    def train(job: Mapping[str, Any], rank: int, end: WireEnd) -> Iterator[Any]:
        yield measured(0)
        if rank != survivor:
            raise SystemExit  # as near as a thread comes to being killed
        end.all_reduce()
        yield FINISHED

    crew = together(train, "a")
    assert not crew.of("a")
    assert isinstance(crew.left[survivor], GroupBroken)
    assert str(crew.left[survivor]).startswith("RuntimeError: gloo/transport")


def test_ranks_that_all_lost_each_other_tell_of_no_failure() -> None:
    def train(job: Mapping[str, Any], rank: int, end: WireEnd) -> Iterator[Any]:
        yield measured(0)
        raise RuntimeError(STUCK)

    crew = together(train, "a", "b")
    assert not crew.of("a")
    assert [str(error) for error in crew.left] == [f"RuntimeError: {STUCK}"] * WORLD


@pytest.mark.parametrize("culprits", [(0, 1), (1,)])
def test_data_that_one_rank_lacks_are_no_fault_of_the_trial(culprits: tuple[int, ...]) -> None:
    def train(job: Mapping[str, Any], rank: int, end: WireEnd) -> Iterator[Any]:
        if rank in culprits:
            raise CannotTrain(f"rank {rank} has no data")
        end.all_reduce()
        yield FINISHED

    class Patient(OneByOne):
        """Stops once the group has refused and asked once more: it keeps its place."""

        asked = 0

        def ask(self, crew: str, facts: Mapping[str, Any]) -> Mapping[str, Any]:
            self.asked += bool(self._refused)
            if self.asked > 2:
                self.stop()
            return super(OneByOne, self).ask(crew, facts)

    desk = Patient()
    crew = together(train, "a", desk=desk)
    assert desk.asked >= 3
    refused = [message for message in crew.told if message["kind"] == "refused"]
    assert [message["reason"] for message in refused] == [f"rank {culprits[0]} has no data"]
    assert not crew.of("a")
    assert [type(error) for error in crew.left] == [GroupBroken if len(culprits) == 1 else type(None)] * WORLD


@pytest.mark.parametrize("alone", [True, False])
def test_a_rank_that_runs_out_of_memory_asks_for_less_on_all(alone: bool) -> None:
    limits: list[dict[str, int]] = []

    def train(job: Mapping[str, Any], rank: int, end: WireEnd) -> Iterator[Any]:
        limits.append(job["micro_batch_at_most"])
        if rank or not alone:
            raise DoesNotFit("8 are too many", micro_batch_at_most=4)
        end.all_reduce()
        yield FINISHED

    crew = together(train, "a")
    (told,) = [message for message in crew.of("a") if message["kind"] != "lost"]
    assert (told["kind"], told["micro_batch_at_most"], told["reason"]) == ("too_large", 4, "8 are too many")
    assert limits == [{"old": 16, "older": 16}] * WORLD  # the smallest known of what the ranks run on
    assert [type(error) for error in crew.left] == [GroupBroken if alone else type(None)] * WORLD


def test_of_several_errors_the_one_that_asks_for_most_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    caught: list[Exception] = []

    def train(job: Mapping[str, Any], rank: int, end: WireEnd) -> Iterator[Any]:
        if rank:
            raise DoesNotFit("8 are too many", micro_batch_at_most=4)
        raise ValueError("follows from it")
        yield

    monkeypatch.setattr(TeamDesk, "_agree", keep_errors(TeamDesk._agree, caught))
    together(train, "a")
    assert [getattr(error, "micro_batch_at_most", None) for error in caught] == [4, 4]


def keep_errors(agree: Any, caught: list[Exception]) -> Any:
    def kept(self: Any, own: Any) -> None:
        try:
            agree(self, own)
        except Exception as error:
            caught.append(error)
            raise

    return kept


class Deaf(OneByOne):
    """Says stop at the first word of how a trial goes on."""

    def advance(self, crew: str, job: Any, step: int, *more: Any) -> bool:
        super().advance(crew, job, step, *more)
        self.stop()
        return False


def test_all_ranks_stop_together_at_the_next_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew_module, "TELL_SECONDS", 0.0)
    taken: list[tuple[int, int]] = []

    def train(job: Mapping[str, Any], rank: int, end: WireEnd) -> Iterator[Any]:
        yield Progress(step=1, examples=4, train_seconds=0.1)
        for step in range(2, 6):
            end.all_reduce()
            taken.append((rank, step))
            yield measured(step)
        yield FINISHED

    crew = together(train, "a", desk=Deaf())
    assert sorted(taken) == [(0, 2), (1, 2)]
    assert [message["kind"] for message in crew.of("a")] == ["advanced"]
    assert crew.left == [None, None]


def test_where_no_evaluation_comes_worker_0_leaves_and_the_group_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew_module, "TELL_SECONDS", 0.0)
    monkeypatch.setattr(team_desk, "STOP_SECONDS", 0.0)

    def train(job: Mapping[str, Any], rank: int, end: WireEnd) -> Iterator[Any]:
        for step in range(1, 10**6):
            end.all_reduce()
            yield Progress(step=step, examples=4, train_seconds=0.1)

    crew = together(train, "a", desk=Deaf())
    assert all(isinstance(error, GroupBroken) for error in crew.left)
    assert [message["kind"] for message in crew.of("a")] == ["advanced"]


@pytest.mark.parametrize(("own", "said"), [(True, ""), (False, "does not see file:///gone")])
def test_checkpoints_that_one_worker_can_not_see_are_kept_by_none(
    own: bool, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("study.training.sees", lambda checkpoints: own)
    monkeypatch.setattr("trainers.agreement.all_say", lambda yes: False)
    training, job = Training(), {"checkpoints": {"url": "file:///gone"}, "trial_id": "a", "workload": "bowl"}
    for _ in range(2):
        keeper, note = training._keeper(job)
        assert keeper is None
        assert said in note if said else note == ""
