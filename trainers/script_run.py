"""One trial of a script: its process, what it reports, and what its end means."""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from . import guard
from .engine import hardware_name
from .events import Finished, Measured, Progress
from .reporting import REPORT_FILE
from .run_watch import Crossing
from .script import Script
from .settings import TrainSettings
from .workload import Target

_LOOK_SECONDS = 0.1
_PROGRESS_SECONDS = 1.0
_QUOTED_CHARACTERS = 200


class _Failed(Exception):
    """Why a trial failed, in one line."""


def run_script(script: Script, settings: TrainSettings) -> Iterator[Progress | Measured | Finished]:
    """Run ``script`` as one trial and yield what happens, as ``trainers.loop.train`` does.

    The script runs in its own folder. It is stopped at the target (where the budget says so), at its first report
    beyond the budget's last step, when it diverges, and when this generator is closed. The first report of the last
    step or of one beyond is the last that counts. What the script prints is dropped but for the last line of a failure.

    Every time is that of the clock on the wall from the script's start, its imports and evaluations included: they
    can't be told apart from outside.

    Args:
        script: What to run.
        settings: The trial. Its optimiser, schedule and engine are the script's affair.

    Raises:
        SettingsError: The settings ask for probes.
    """
    if settings.probes:
        script._refuse()
    target = settings.target or script.target
    with _Run.begun(script, settings) as run:
        yield from run.events(target)


