"""One writer at a time in a place that has no locks: a claim that its holder renews, and others judge by that alone.

Whoever wants to write puts a claim of its own there and then lists all claims. Of two that ask at a time, the one that
lists later sees the other's, whatever the order, so that both may step back but never both go on. A claim that nobody
has renewed for a while is abandoned; that is told by its bytes and one's own clock, never by a time that somebody
wrote, so clocks may differ and jump.

A process that sleeps at the very moment between its look at the claim and its write can still write one file after
another took over. Files are whole and named by what they hold, so that leaves a row twice at worst, which is read once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping

from results import Storage

from .claim import Claim
from .errors import ConfigError

CLAIMS = ".lease"


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeaseTimes:
    """How often a claim is renewed, and what follows where it isn't, in seconds."""

    renewal: float = 10.0
    trust: float = 20.0
    """So long after its renewal a claim is believed to stand without looking."""
    abandonment: float = 45.0
    """A claim that stays as it is for so long is abandoned."""
    polling: float = 2.0
    longest_pause: float = 1.0
    """Between two attempts, where several ask at a time; drawn at random up to this."""
    attempts: int = 8


class Lease:
    """The right to write to ``storage``."""

    def __init__(
        self,
        storage: Storage,
        *,
        times: LeaseTimes | None = None,
        say: Callable[[str], None] = lambda _: None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Ask for nothing yet; ``say`` is told what is waited for."""
        self._storage = storage
        self._times = times or LeaseTimes()
        self._say = say
        self._sleep = sleep
        self._clock = clock
        self._name = f"{uuid.uuid4().hex}.json"
        self._claim = Claim.of_this_process()
        self._renewed = clock()
        self._taken_over_by: str | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()

    @contextlib.contextmanager
    def held(self) -> Iterator[Lease]:
        """Hold the lease until the block ends.

        Raises:
            ConfigError: another process holds it.
            OSError: the storage refused.
        """
        self.acquire()
        renewing = threading.Thread(target=self._renew_on, name="batchlaw-lease", daemon=True)
        renewing.start()
        try:
            yield self
        finally:
            self._stop.set()
            renewing.join(timeout=self._times.renewal)
            self._withdraw()

    def check(self) -> None:
        """Return if this process may still write; the longest that a claim is not looked at is ``times.trust``.

        Raises:
            OSError: another process took over, as it does where this one slept or was cut off for long.
        """
        if self._clock() - self._renewed > self._times.trust:
            self.renew(self._storage)
        if self._taken_over_by is not None:
            said = f"{self._taken_over_by} took over while this one was away; this one stops, its rows are kept"
            raise OSError(errno.EBUSY, said, self._storage.url)

    def renew(self, storage: Storage) -> None:
        """Renew the claim, unless it was taken over."""
        with self._lock:
            if self._taken_over_by is not None:
                return
            found = self._read_claims(storage)
            was_away = self._clock() - self._renewed > self._times.trust
            for claim in (Claim.parse(data) for name, data in found.items() if name != self._name):
                if claim is not None and claim.holds and (self._name in claim.replaces or was_away):
                    self._taken_over_by = str(claim)
            if self._name not in found and self._taken_over_by is None:
                self._taken_over_by = "another process"
            if self._taken_over_by is not None:
                storage.remove(f"{CLAIMS}/{self._name}")
                return
            if not self._stop.is_set():
                self._write(dataclasses.replace(self._claim, count=self._claim.count + 1), storage)

    def _renew_on(self) -> None:
        storage = self._storage.without_patience()
        while not self._stop.wait(self._times.renewal) and self._taken_over_by is None:
            # A storage that is out of order now is asked again; whether that took too long is told by ``check``.
            with contextlib.suppress(OSError):
                self.renew(storage)

    def acquire(self) -> None:
        """Take the lease; ``held`` says what is raised."""
        seen: dict[str, bytes] = {}
        others: dict[str, bytes] = {}
        for _ in range(self._times.attempts):
            try:
                others = self._ask(tuple(seen))
                if self._claim.holds:
                    return
            finally:
                if not self._claim.holds:
                    self._withdraw()  # so that nobody waits for a claim that only waits itself
            seen |= others
            self._outlast(others)
            self._sleep(random.uniform(0.0, self._times.longest_pause))
        raise self._refusal(*others.values())

    def _ask(self, replaces: tuple[str, ...]) -> dict[str, bytes]:
        """Hold the lease if no other claim stands, and else return those that do."""
        asked = self._clock()
        self._write(dataclasses.replace(self._claim, replaces=replaces), self._storage)
        others = self._read_claims(self._storage)
        own = others.pop(self._name, None)
        if not others and own is not None:
            self._write(dataclasses.replace(self._claim, holds=True), self._storage)
        if self._clock() - asked > self._times.trust:
            # This process slept so long that others may have taken its claim away and gone on.
            self._claim = dataclasses.replace(self._claim, holds=False)
        return others

    def _outlast(self, others: Mapping[str, bytes]) -> None:
        """Return once none of these claims stands any more, taking the abandoned ones away.

        Raises:
            ConfigError: the holder of one lives.
        """
        since = dict.fromkeys(others, self._clock())
        known = dict(others)
        told = False
        while known:
            for name, data in list(known.items()):
                claim = Claim.parse(data)
                lives = None if claim is None else claim.process_lives()
                if lives and claim is not None and claim.holds:
                    raise self._refusal(data)
                if lives is False or self._clock() - since[name] >= self._times.abandonment:
                    self._storage.remove(f"{CLAIMS}/{name}")
                    del known[name]
            if not known:
                return
            if not told and any(claim is None or claim.holds for claim in map(Claim.parse, known.values())):
                told = True
                self._say(
                    f"{self._storage}: {self._words(*known.values())} was writing there; waiting up to "
                    f"{self._times.abandonment:.0f} s to see whether it still does"
                )
            asked = self._clock()
            self._sleep(self._times.polling)
            found = self._read_claims(self._storage)
            for name, data in list(known.items()):
                if name not in found:
                    del known[name]
                elif found[name] != data:
                    claim = Claim.parse(found[name])
                    if claim is None or claim.holds:
                        raise self._refusal(found[name])
                    known[name], since[name] = found[name], self._clock()
                elif self._clock() - asked > self._times.polling + self._times.renewal:
                    since[name] = self._clock()  # the storage was out of order, for the holder as well

    def _refusal(self, *claims: bytes) -> ConfigError:
        return ConfigError(
            f"{self._storage}: one run at a time may write there, but {self._words(*claims)} does; wait for it, or "
            "give another folder with --out"
        )

    @staticmethod
    def _words(*claims: bytes) -> str:
        known = [claim for claim in map(Claim.parse, claims) if claim is not None]
        holding = [claim for claim in known if claim.holds]
        return str((holding or known)[0]) if known else "another process"

    @staticmethod
    def _read_claims(storage: Storage) -> dict[str, bytes]:
        """Return the claims that stand, by name; one that goes while it is read stands no more."""
        names = [name for name in storage.names(CLAIMS) if name.endswith(".json")]
        found = zip(names, storage.read_each(f"{CLAIMS}/{name}" for name in names), strict=True)
        return {
            name: b"" if isinstance(data, OSError) else data
            for name, data in found
            if not isinstance(data, FileNotFoundError)
        }

    def _write(self, claim: Claim, storage: Storage) -> None:
        began = self._clock()  # a claim is as old as the asking for its renewal
        storage.write(f"{CLAIMS}/{self._name}", claim.to_bytes())
        self._claim, self._renewed = claim, began

    def _withdraw(self) -> None:
        with contextlib.suppress(OSError):
            self._storage.without_patience().remove(f"{CLAIMS}/{self._name}")
