"""Completing a study: what the user left out, as the workload and the trainers would choose it.

A resolved study says everything that decides an outcome, so its trials keep their ids when a default changes.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainers.errors import SettingsError

from .config import Probes, StudyConfig, Sweep, TargetOverride
from .design import trial_spec
from .group_size import engine_with_workers, resources_with_workers
from .lattice import Lattice, lattice_for
from .loading import LoadedStudy
from .packaged import packaged

if TYPE_CHECKING:
    from results import TrialSpec
    from trainers.workload import Workload


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchArithmetic:
    """How one batch size is reached, and how long its budget is."""

    batch_size: int
    steps: int
    world_size: int
    micro_batch_size: int
    accumulation_steps: int
    probe_steps: float | None = None
    """What one probe of a probe run costs, in training steps of this batch size; None without a probe run."""

    @property
    def examples(self) -> int:
        """Examples of the whole budget."""
        return self.steps * self.batch_size


Arithmetic = Mapping[tuple[str, int], BatchArithmetic]
"""By name of the sweep and batch size."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResolvedStudy:
    """A study with every default written out, each of its cells checked."""

    config: StudyConfig
    arithmetic: Arithmetic
    folder: Path
    """Where relative workload paths start."""


def locate_workload(name: str, folder: Path) -> str:
    """Return ``name`` with a user's file as an absolute path; other names stay as they are.

    The specification keeps the name as written, so that ids do not depend on where a study lies.
    """
    path, attribute = file_and_rest(name)
    return f"{folder / path}{attribute}" if path else name


def _is_relative(workload: str) -> bool:
    path, _ = file_and_rest(workload)
    return bool(path) and not Path(path).is_absolute()


def file_and_rest(workload: str) -> tuple[str, str]:
    """Return the file of a user's class or script, and ``:ClassName`` or nothing; an empty file for other names."""
    if workload.endswith(".py"):
        return workload, ""
    path, colon, attribute = workload.rpartition(":")
    return (path, colon + attribute) if path.endswith(".py") else ("", workload)


def resolve(study: LoadedStudy) -> ResolvedStudy:
    """Check every cell and write out every default. Loads the workloads, but not their data.

    Raises:
        ConfigError: a cell that can't be run, placed at the key that the user wrote.
    """
    sweeps: list[Sweep] = []
    arithmetic: dict[tuple[str, int], BatchArithmetic] = {}
    resources = resources_with_workers(study)
    for number, sweep in enumerate(study.config.sweeps):
        sweep = sweep.model_copy(update={"engine": engine_with_workers(sweep, resources)})
        resolved, batches = _resolve_sweep(study, number, sweep)
        sweeps.append(resolved)
        arithmetic |= {(sweep.name, batch.batch_size): batch for batch in batches}
    updates: dict[str, Any] = {"sweeps": sweeps, "resources": resources}
    if any(_is_relative(sweep.workload) for sweep in sweeps):
        # The resolved study lies elsewhere, and can be run from there; a package is gone after its job.
        package = packaged()
        updates["workload_folder"] = package.folder if package else str(study.folder)
    return ResolvedStudy(config=study.config.model_copy(update=updates), arithmetic=arithmetic, folder=study.folder)


def _resolve_sweep(study: LoadedStudy, number: int, sweep: Sweep) -> tuple[Sweep, list[BatchArithmetic]]:
    from trainers.script import Script
    from trainers.settings import TrainSettings

    workload = _load_workload(study, number, sweep)
    sweep = sweep.model_copy(
        update={
            "workload_settings": workload.settings.model_dump(mode="json"),
            "target": _target(study, number, sweep, workload),
        }
    )
    sections: dict[str, Any] = {}
    batches = []
    for batch_size in sweep.batch_sizes:
        lattice = lattice_for(sweep.learning_rates, batch_size)
        _check_rates(study, number, sweep, batch_size, lattice)
        rate = lattice.rate(0)
        spec = trial_spec(sweep, batch_size=batch_size, learning_rate=rate, seed=sweep.seeds[0])
        try:
            settings = TrainSettings.from_dict(spec.to_dict())
        except SettingsError as error:
            message = str(error).removeprefix("trial.")
            key = next((name for name in Sweep.model_fields if message.startswith(name)), "")
            raise study.error(number, key or "batch_sizes", message) from None
        plan = settings.plan()
        try:
            settings.check_for(workload)
        except SettingsError as error:
            message = str(error).removeprefix("engine.")
            key = "engine" if message != str(error) or plan.accumulation_steps > 1 else "batch_sizes"
            raise study.error(number, key, message) from None
        if plan.world_size > 1 and isinstance(workload, Script):
            raise study.error(
                number,
                "workload",
                f"the script {workload.name} trains by itself, so that workers must be 1, but got {plan.world_size}; "
                "let its launcher start them, and ask for the cores by resources.cpus_per_worker",
            )
        probes, probe_steps = None, None
        if sweep.probes is not None:
            measurement, cost = _check_probes(study, number, sweep.probes, workload, spec)
            probes = Probes(batch_sizes=sweep.probes.batch_sizes, fractions=sweep.probes.fractions, **measurement)
            probe_steps = cost if batch_size in sweep.probes.of(sweep.batch_sizes) else None
        batches.append(
            BatchArithmetic(
                batch_size=batch_size,
                steps=settings.total_steps,
                world_size=plan.world_size,
                micro_batch_size=plan.micro_batch_size,
                accumulation_steps=plan.accumulation_steps,
                probe_steps=probe_steps,
            )
        )
        dumped = settings.model_dump(mode="json")
        sections = {key: dumped[key] for key in ("optimizer_settings", "schedule", "evaluation", "engine")}
        sections["probes"] = probes
    return sweep.model_copy(update=sections), batches


