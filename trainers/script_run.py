"""One trial of a script: what its reports and its end mean."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

from .engine import hardware_name
from .events import Finished, Measured, Progress
from .run_watch import Crossing
from .script import LOSS, Script
from .script_process import ScriptProcess
from .script_reports import ScriptFailure, ScriptReports
from .settings import TrainSettings
from .workload import Target

LAST_SECONDS = 10.0
"""What a script gets to end by itself, having reported the last step."""
_LOOK_SECONDS = 0.1
_PROGRESS_SECONDS = 1.0


def run_script(script: Script, settings: TrainSettings) -> Iterator[Progress | Measured | Finished]:
    """Run ``script`` as one trial and yield what happens, as ``trainers.loop.train`` does.

    The script runs in its own folder. It is stopped at the target (where the budget says so), at its first report
    beyond the budget's last step, when it diverges, and when this generator is closed. One that has reported the last
    step has done what it had to: it may go on for ``LAST_SECONDS``, and how it ends is no matter. Where the last step
    lies between two reports, the second is brought back to it (``ScriptReports.read``). What the script prints is
    dropped but for the last line of a failure.

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
    with ScriptProcess.begun(script, settings) as process:
        yield from _Trial(script, settings, process).events()


class _Trial:
    """What is known of a trial so far."""

    def __init__(self, script: Script, settings: TrainSettings, process: ScriptProcess) -> None:
        self._script, self._settings, self._process = script, settings, process
        self._target: Target = settings.target or script.target
        self._reports = ScriptReports(batch_size=settings.batch_size, total_steps=settings.total_steps)
        self._crossing = Crossing(self._target)
        self._step, self._seconds = 0, 0.0  # of the last report that counts
        self._status, self._message, self._value = "exhausted", "", math.nan

    def events(self) -> Iterator[Progress | Measured | Finished]:
        """Yield what the script reports, and the end of the trial."""
        try:
            for measured in self._measured():
                if measured is None:
                    yield self._progress()
                    continue
                yield measured
                self._judge(measured)
                reached = self._status == "reached" and self._settings.budget.stop_at_target
                if reached or self._status in ("diverged", "failed"):
                    break
            else:
                self._check_end()
        except ScriptFailure as failure:
            self._status, self._message, self._value = "failed", f"{self._script.name}: {failure}", math.nan
        self._process.stop()
        yield self._finished()

    def _measured(self) -> Iterator[Measured | None]:
        """Yield each report in its order, up to the budget's last step, and None about once a second between them.

        Raises:
            ScriptFailure: A line can't be read, or the script took too long.
        """
        pause = time.perf_counter() + _PROGRESS_SECONDS
        done_at: float | None = None
        while True:
            ended = self._process.ended  # before reading, so that nothing is missed
            for line in self._process.new_lines():
                if self._complete:
                    return
                yield self._reports.read(line, seconds=self._process.seconds)
                if self._reports.step > self._settings.total_steps:
                    return
            if ended:
                return
            if self._reports.last_step_reported:
                done_at = self._process.seconds if done_at is None else done_at
                if self._process.seconds > done_at + LAST_SECONDS:
                    return
            else:
                self._check_time()
            if time.perf_counter() > pause:
                pause = time.perf_counter() + _PROGRESS_SECONDS
                yield None
            self._process.wait(_LOOK_SECONDS)

    @property
    def _complete(self) -> bool:
        """Whether the target's metric is known at the budget's last step."""
        return self._reports.last_step_of(self._target.metric) == self._settings.total_steps

    def _judge(self, measured: Measured) -> None:
        """Say what a report means for the trial."""
        self._step, self._seconds = measured.step, measured.train_seconds
        target, values = self._target, measured.values
        if divergence := self._divergence(values):
            self._status, self._value = "diverged", math.nan
            self._message = f"{divergence} after {measured.step} steps"
        elif target.metric in values:
            self._value = values[target.metric]
            if measured.step == 0 and target.met_by(self._value):
                self._status = "failed"
                self._message = (
                    f"the target {target.value:g} is met before training ({self._value:.4g}); set a harder one"
                )
                return
            self._crossing.see(measured.step, self._value)
            self._status = "exhausted" if self._crossing.steps is None else "reached"

    def _divergence(self, values: dict[str, float]) -> str:
        """Return what has diverged, of the metrics that the study names; nothing where all is well."""
        for name in (self._target.metric, *self._script.metrics):
            if not math.isfinite(values.get(name, 0.0)):
                return f"{name} is {values[name]:.4g}"
        limit = self._script.settings.loss_limit
        if limit is not None and values.get(LOSS, limit) > limit:
            return f"{LOSS} is {values[LOSS]:.4g}, above the limit {limit:g},"
        return ""

    def _check_time(self) -> None:
        most = self._script.settings.timeout_seconds
        if most is not None and self._process.seconds > most:
            raise ScriptFailure(f"stopped after {most:g} s (timeout_seconds) at step {self._step}")

    def _check_end(self) -> None:
        """Raise ScriptFailure where the script has not done what it had to."""
        if self._complete:
            return
        metric, total = self._target.metric, self._settings.total_steps
        last = self._reports.last_step_of(metric)
        if complaint := self._process.complaint():
            raise ScriptFailure(complaint)
        if self._reports.step < 0:
            raise ScriptFailure("reported nothing; call batchlaw_report(step=…, …) of trainers.reporting")
        if last is None:
            raise ScriptFailure(f"never reported {metric} up to step {total}; call batchlaw_report(step=…, {metric}=…)")
        if self._reports.last_step_reported:
            raise ScriptFailure(f"last reported {metric} at step {last} of {total}; report it at the last step")
        raise ScriptFailure(
            f"ended at step {self._step} of {total}; report the last step, or set the budget to what the script does"
        )

    def _progress(self) -> Progress:
        examples = self._step * self._settings.batch_size
        return Progress(step=self._step, examples=examples, train_seconds=self._process.seconds)

    def _finished(self) -> Finished:
        plan = self._settings.plan()
        return Finished(
            status=self._status,
            message=self._message,
            steps=self._step,
            examples=self._step * self._settings.batch_size,
            steps_to_target=self._crossing.steps if self._status == "reached" else None,
            value=self._value,
            train_seconds=self._seconds,
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
