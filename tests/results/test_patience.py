"""How trouble is waited out, with a clock of the test's own."""

from __future__ import annotations

import errno
import os

import pytest

from results.patience import NO_PATIENCE, Patience, is_lasting


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def __call__(self) -> float:
        return self.now


def failing(times: int, error: OSError) -> tuple[list[int], object]:
    calls: list[int] = []

    def act() -> str:
        calls.append(1)
        if len(calls) <= times:
            raise error
        return "done"

    return calls, act


def test_pauses_double_up_to_the_longest() -> None:
    clock = Clock()
    _, act = failing(9, OSError("cut"))
    assert Patience().persist(act, sleep=clock.sleep, clock=clock) == "done"  # type: ignore[arg-type]
    assert clock.pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_each_pause_is_told_before_it_begins() -> None:
    clock = Clock()
    told: list[tuple[str, float, float]] = []
    _, act = failing(3, OSError("cut"))
    Patience().persist(
        act,  # type: ignore[arg-type]
        waiting=lambda error, seconds: told.append((str(error), seconds, clock.now)),
        sleep=clock.sleep,
        clock=clock,
    )
    assert told == [("cut", 0.5, 0.0), ("cut", 1.0, 0.5), ("cut", 2.0, 1.5)]


def test_after_the_total_the_last_failure_is_raised() -> None:
    clock = Clock()
    calls, act = failing(10_000, OSError("cut"))
    with pytest.raises(OSError, match="cut"):
        Patience().persist(act, sleep=clock.sleep, clock=clock)  # type: ignore[arg-type]
    assert clock.now == 600.0
    assert sum(clock.pauses) == 600.0
    assert len(calls) == len(clock.pauses) + 1


def test_without_patience_one_failure_is_enough() -> None:
    clock = Clock()
    calls, act = failing(1, OSError("cut"))
    with pytest.raises(OSError, match="cut"):
        NO_PATIENCE.persist(act, sleep=clock.sleep, clock=clock)  # type: ignore[arg-type]
    assert (len(calls), clock.pauses) == (1, [])


LASTING = [
    *(OSError(n, os.strerror(n)) for n in (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.ENOENT)),
    PermissionError("no"),
    FileNotFoundError("no"),
    OSError("AWS Error ACCESS_DENIED during PutObject operation"),
    OSError("AWS Error UNKNOWN (HTTP status 403) during HeadObject operation"),
    OSError("AWS Error NO_SUCH_BUCKET during ListObjectsV2 operation"),
]
PASSING = [
    *(OSError(n, os.strerror(n)) for n in (errno.EIO, errno.ECONNRESET, errno.ETIMEDOUT, errno.EPIPE)),
    ConnectionResetError("cut"),
    TimeoutError("slow"),
    OSError("AWS Error NETWORK_CONNECTION during PutObject operation: curlCode: 56"),
    OSError("AWS Error UNKNOWN (HTTP status 503) during HeadObject operation"),
    OSError("AWS Error SLOW_DOWN during PutObject operation"),
    OSError("google::cloud::Status(UNAVAILABLE: Retry policy exhausted"),
]


@pytest.mark.parametrize("error", LASTING, ids=str)
def test_trouble_that_lasts_is_raised_at_once(error: OSError) -> None:
    clock = Clock()
    calls, act = failing(1, error)
    assert is_lasting(error)
    with pytest.raises(type(error)):
        Patience().persist(act, sleep=clock.sleep, clock=clock)  # type: ignore[arg-type]
    assert len(calls) == 1


@pytest.mark.parametrize("error", PASSING, ids=str)
def test_trouble_that_passes_is_tried_again(error: OSError) -> None:
    clock = Clock()
    _, act = failing(1, error)
    assert not is_lasting(error)
    assert Patience().persist(act, sleep=clock.sleep, clock=clock) == "done"  # type: ignore[arg-type]
