"""A study's trials in an Optuna storage, one Optuna study for each sweep, so that Optuna's tools show them."""

from __future__ import annotations

import dataclasses
import datetime
import math
from collections.abc import Mapping
from typing import Any, Literal

from results import Status

from .config import Sweep
from .lattice import lattice_for
from .locations import Location
from .logged_trial import LoggedTrial, trial_key

MOST_POINTS = 25
"""Of a curve, evenly taken, with both ends: Optuna's storage asks the database twice for every value."""
_LONGEST_MESSAGE = 500
_TIMES = ("setup_seconds", "train_seconds", "evaluate_seconds", "probe_seconds")


@dataclasses.dataclass(frozen=True, kw_only=True)
class MirroredSweep:
    """What Optuna is to know of a sweep. Bounds are rounded outwards, so that a grid may grow a little within them.

    Attributes:
        by_steps: whether steps to the target decide, not the value at the budget.
        direction: minimize or maximize.
        batch_sizes: bounds, powers of two.
        learning_rates: bounds, powers of ten.
        highest_seed: a power of two, less one.
    """

    by_steps: bool
    direction: Literal["minimize", "maximize"]
    batch_sizes: tuple[int, int]
    learning_rates: tuple[float, float]
    highest_seed: int

    @classmethod
    def of(cls, sweep: Sweep) -> MirroredSweep:
        """Return what a resolved sweep is to Optuna."""
        by_steps = sweep.outcome == "steps_to_target"
        more = sweep.extend.max_steps_per_side
        lattices = [lattice_for(sweep.learning_rates, batch_size) for batch_size in sweep.batch_sizes]
        low = min(lattice.rate(-more) for lattice in lattices)
        high = max(lattice.rate(lattice.count - 1 + more) for lattice in lattices)
        return cls(
            by_steps=by_steps,
            direction="minimize" if by_steps or sweep.target.mode == "min" else "maximize",
            batch_sizes=(
                2 ** (min(sweep.batch_sizes).bit_length() - 1),
                2 ** (max(sweep.batch_sizes) - 1).bit_length(),
            ),
            learning_rates=(10.0 ** math.floor(math.log10(low)), 10.0 ** math.ceil(math.log10(high))),
            highest_seed=2 ** max(sweep.seeds).bit_length() - 1,
        )


class OptunaMirror:
    """Writes trials as Optuna's finished trials; those that are there are known by their attributes.

    ``COMPLETE``: the outcome is known. ``PRUNED``: the target was not reached. ``FAIL``: the trial diverged or failed;
    the attribute ``ending`` says which. A storage that is down is tried again.
    """

    name = "loggers.optuna"

    def __init__(
        self, place: Location, *, study: str, sweeps: Mapping[str, MirroredSweep], patience: float = 30.0
    ) -> None:
        """Mirror into ``place``.

        Args:
            place: URL of the storage.
            study: the study's name; a sweep's Optuna study is ``<study>/<sweep>``.
            sweeps: by name.
            patience: seconds after which a storage that is down is tried again.
        """
        self._place = place
        self._study = study
        self._sweeps = sweeps
        self.patience = patience
        self._storage: Any = None
        self._studies: dict[str, Any] = {}

    def open(self) -> set[str]:
        """Connect, make the studies that are not there, and read which trials are.

        Raises:
            ValueError: a study of that name has another direction.
            Exception: the storage's drivers raise types of their own.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._storage = optuna.storages.RDBStorage(self._place.url, engine_kwargs=_engine_settings(self._place.url))
        held: set[str] = set()
        for sweep, shape in self._sweeps.items():
            name = f"{self._study}/{sweep}"
            study = optuna.create_study(
                study_name=name, storage=self._storage, direction=shape.direction, load_if_exists=True
            )
            if study.direction.name.lower() != shape.direction:
                raise ValueError(f"the study {name} there has another direction, but this one is to {shape.direction}")
            self._studies[sweep] = study
            for trial in study.get_trials(deepcopy=False):
                known = {"trial_id": trial.user_attrs.get("trial_id"), "status": trial.user_attrs.get("ending")}
                held.add(trial_key(known))
        return held

    def write(self, trial: LoggedTrial) -> None:
        """Add ``trial`` to its sweep's study."""
        sweep = str(trial.row["sweep"])
        self._studies[sweep].add_trial(frozen_trial(trial, self._sweeps[sweep]))

    def close(self) -> None:
        """Let go of the connections."""
        if self._storage is not None:
            self._storage.engine.dispose()
        self._storage, self._studies = None, {}

    def explain(self, error: BaseException) -> str:
        """Return the error's first line without secrets."""
        return self._place.explain(error)


