"""What a run writes down of itself where it writes results, and whether it still runs."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
from pathlib import Path

_LONGEST_HOST = 255


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim:
    """A process that wants to be, or is, the one that writes. Read from files, so nothing in it is believed blindly."""

    host: str
    pid: int
    machine: str
    """One boot of one machine, and the pid's namespace in it; empty where that can't be told."""
    started: int
    """When the process started, in ticks since boot: a pid may be given again, but not with the same start."""
    holds: bool
    """False while it only asks."""
    count: int = 0
    """Grows with every renewal."""
    replaces: tuple[str, ...] = ()
    """Names of claims that were there before, and that it found abandoned or gone."""

    @classmethod
    def of_this_process(cls) -> Claim:
        """Return a claim that asks."""
        return cls(
            host=socket.gethostname(), pid=os.getpid(), machine=_machine(), started=_started(os.getpid()), holds=False
        )

    @classmethod
    def parse(cls, data: bytes) -> Claim | None:
        """Return what ``to_bytes`` was made of; None for anything else."""
        try:
            values = json.loads(data)
            claim = cls(**{**values, "replaces": tuple(values["replaces"])})
        except (ValueError, TypeError, KeyError, RecursionError):
            return None
        types = {"host": str, "pid": int, "machine": str, "started": int, "holds": bool, "count": int}
        fit = all(type(getattr(claim, name)) is kind for name, kind in types.items())
        named = all(isinstance(name, str) for name in claim.replaces)
        return claim if fit and named and len(claim.host) <= _LONGEST_HOST else None

    def to_bytes(self) -> bytes:
        """Return the claim as JSON."""
        return json.dumps(dataclasses.asdict(self)).encode()

    def process_lives(self) -> bool | None:
        """Return whether its process runs; None where that can't be seen from here."""
        if not self.machine or self.machine != _machine():
            return None
        return self.started == _started(self.pid)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""  # no Linux


def _started(pid: int) -> int:
    """Return the start of a process in ticks since boot; -1 where there is no such process."""
    try:
        # The second field is the program's name in brackets, which may hold anything.
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return -1
