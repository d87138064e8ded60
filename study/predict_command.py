"""``batchlaw predict``: the rate for a new batch size, and what more devices bring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import ConfigError
from .place import ResultsPlace
from .predict_hardware import device_hardware
from .predict_options import device_counts, named_values, number, refuse_plan_options, some
from .probe_prediction import say_by_probes
from .terminal import print_json

if TYPE_CHECKING:
    from analysis.answer_folder import AnswerFolder
    from analysis.planner import Plan
    from analysis.prediction import KnownPair, Prediction


def predict(
    place: Annotated[
        ResultsPlace | None,
        typer.Argument(
            metavar="[PLACE]",
            parser=ResultsPlace.of,
            help="Folder or URL of a study's results, or a folder that 'batchlaw fit TABLE --out DIR' made.",
        ),
    ] = None,
    batch_size: Annotated[
        list[float] | None,
        typer.Option(
            "--batch-size", metavar="N", help="Examples per optimiser step over all devices; may be repeated."
        ),
    ] = None,
    from_batch_size: Annotated[
        float | None, typer.Option(metavar="M", help="Batch size of a rate that is known to be good.")
    ] = None,
    from_learning_rate: Annotated[float | None, typer.Option(metavar="X", help="That rate.")] = None,
    law: Annotated[str | None, typer.Option(metavar="NAME", help="One law alone; 'batchlaw laws' lists them.")] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Without PLACE: a shape parameter of the law; may be repeated."),
    ] = None,
    sweep: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this sweep; may be repeated.")] = None,
    group: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN=VALUE", help="Only these groups; may be repeated.")
    ] = None,
    devices: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Plan for, say, 1,2,4,8 devices; --batch-size is then that of one device."),
    ] = None,
    examples_per_second: Annotated[
        float | None, typer.Option(metavar="X", help="Speed of one device (default: as the study measured it).")
    ] = None,
    seconds_per_step: Annotated[float | None, typer.Option(metavar="X", help="The same, as time of one step.")] = None,
    price_per_device_hour: Annotated[float | None, typer.Option(metavar="P", help="In any currency.")] = None,
    parallel_efficiency: Annotated[
        float, typer.Option(metavar="E", help="Share of perfect data-parallel speed that several devices keep.")
    ] = 1.0,
    from_probe: Annotated[
        ResultsPlace | None,
        typer.Option(
            metavar="PLACE",
            parser=ResultsPlace.of,
            help="By the laws that probes derive: where 'batchlaw probe' wrote, or a study with probes.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Say the best learning rate of a batch size that was not tried, and what more devices would bring."""
    from analysis.prediction import KnownPair

    from .predict_display import as_plain_values, show

    if not batch_size:
        raise ConfigError("--batch-size says which batch size the rate is for; give it at least once")
    if (from_batch_size is None) != (from_learning_rate is None):
        raise ConfigError("--from-batch-size and --from-learning-rate are one known pair: give both or neither")
    pair = None
    if from_batch_size is not None and from_learning_rate is not None:
        pair = KnownPair(batch_size=from_batch_size, learning_rate=from_learning_rate)
    if from_probe is not None:
        if place is not None or devices or group or law or parameter:
            raise ConfigError(
                "--from-probe is answered by its own results: leave PLACE, --devices, --group and --law out"
            )
        say_by_probes(from_probe, batch_size, pair=pair, sweeps=sweep or [], as_json=as_json)
        return
    if devices is None:
        refuse_plan_options(examples_per_second, seconds_per_step, price_per_device_hour, parallel_efficiency)
    if place is None:
        if devices or sweep or group:
            raise ConfigError("--devices, --sweep and --group need measurements: give PLACE")
        predictions = _by_law_alone(batch_size, pair, law, parameter or [])
        plans: list[Plan] = []
    else:
        if parameter:
            raise ConfigError("--parameter is for a law without measurements; PLACE has its own, so leave one out")
        predictions, plans = _from_results(
            place,
            batch_sizes=batch_size,
            pair=pair,
            law=law,
            choose=(sweep or [], group or []),
            counts=None if devices is None else device_counts(devices),
            hardware=(examples_per_second, seconds_per_step, price_per_device_hour, parallel_efficiency),
        )
    if as_json:
        print_json(as_plain_values(predictions, plans))
    else:
        show(predictions, plans)