def frozen_trial(trial: LoggedTrial, sweep: MirroredSweep) -> Any:
    """Return ``trial`` as Optuna's ``FrozenTrial``."""
    from optuna.distributions import FloatDistribution, IntDistribution
    from optuna.trial import create_trial

    row = trial.row
    state, value = _state_and_value(row, by_steps=sweep.by_steps)
    params: dict[str, Any] = {
        "batch_size": int(row["batch_size"]),
        "learning_rate": float(row["learning_rate"]),
        "seed": int(row["seed"]),
    }
    # Few: each costs as much as a point of the curve. What is not known is left out; JSON has no NaN.
    attributes: dict[str, Any] = {"trial_id": row["trial_id"], "ending": str(row["status"]), "steps": int(row["steps"])}
    attributes |= {
        name: float(row[column])
        for name, column in (("metric_at_end", "value"), ("train_seconds", "train_seconds"))
        if math.isfinite(row[column])
    }
    if row["message"]:
        attributes["message"] = str(row["message"])[:_LONGEST_MESSAGE]
    frozen = create_trial(
        state=state,
        value=value,
        params=params,
        distributions={
            "batch_size": IntDistribution(*sweep.batch_sizes, log=True),
            "learning_rate": FloatDistribution(*sweep.learning_rates, log=True),
            "seed": IntDistribution(0, sweep.highest_seed),
        },
        user_attrs=attributes,
        intermediate_values=_intermediate_values(trial),
    )
    frozen.datetime_start, frozen.datetime_complete = _times(row)
    return frozen


def _state_and_value(row: Mapping[str, Any], *, by_steps: bool) -> tuple[Any, float | None]:
    from optuna.trial import TrialState

    if row["status"] in (Status.FAILED, Status.DIVERGED):
        return TrialState.FAIL, None
    if by_steps and row["status"] != Status.REACHED:
        return TrialState.PRUNED, None
    value = float(row["steps_to_target"] if by_steps else row["value"])
    return (TrialState.FAIL, None) if math.isnan(value) else (TrialState.COMPLETE, value)


def _intermediate_values(trial: LoggedTrial) -> dict[int, float]:
    """Return the curve of the target's metric, thinned."""
    metric = trial.row["metric"]
    curve = [(step, values[metric]) for step, values in trial.curve.items() if metric in values]
    last = len(curve) - 1
    kept = {round(last * i / (MOST_POINTS - 1)) for i in range(MOST_POINTS)} if last >= MOST_POINTS else range(last + 1)
    return {step: value for number, (step, value) in enumerate(curve) if number in kept}


def _times(row: Mapping[str, Any]) -> tuple[datetime.datetime, datetime.datetime]:
    """Return begin and end in local time without a zone, as Optuna keeps them."""
    begin = datetime.datetime.fromisoformat(str(row["started_at"])).astimezone().replace(tzinfo=None)
    seconds = sum(float(row[name]) for name in _TIMES if math.isfinite(row[name]))
    return begin, begin + datetime.timedelta(seconds=seconds)


def _engine_settings(url: str) -> dict[str, Any]:
    """Return how long to wait: for a server that is not there, and for a file that somebody else writes to."""
    waits = {"sqlite": {"timeout": 30}, "postgres": {"connect_timeout": 10}, "mysql": {"connect_timeout": 10}}
    wait = next((wait for start, wait in waits.items() if url.lower().startswith(start)), {})
    return {"connect_args": wait, "pool_pre_ping": True}
