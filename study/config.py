"""The YAML of a study as frozen models: what a user may write, with nothing of how it is run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Discriminator,
    Field,
    Strict,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from .loggers_config import Loggers
from .model import Count, Model, Name, Rate, Section, json_section
from .resources import Resources


class RateWindow(Model):
    """``count`` rates around ``center * (B / at_batch_size)**exponent``, all on the lattice ``center * factor**k``."""

    center: Rate
    at_batch_size: Count
    exponent: Annotated[float, Strict(), Field(allow_inf_nan=False)] = 0.0
    factor: Annotated[float, Strict(), Field(gt=1, allow_inf_nan=False)] = 2.0
    count: Count = 5


def _limit_kind(value: object) -> str:
    return "table" if isinstance(value, Mapping) else "number"


# Told apart by what was written, so that an error is about the one that was meant.
Limit = Annotated[
    Annotated[Count, Tag("number")] | Annotated[dict[Count, Count], Tag("table")], Discriminator(_limit_kind)
]


class Budget(Model):
    """How long a trial may last: examples, steps, or whichever ends first; one number or one for each batch size."""

    examples: Limit | None = None
    steps: Limit | None = None
    stop_at_target: bool | None = None

    @model_validator(mode="after")
    def _some_limit(self) -> Budget:
        if self.examples is None and self.steps is None:
            raise ValueError("give examples, steps or both")
        return self

    def at(self, batch_size: int) -> dict[str, int | None]:
        """Return the limits at ``batch_size``, by unit; ``None`` where there is no such limit.

        Raises:
            KeyError: a table of limits lacks the batch size.
        """
        return {
            unit: limit[batch_size] if isinstance(limit, dict) else limit
            for unit, limit in (("examples", self.examples), ("steps", self.steps))
        }


class TargetOverride(Model):
    """What differs from the workload's own target. ``value: null`` asks for no target."""

    metric: str | None = None
    mode: Literal["min", "max"] | None = None
    value: Annotated[float, Strict(), Field(allow_inf_nan=False)] | None = None


def _unique(values: list[Any]) -> list[Any]:
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise ValueError(f"each entry may be given once, but {twice[0]} is given twice")
    return values


_POINT_KEYS = {"steps", "log_points"}
_LENGTH_SHARE = Annotated[float, Strict(), Field(ge=0, le=1)]


class Probes(Model):
    """Probe runs: the best cell of a batch size is run once more, and measured inside.

    Keys besides these two are settings of the measurement, which ``trainers.probes.settings`` reads.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    batch_sizes: Annotated[list[Count], Field(min_length=1), AfterValidator(_unique)] | None = None
    """Which ones have a probe run; all of the sweep when left out."""
    fractions: Annotated[list[_LENGTH_SHARE], Field(min_length=1), AfterValidator(_unique)] = [0.25, 0.5, 1.0]
    """Where to measure, as shares of the length that the best cell's run had."""

    @model_validator(mode="after")
    def _measurement(self) -> Probes:
        settings = json_section(self.measurement)
        points = _POINT_KEYS & settings.keys()
        if points:
            raise ValueError(f"fractions say where to measure, so leave out {min(points)}")
        return self

    def of(self, batch_sizes: list[int]) -> list[int]:
        """Return which of a sweep's batch sizes have a probe run."""
        return self.batch_sizes or batch_sizes

    @property
    def measurement(self) -> dict[str, Any]:
        """The settings of the measurement."""
        return dict(self.model_extra or {})

    def measurement_at(self, batch_size: int) -> dict[str, Any]:
        """Return the settings for a run at ``batch_size``: without a ladder of its own, directions are for that alone.

        The optimiser's averages, which are part of a direction, are those of the run's batch size.
        """
        ladder = self.measurement.get("ladder") or [batch_size]
        return {**self.measurement, "ladder": ladder}


class Extend(Model):
    """How far the grid of rates may grow on each side when the best rate lies at its edge."""

    max_steps_per_side: Annotated[int, Strict(), Field(ge=0, le=50)] = 0


def _rates_kind(value: object) -> str:
    return "window" if isinstance(value, Mapping | RateWindow) else "list"


class Sweep(Model):
    """One workload, optimiser and schedule over batch sizes, learning rates and seeds; laws are fitted per sweep."""

    name: Name
    workload: str
    workload_settings: Section = {}
    optimizer: str
    optimizer_settings: Section = {}
    schedule: Section = {"name": "constant"}
    batch_sizes: Annotated[list[Count], Field(min_length=1), AfterValidator(_unique)]
    learning_rates: Annotated[
        Annotated[list[Rate], Field(min_length=1), AfterValidator(_unique), Tag("list")]
        | Annotated[RateWindow, Tag("window")],
        Discriminator(_rates_kind),
    ]
    seeds: Annotated[list[Annotated[int, Strict(), Field(ge=0)]], Field(min_length=1), AfterValidator(_unique)] = [0]
    budget: Budget
    evaluation: Section = {}
    target: TargetOverride = TargetOverride()
    engine: Section = {}
    outcome: Literal["steps_to_target", "value_at_budget"]
    extend: Extend = Extend()
    probes: Probes | None = None

    @field_validator("target", mode="before")
    @classmethod
    def _no_target(cls, value: object) -> object:
        return {"value": None} if value is None else value

    @field_validator("budget")
    @classmethod
    def _covers_every_batch(cls, budget: Budget, info: ValidationInfo) -> Budget:
        for unit, limit in (("examples", budget.examples), ("steps", budget.steps)):
            lacking = [b for b in info.data.get("batch_sizes", []) if isinstance(limit, dict) and b not in limit]
            if lacking:
                raise ValueError(f"a table of {unit} needs every batch size, but lacks {lacking[0]}")
        return budget

    @field_validator("probes")
    @classmethod
    def _probes_of_its_batches(cls, probes: Probes | None, info: ValidationInfo) -> Probes | None:
        own = info.data.get("batch_sizes", [])
        others = [b for b in (probes.batch_sizes or [] if probes else []) if own and b not in own]
        if others:
            raise ValueError(f"probe runs are at batch sizes of the sweep ({own}), but {others[0]} is none")
        return probes

    @model_validator(mode="after")
    def _outcome_fits(self) -> Sweep:
        if self.outcome == "value_at_budget" and self.budget.stop_at_target:
            raise ValueError("outcome value_at_budget needs the whole budget: set budget.stop_at_target to false")
        return self

    @property
    def stop_at_target(self) -> bool:
        """Whether a trial ends at the target: as given, else exactly where the outcome is steps to the target."""
        given = self.budget.stop_at_target
        return self.outcome == "steps_to_target" if given is None else given


def _holds_results(place: str) -> str:
    from results import open_storage

    open_storage(place)
    return place


class StudyConfig(Model):
    """A whole study, defaults merged into its sweeps."""

    name: Name
    description: str = ""
    workload_folder: str | None = None
    """Where relative paths of workloads start; the folder of the study's file when left out."""
    storage_path: Annotated[str, Field(min_length=1), AfterValidator(_holds_results)] | None = None
    """Folder or URL (s3://, gs://, any of fsspec) under which results land in ``<storage_path>/<name>``."""
    resources: Resources = Resources()
    loggers: Loggers = Loggers()
    sweeps: Annotated[list[Sweep], Field(min_length=1)]

    @field_validator("sweeps")
    @classmethod
    def _names_differ(cls, sweeps: list[Sweep]) -> list[Sweep]:
        names = [sweep.name for sweep in sweeps]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"each sweep needs a name of its own, but two are called {twice}")
        return sweeps
