"""The process of a script's trial: started with the trial's values, and ended with all that it started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from . import guard
from .reporting import REPORT_FILE
from .script import Script
from .settings import TrainSettings

_QUOTED_CHARACTERS = 200
_PLACE = frozenset(["RANK", "LOCAL_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"])
"""Variables that give a process its place among others. Those of the study's worker are not the script's, which is
alone or has a launcher that sets them."""


class ScriptProcess:
    """A running script, the lines that it reports, and how it ended."""

    def __init__(self, script: Script, settings: TrainSettings, folder: Path) -> None:
        """Start it in its own folder; its report and output lie in ``folder``."""
        self._report, self._output = folder / "report", folder / "output"
        self._report.touch()
        self._started = time.perf_counter()
        environment = {name: value for name, value in os.environ.items() if name not in _PLACE}
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-IS", guard.__file__, *script.command(sys.executable, settings)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=os.path.dirname(script.path),
                env={**environment, REPORT_FILE: str(self._report)},
            )
        self._read_bytes = 0
        self._rest = b""

    @classmethod
    @contextlib.contextmanager
    def begun(cls, script: Script, settings: TrainSettings) -> Iterator[ScriptProcess]:
        """Start the script; at the end of the block it has ended, by itself or not."""
        with tempfile.TemporaryDirectory(prefix="batchlaw-") as folder:
            process = cls(script, settings, Path(folder))
            try:
                yield process
            finally:
                process.stop()

    def stop(self) -> None:
        """End the script, if it is running."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.perf_counter() - self._started

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def wait(self, seconds: float) -> None:
        """Return after ``seconds``, or when the script has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)

    def new_lines(self) -> list[bytes]:
        """Return the lines that were reported since the last call."""
        with self._report.open("rb") as file:
            file.seek(self._read_bytes)
            new = file.read()
        self._read_bytes += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        return lines

    def complaint(self) -> str:
        """Return how a script that ended badly did so and its last words; nothing for another, or one that runs on."""
        code = self._process.returncode
        if not code:
            return ""
        killed = code - 128 in signal.valid_signals()
        return f"{f'killed by signal {code - 128}' if killed else f'exit status {code}'}: {self._last_words()}"

    def _last_words(self) -> str:
        lines = self._output.read_bytes().decode("utf-8", errors="replace").splitlines()
        said = [line.strip() for line in lines if line.strip()]
        return "".join(c if c.isprintable() else " " for c in said[-1])[:_QUOTED_CHARACTERS] if said else "no output"