class _Run:
    """A script's process and the files it writes."""

    def __init__(self, script: Script, settings: TrainSettings, folder: Path) -> None:
        self._script, self._settings = script, settings
        self._report, self._output = folder / "report", folder / "output"
        self._report.touch()
        self._started = time.perf_counter()
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-IS", guard.__file__, *script.command(sys.executable, settings)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=os.path.dirname(script.path),
                env={**os.environ, REPORT_FILE: str(self._report)},
            )
        self._read_bytes = 0
        self._rest = b""
        self.step = -1

    @classmethod
    @contextlib.contextmanager
    def begun(cls, script: Script, settings: TrainSettings) -> Iterator[_Run]:
        """Start the script; at the end of the block it has ended, by itself or not."""
        with tempfile.TemporaryDirectory(prefix="batchlaw-") as folder:
            run = cls(script, settings, Path(folder))
            try:
                yield run
            finally:
                run.stop()

    def stop(self) -> None:
        """End the script, if it is running."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.perf_counter() - self._started

    def events(self, target: Target) -> Iterator[Progress | Measured | Finished]:
        """Yield what the script reports, and the end of the trial."""
        crossing = Crossing(target)
        status, message, value, last_seconds = "exhausted", "", math.nan, 0.0
        try:
            for measured in self._reports():
                if measured is None:
                    yield self._progress()
                    continue
                yield measured
                last_seconds = measured.train_seconds
                status, message, value = self._judge(measured, target, crossing, value)
                if status in ("diverged", "failed") or (status == "reached" and self._settings.budget.stop_at_target):
                    break
            else:
                self._check_end(target, value)
        except _Failed as failure:
            status, message, value = "failed", f"{self._script.name}: {failure}", math.nan
        self.stop()
        yield self._finished(status, message, value, crossing, seconds=last_seconds)

    def _judge(self, measured: Measured, target: Target, crossing: Crossing, value: float) -> tuple[str, str, float]:
        """Return status and message after a report, and the target's metric."""
        if target.metric not in measured.values:
            return ("exhausted" if crossing.steps is None else "reached"), "", value
        value = measured.values[target.metric]
        limit = self._script.settings.loss_limit
        if not math.isfinite(value) or (limit is not None and value > limit):
            beyond = "" if not math.isfinite(value) else f", above the limit {limit:g},"
            return "diverged", f"{target.metric} is {value:.4g}{beyond} after {measured.step} steps", math.nan
        if measured.step == 0 and target.met_by(value):
            why = f"the target {target.value:g} is met before training ({value:.4g}); set a harder one"
            return "failed", why, value
        crossing.see(measured.step, value)
        return ("exhausted" if crossing.steps is None else "reached"), "", value

    def _reports(self) -> Iterator[Measured | None]:
        """Yield each report in its order, up to the budget's last step, and None about once a second between them.

        Raises:
            _Failed: A line can't be read, the script ended badly, or it took too long.
        """
        pause = time.perf_counter() + _PROGRESS_SECONDS
        while True:
            ended = self._process.poll() is not None  # before reading, so that nothing is missed
            for line in self._new_lines():
                if self.step >= self._settings.total_steps:
                    return
                yield self._measured(line)
                if self.step > self._settings.total_steps:
                    return
            if ended:
                self._check_exit()
                return
            self._check_time()
            if time.perf_counter() > pause:
                pause = time.perf_counter() + _PROGRESS_SECONDS
                yield None
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_LOOK_SECONDS)

    def _new_lines(self) -> list[bytes]:
        with self._report.open("rb") as file:
            file.seek(self._read_bytes)
            new = file.read()
        self._read_bytes += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        return lines

    def _measured(self, line: bytes) -> Measured:
        try:
            report = json.loads(line)
            step = int(report["step"])
            values = {str(name): float(value) for name, value in report["metrics"].items()}
        except (ValueError, TypeError, KeyError, AttributeError):
            raise _Failed(f"a report must be one of batchlaw_report, but is {line[:80]!r}") from None
        if step <= self.step:
            raise _Failed(f"each report must be of a later step, but {step} comes after {self.step}")
        self.step = step
        return Measured(step=step, examples=step * self._settings.batch_size, train_seconds=self.seconds, values=values)

    def _check_time(self) -> None:
        most = self._script.settings.timeout_seconds
        if most is not None and self.seconds > most:
            raise _Failed(f"stopped after {most:g} s (timeout_seconds) at step {max(self.step, 0)}")

    def _check_exit(self) -> None:
        code = self._process.returncode
        if code:
            how = f"killed by signal {code - 128}" if code > 128 else f"exit status {code}"
            raise _Failed(f"{how}: {self._last_words()}")

    def _check_end(self, target: Target, value: float) -> None:
        """Raise _Failed where a run without complaint has not done what it had to."""
        if self.step < 0:
            raise _Failed("reported nothing; call batchlaw_report(step=…, …) of trainers.reporting")
        if math.isnan(value):
            raise _Failed(f"never reported {target.metric}; call batchlaw_report(step=…, {target.metric}=…)")
        if self.step < self._settings.total_steps:
            raise _Failed(
                f"ended at step {self.step} of {self._settings.total_steps}; report the last step, or set the budget "
                "to what the script does"
            )

    def _last_words(self) -> str:
        lines = self._output.read_bytes().decode("utf-8", errors="replace").splitlines()
        said = [line.strip() for line in lines if line.strip()]
        return "".join(c if c.isprintable() else " " for c in said[-1])[:_QUOTED_CHARACTERS] if said else "no output"

    def _progress(self) -> Progress:
        step = max(self.step, 0)
        return Progress(step=step, examples=step * self._settings.batch_size, train_seconds=self.seconds)

    def _finished(self, status: str, message: str, value: float, crossing: Crossing, *, seconds: float) -> Finished:
        step, plan = max(self.step, 0), self._settings.plan()
        return Finished(
            status=status,
            message=message,
            steps=step,
            examples=step * self._settings.batch_size,
            steps_to_target=crossing.steps if status == "reached" else None,
            value=value,
            train_seconds=seconds,
            evaluate_seconds=0.0,
            setup_seconds=0.0,
            probe_seconds=0.0,
            world_size=plan.world_size,
            micro_batch_size=plan.micro_batch_size,
            accumulation_steps=plan.accumulation_steps,
            device_batch_size=plan.micro_batch_size,
            dtype=self._settings.engine.dtype,
            zero_stage=self._settings.engine.zero_stage,
            hardware=hardware_name(),
        )