def _check_probes(
    study: LoadedStudy, number: int, probes: Probes, workload: Workload, spec: TrialSpec
) -> tuple[dict[str, Any], float]:
    """Return the measurement of a probe run with its defaults, and the training steps that one probe costs."""
    from trainers.probes.probe import Probe
    from trainers.script import Script
    from trainers.settings import TrainSettings

    if isinstance(workload, Script):
        raise study.error(
            number, "probes", f"the script {workload.name} trains by itself, so nothing can be measured in it"
        )
    probed = dataclasses.replace(spec, probes={**probes.measurement_at(spec.batch_size), "steps": [0]})
    try:
        settings = TrainSettings.from_dict(probed.to_dict())
        cost = Probe(workload, settings).planned_steps
    except SettingsError as error:
        message = str(error).removeprefix("trial.").removeprefix("probes.")
        raise study.error(number, "probes", f"at batch size {spec.batch_size}: {message}") from None
    assert settings.probes is not None
    complete = settings.probes.model_dump(mode="json", exclude={"steps", "fractions", "log_points"})
    return {**complete, "ladder": probes.measurement.get("ladder")}, cost


def _check_rates(study: LoadedStudy, number: int, sweep: Sweep, batch_size: int, lattice: Lattice) -> None:
    """Check the lowest and the highest rate that the batch size could come to need."""
    bound = sweep.extend.max_steps_per_side
    for index in (-bound, lattice.count - 1 + bound):
        rate = lattice.rate(index)
        if not sys.float_info.min <= rate <= sys.float_info.max:
            grown = "" if 0 <= index < lattice.count else f", {bound} rates beyond the grid,"
            raise study.error(
                number,
                "learning_rates",
                f"every rate must be between {sys.float_info.min:.3g} and {sys.float_info.max:.3g}, but at batch size "
                f"{batch_size}{grown} it is {rate:g}; choose a smaller exponent, factor, count or extend",
            )


def _load_workload(study: LoadedStudy, number: int, sweep: Sweep) -> Workload:
    from trainers.workloads import load_workload

    try:
        return load_workload(locate_workload(sweep.workload, study.folder), sweep.workload_settings)
    except SettingsError as error:
        key = "workload_settings" if str(error).startswith("workload_settings") else "workload"
        raise study.error(number, key, str(error).removeprefix(f"{key}: ")) from None


def _target(study: LoadedStudy, number: int, sweep: Sweep, workload: Workload) -> TargetOverride:
    from trainers.script import LOSS, Script

    own, given = workload.target, sweep.target
    metric = given.metric or own.metric
    if metric not in workload.metrics:
        known = ", ".join(workload.metrics)
        raise study.error(
            number, "target", f"metric must be one that {sweep.workload} reports ({known}), but got {metric}"
        )
    mode_is_known = metric == (LOSS if isinstance(workload, Script) else own.metric)
    if given.mode is None and not mode_is_known:
        raise study.error(number, "target", f"mode (min or max) is required with the metric {metric}")
    value = given.value if "value" in given.model_fields_set else (own.value if metric == own.metric else None)
    if value is None and sweep.outcome == "steps_to_target":
        raise study.error(number, "outcome", f"steps_to_target needs target.value, a level of {metric} to reach")
    return TargetOverride(metric=metric, mode=given.mode or own.mode, value=value)
