"""``batchlaw probe``: the derived laws of a study from one short run a sweep, without the sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from .arguments import StudyArgument
from .errors import ConfigError
from .place import ResultsPlace
from .run_command import INTERRUPTED
from .terminal import line

if TYPE_CHECKING:
    from .probe_plan import ProbePlan
    from .resolve import ResolvedStudy


def probe(
    study: StudyArgument,
    sweep: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this sweep; may be repeated.")] = None,
    batch_size: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Batch size of the run (default: the sweep's middle one).")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(metavar="X", help="A rate known to be good there (default: the grid's middle).")
    ] = None,
    share: Annotated[
        float, typer.Option(metavar="S", min=0.0, max=1.0, help="Price, as a share of the sweep's examples.")
    ] = 0.02,
    out: Annotated[
        ResultsPlace | None,
        typer.Option(
            "--out",
            metavar="PLACE",
            parser=ResultsPlace.of,
            help="Folder or URL to write to (default: <storage_path>/<study name>-probe; storage_path: results).",
        ),
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="A Ray cluster to join, or 'auto' (default: this machine).")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress; the answer only.")] = False,
) -> None:
    """Derive η*(B) from gradients, noise and curvature of one short run, without a sweep."""
    from .display import show_answer, show_progress
    from .folder import write_study
    from .launch import run_missing
    from .loading import find_study, load_study
    from .lock import locked
    from .place import default_place
    from .probe_answer import write_probe_answer
    from .probe_plan import ProbeDesign, plan_probe
    from .probe_prediction import predict_by_probes, show_probe_predictions
    from .progress import Progress
    from .resolve import resolve
    from .retrying import outcomes_that_count

    if learning_rate is not None and not 0 < learning_rate < float("inf"):
        raise ConfigError(f"--learning-rate must be positive and finite, but got {learning_rate:g}")
    resolved = resolve(load_study(find_study(study)))
    place = out or default_place(resolved.config).beside("-probe")
    store = place.store()
    plans = [
        plan_probe(resolved, resolved.config.sweeps[i], batch_size=batch_size, learning_rate=learning_rate, share=share)
        for i in _chosen(resolved, sweep or [])
    ]
    for plan in plans:
        line(_sentence(plan))
    design = ProbeDesign(resolved.config.name, [plan.run for plan in plans])
    with locked(place.storage) as check:
        store.before_writing = check
        write_study(store, resolved.config)
        outcomes = outcomes_that_count(store, retry_failed=True)
        if design.missing(outcomes):
            with show_progress(Progress(design, outcomes), Console(), quiet=quiet) as display:
                summary = run_missing(resolved, design, store, observer=display, outcomes=outcomes, address=address)
            if summary.interrupted:
                line("batchlaw: stopped; the same command goes on with what is missing", err=True)
                raise typer.Exit(INTERRUPTED)
        sentences, path = write_probe_answer(place, resolved.config, design, store, plans)
    predictions = predict_by_probes(place, {sweep.name: sweep.batch_sizes for sweep in resolved.config.sweeps})
    show_probe_predictions(predictions)
    show_answer(sentences, path)


def _chosen(study: ResolvedStudy, names: list[str]) -> list[int]:
    known = [sweep.name for sweep in study.config.sweeps]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(f"--sweep must be one of {', '.join(known)}, but got {unknown[0]!r}")
    return [i for i, name in enumerate(known) if not names or name in names]


def _sentence(plan: ProbePlan) -> str:
    spec = plan.run.spec
    where = " and ".join(str(step) for step in plan.points)
    draws = spec.probes["draws"] if spec.probes else 0
    return (
        f"{plan.run.sweep}: {plan.points[-1]} steps at batch size {spec.batch_size} and rate {spec.learning_rate:g}, "
        f"probed after {where} with {draws} draws: the price of {plan.examples:,.0f} examples, {plan.share:.1%} of the "
        "sweep's"
    )
