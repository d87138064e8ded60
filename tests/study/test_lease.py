"""One writer where there are no locks: by simulated processes that sleep at any moment, and by real ones."""

from __future__ import annotations

import dataclasses
import json
import os
import select
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from results import Storage, open_storage
from study.claim import Claim
from study.errors import ConfigError
from study.lease import CLAIMS, Lease, LeaseTimes

from .simulated import Simulation, SlowStorage, Turn

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(params=["folder", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return open_storage(tmp_path if request.param == "folder" else f"memory://{uuid.uuid4().hex}")


class World:
    """One process of ours, and claims of others whose fate the test decides while ours sleeps."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.now = 0.0
        self.slept: list[float] = []
        self.said: list[str] = []
        self.renewing: list[Lease] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        until = self.now + seconds
        while self.now < until:
            step = min(10.0 - self.now % 10.0, until - self.now)
            self.now += step
            if self.now % 10.0 == 0:
                for lease in self.renewing:
                    lease.renew(self.storage)

    def lease(self, **claim: Any) -> Lease:
        lease = Lease(self.storage, say=self.said.append, sleep=self.sleep, clock=lambda: self.now)
        lease._claim = dataclasses.replace(lease._claim, **claim)
        return lease

    def elsewhere(self, pid: int = 4711) -> Lease:
        """A lease of a process on another machine."""
        return self.lease(machine="another", host="node-3", pid=pid)


@pytest.fixture
def world(storage: Storage) -> World:
    return World(storage)


def test_the_first_holds_and_the_second_learns_who(world: World) -> None:
    first, second = world.elsewhere(), world.lease()
    first.acquire()
    world.renewing.append(first)
    with pytest.raises(ConfigError) as refused:
        second.acquire()
    assert f"{world.storage}: one run at a time may write there, but process 4711 on node-3 does" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert 10 <= world.now <= 12  # one renewal was seen
    assert world.said == [
        f"{world.storage}: process 4711 on node-3 was writing there; waiting up to 45 s to see whether it still does"
    ]
    first.check()
    assert world.storage.names(CLAIMS) == [first._name]  # the refused one leaves nothing behind


def test_an_abandoned_claim_is_taken_over_and_its_holder_stops_when_it_wakes(world: World) -> None:
    first, second = world.elsewhere(), world.elsewhere(pid=5)
    first.acquire()
    second.acquire()
    assert 45 <= world.now <= 50
    second.check()
    with pytest.raises(OSError, match="process 5 on node-3 took over") as stopped:
        first.check()
    assert stopped.value.filename == world.storage.url
    with pytest.raises(OSError, match="took over"):
        first.check()  # for good
    second.check()
    assert world.storage.names(CLAIMS) == [second._name]


def test_a_claim_written_again_by_a_holder_that_woke_up_gives_it_nothing(world: World) -> None:
    """Its renewal was under way when it fell asleep, and arrived after another had taken over."""
    first, second = world.elsewhere(), world.elsewhere(pid=5)
    first.acquire()
    world.now = 9.0
    data = dataclasses.replace(first._claim, count=1).to_bytes()
    second.acquire()
    world.storage.write(f"{CLAIMS}/{first._name}", data)
    with pytest.raises(OSError, match="process 5 on node-3 took over"):
        first.check()
    second.renew(world.storage)
    second.check()
    assert world.storage.names(CLAIMS) == [second._name]


def test_a_claim_that_was_taken_away_before_it_was_seen_is_asked_for_again(world: World) -> None:
    """By one that took it for abandoned, and that is gone itself since."""
    lease = world.lease()
    read = lease._read_claims
    listings: list[int] = []

    def lose_the_first(storage: Storage) -> dict[str, bytes]:
        listings.append(1)
        if len(listings) == 1:
            storage.remove(f"{CLAIMS}/{lease._name}")
        return read(storage)

    lease._read_claims = lose_the_first  # type: ignore[method-assign]
    lease.acquire()
    assert len(listings) == 2
    assert world.storage.names(CLAIMS) == [lease._name]


def test_a_holder_that_is_awake_never_yields_to_one_that_asks(world: World) -> None:
    first, second = world.elsewhere(), world.elsewhere(pid=5)
    first.acquire()
    second._write(second._claim, world.storage)
    for _ in range(5):
        world.now += 10
        first.renew(world.storage)
        first.check()


def test_a_process_of_this_machine_that_lives_is_refused_at_once(world: World) -> None:
    world.lease().acquire()
    with pytest.raises(ConfigError, match=f"process {os.getpid()} on"):
        world.lease().acquire()
    assert world.slept == []


@pytest.mark.parametrize("change", [{"pid": 2**22 + 1}, {"started": 1}])
def test_a_process_of_this_machine_that_is_gone_holds_nothing(change: dict[str, int], world: World) -> None:
    """Gone, or its number given to another process since."""
    world.lease(**change).acquire()
    lease = world.lease()
    lease.acquire()
    assert sum(world.slept) <= 1
    assert world.storage.names(CLAIMS) == [lease._name]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x04K\x01.",
        b"[]",
        b"{}",
        b'{"host": "h", "pid": "\\u001b[2J", "machine": "m", "started": 1, "holds": true, "count": 0, "replaces": []}',
        b'{"host": "h", "pid": 1, "machine": "m", "started": 1, "holds": true, "count": 0, "replaces": [[]]}',
        b'{"host": "h", "pid": 1, "machine": "m", "started": 1, "holds": true, "count": 0, "replaces": [], "x": 1}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_claim_is_waited_for_like_one(data: bytes, world: World) -> None:
    assert Claim.parse(data) is None
    world.storage.write(f"{CLAIMS}/{'0' * 32}.json", data)
    lease = world.lease()
    lease.acquire()
    assert 45 <= world.now <= 50
    assert world.storage.names(CLAIMS) == [lease._name]


def test_a_claim_reads_back_as_it_was() -> None:
    claim = dataclasses.replace(Claim.of_this_process(), count=7, replaces=("a.json", "b.json"))
    assert Claim.parse(claim.to_bytes()) == claim
    assert claim.process_lives() is (True if claim.machine else None)
    assert set(json.loads(claim.to_bytes())) == {field.name for field in dataclasses.fields(Claim)}


def test_nothing_is_left_when_the_block_ends(storage: Storage) -> None:
    for _ in range(2):
        with Lease(storage).held() as lease:
            lease.check()
            assert storage.names(CLAIMS) == [lease._name]
        assert storage.names(CLAIMS) == []


def test_the_claim_is_renewed_while_the_block_lasts(storage: Storage) -> None:
    renewed = threading.Event()
    lease = Lease(storage, times=LeaseTimes(renewal=0.01))
    write = lease._write

    def watch(claim: Claim, where: Storage) -> None:
        write(claim, where)
        if claim.count >= 3:
            renewed.set()

    lease._write = watch  # type: ignore[method-assign]
    with lease.held():
        assert renewed.wait(30)


def test_two_processes_never_both_believe_that_they_hold() -> None:
    """Processes that fall asleep at any moment, for longer than a claim lasts, on a storage that is slow at times."""
    handed_over = sum(simulate_writers(seed) for seed in range(15))
    assert handed_over > 15


def simulate_writers(seed: int) -> int:
    """Return how often one process wrote after another did."""
    simulation = Simulation(seed)
    inner = open_storage(f"memory://{uuid.uuid4().hex}")
    leases: dict[Turn, Lease] = {}
    writers: list[str] = []

    def delay() -> float:
        return simulation.random.choice([0.01] * 30 + [1.0, 5.0, 15.0, 40.0, 60.0, 100.0])

    def process(turn: Turn) -> None:
        storage = SlowStorage(inner, turn, delay)
        while True:
            turn.wait(simulation.random.uniform(0, 60))
            lease = Lease(storage, sleep=turn.wait, clock=simulation.clock)
            lease._claim = dataclasses.replace(lease._claim, machine=f"machine {id(turn)}", pid=len(leases))
            with suppress(ConfigError):
                lease.acquire()
                leases[turn] = lease
                with suppress(OSError):
                    for _ in range(simulation.random.randrange(1, 12)):
                        turn.wait(10.0)
                        lease.renew(storage)
                        lease.check()
                        writers.append(f"{id(turn)}")
                del leases[turn]
                lease._withdraw()

    def at_most_one_believes() -> None:
        believing = [
            lease
            for lease in leases.values()
            if lease._taken_over_by is None and simulation.now - lease._renewed <= lease._times.trust
        ]
        assert len(believing) <= 1

    for _ in range(4):
        simulation.add(process)
    simulation.run(until=3000.0, after_each=at_most_one_believes)
    return sum(before != after for before, after in pairwise(writers))


HOLD = """
import sys
from results import open_storage
from study import claim
from study.lease import Lease, LeaseTimes
if sys.argv[2] != "here":
    claim._machine = lambda: sys.argv[2]
times = LeaseTimes(renewal=0.1, trust=0.3, abandonment=1.0, polling=0.05, longest_pause=0.02)
for _ in sys.stdin:
    try:
        with Lease(open_storage(sys.argv[1]), times=times).held() as lease:
            print("held", flush=True)
            sys.stdin.readline()
            try:
                lease.check()
                print("still", flush=True)
            except OSError as error:
                print("stopped", error.strerror, flush=True)
    except ValueError as error:
        print("refused", error, flush=True)
        sys.stdin.readline()
        print("none", flush=True)
"""


class Process:
    """Another process that takes the lease when it is told to, and says what came of it."""

    def __init__(self, folder: Path, machine: str = "here") -> None:
        command = [sys.executable, "-c", HOLD, str(folder), machine]
        pipe = subprocess.PIPE
        self.popen = subprocess.Popen(command, cwd=REPOSITORY, stdin=pipe, stdout=pipe, text=True)

    def tell(self) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write("\n")
        self.popen.stdin.flush()

    def hear(self) -> str:
        assert self.popen.stdout is not None
        ready, _, _ = select.select([self.popen.stdout], [], [], 120)
        assert ready
        return self.popen.stdout.readline().strip()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Any]:
    made: list[Process] = []

    def make(machine: str = "here") -> Process:
        made.append(Process(tmp_path, machine))
        return made[-1]

    yield make
    for process in made:
        process.popen.kill()
        process.popen.communicate()


@pytest.mark.parametrize("machines", [("here", "here"), ("one", "two")])
def test_of_two_processes_that_ask_at_the_same_time_one_holds(machines: tuple[str, str], processes: Any) -> None:
    both = [processes(machine) for machine in machines]
    winners = 0
    for _ in range(30):
        for process in both:
            process.tell()
        answers = [process.hear() for process in both]
        assert sum(answer == "held" for answer in answers) <= 1, answers
        winners += "held" in answers
        for process in both:
            process.tell()
        assert [process.hear() for process in both] == ["still" if a == "held" else "none" for a in answers]
    assert winners == 30  # both step back at times, but not for good


def test_a_stopped_process_is_succeeded_and_stops_when_it_wakes(processes: Any, tmp_path: Path) -> None:
    first, second = processes("one"), processes("two")
    first.tell()
    assert first.hear() == "held"
    first.popen.send_signal(signal.SIGSTOP)
    second.tell()
    assert second.hear() == "held"
    first.popen.send_signal(signal.SIGCONT)
    first.tell()
    assert first.hear() == f"stopped process {second.popen.pid} on {os.uname().nodename} took over while this one " + (
        "was away; this one stops, its rows are kept"
    )
    second.tell()
    assert second.hear() == "still"


def test_a_killed_process_is_succeeded_at_once_on_its_own_machine(processes: Any, tmp_path: Path) -> None:
    first, second = processes(), processes()
    first.tell()
    assert first.hear() == "held"
    first.popen.kill()
    first.popen.wait()
    assert len(list((tmp_path / CLAIMS).iterdir())) == 1
    second.tell()
    assert second.hear() == "held"