def _by_law_alone(
    batch_sizes: Sequence[float], pair: KnownPair | None, law: str | None, parameters: Sequence[str]
) -> list[Prediction]:
    from analysis.assumed_law import predict_by_law
    from analysis.laws import LAWS

    if pair is None or law is None:
        raise ConfigError(
            "without PLACE a law moves a known rate: give --from-batch-size, --from-learning-rate and --law, or PLACE"
        )
    if law not in LAWS:
        raise ConfigError(f"--law must be one of {', '.join(LAWS)}, but got {law!r}")
    shape = {
        name: number(value, f"--parameter {name}") for name, value in named_values(parameters, "--parameter").items()
    }
    return [predict_by_law(LAWS[law], batch_size=size, pair=pair, shape=shape) for size in batch_sizes]


def _from_results(
    place: ResultsPlace,
    *,
    batch_sizes: Sequence[float],
    pair: KnownPair | None,
    law: str | None,
    choose: tuple[Sequence[str], Sequence[str]],
    counts: Sequence[int] | None,
    hardware: tuple[float | None, float | None, float | None, float],
) -> tuple[list[Prediction], list[Plan]]:
    from analysis.answer_folder import read_answer_folder
    from analysis.laws import LAWS
    from analysis.planner import plan_sweep
    from analysis.prediction import fit_sweeps, predict_rate

    with place.local_answers() as folder:
        found = read_answer_folder(folder)
    sweeps = _chosen(found, *choose)
    if law is not None and law not in LAWS:
        raise ConfigError(f"--law must be one of {', '.join(LAWS)}, but got {law!r}")
    # What can be refused is refused before the fits, which take seconds.
    machines = {
        (sweep, size): device_hardware(place, sweep, size, *hardware)
        for sweep in (sweeps if counts is not None else [])
        for size in batch_sizes
    }
    fits = fit_sweeps(found.cells[found.cells["sweep"].isin(sweeps)], laws=LAWS if law else None)
    if not fits and counts is None:
        raise ConfigError(f"{place}: holds steps and no learning rates; ask for --devices, or give a folder of 'fit'")
    predictions, plans = [], []
    for sweep in sweeps:
        wanted = [size * n for size in batch_sizes for n in (counts or [1])]
        if sweep in fits:
            predictions += [predict_rate(fits[sweep], batch_size=size, pair=pair, law=law) for size in wanted]
        if counts is not None:
            steps = found.steps[found.steps["sweep"] == sweep]
            for size in batch_sizes:
                plans.append(
                    plan_sweep(
                        steps,
                        sweep=sweep,
                        examples_per_device=size,
                        devices=counts,
                        hardware=machines[sweep, size],
                    )
                )
    return predictions, plans


def _chosen(found: AnswerFolder, names: Sequence[str], groups: Sequence[str]) -> list[str]:
    sweeps = found.sweeps()
    unknown = [name for name in names if name not in sweeps]
    if unknown:
        raise ConfigError(f"--sweep must be one of {some(sweeps)}, but got {unknown[0]!r}")
    chosen = found.groups[found.groups["sweep"].isin(names)] if names else found.groups
    columns = [name for name in found.groups.columns if name != "sweep"] or ["sweep"]
    for name, value in named_values(groups, "--group").items():
        if name not in found.groups.columns:
            raise ConfigError(f"--group names a column of {', '.join(columns)}, but got {name!r}")
        values = list(dict.fromkeys(found.groups[name]))
        if value not in values:
            raise ConfigError(f"--group {name} must be one of {some(values)}, but got {value!r}")
        chosen = chosen[chosen[name] == value]
    if chosen.empty:
        raise ConfigError("no sweep has all of these --sweep and --group values; leave one out")
    return list(chosen["sweep"])
