"""``batchlaw run``: what is missing of a study is run, and the study answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from .arguments import OutOption, StudyArgument
from .terminal import line

if TYPE_CHECKING:
    from .design import Design
    from .outcomes import Outcomes

INTERRUPTED = 130


def run(
    study: StudyArgument,
    out: OutOption = None,
    address: Annotated[
        str | None, typer.Option(help="A Ray cluster to join, or 'auto' (default: this machine).")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress; the answer only.")] = False,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Analyse at the end.")] = True,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run failed trials again.")] = False,
) -> None:
    """Run what is missing of a study, then answer it. The same command goes on after a crash."""
    from .baselines import keep_baselines, measure_baselines
    from .capacity_display import at_once
    from .design import Design
    from .display import duration, show_answer, show_progress
    from .folder import is_stored_study, write_answer, write_study
    from .launch import run_missing
    from .loading import find_study, load_study
    from .lock import locked
    from .place import default_place
    from .progress import Progress
    from .resolve import resolve
    from .retrying import outcomes_that_count
    from .scribe import open_scribe

    source = find_study(study)
    resolved = resolve(load_study(source))
    design = Design(resolved.config)
    place = out or default_place(resolved.config)
    stored = is_stored_study(source, place, resolved.config)
    store = place.store()
    for skipped in store.skipped():
        line(f"batchlaw: {skipped.path}: not read: {skipped.reason}", err=True)
    # Before anything is written: data that can't be had end the command here, not each trial on its own.
    unfinished = design.count(outcomes_that_count(store, retry_failed=retry_failed))[0] > 0
    baselines = measure_baselines(resolved) if unfinished else {}
    with locked(place.storage) as check, open_scribe(resolved.config, place, say=_warn) as scribe:
        store.before_writing = check
        if not stored:
            write_study(store, resolved.config)
        if unfinished:
            keep_baselines(store, baselines)
        outcomes = outcomes_that_count(store, retry_failed=retry_failed)
        missing, total = design.count(outcomes)
        if not missing:
            line(f"nothing to run: all {total} trials are stored in {place}")
        else:
            line(f"{missing} of {total} trials to run, into {place}")
            with show_progress(Progress(design, outcomes), Console(), quiet=quiet) as display:
                summary = run_missing(
                    resolved, design, store, observer=display, listener=scribe, outcomes=outcomes, address=address
                )
            workers = at_once(resolved.config.resources, summary.concurrency)
            line(
                f"{summary.trials} trials stored in {duration(summary.seconds)} on {workers}, "
                f"{summary.train_share:.0%} of their time inside training steps"
            )
            if summary.interrupted:
                line(f"batchlaw: stopped; the same command goes on with what is missing of {place}", err=True)
                raise typer.Exit(INTERRUPTED)
        _say_failed(design, outcomes)
        if report:
            show_answer(*write_answer(place, resolved.config, store))
        if scribe is not None:
            scribe.complete()


def _warn(text: str) -> None:
    line(f"batchlaw: {text}", err=True)


def _say_failed(design: Design, outcomes: Outcomes) -> None:
    from results import Status

    if not any(row["status"] == Status.FAILED for row in outcomes.values()):
        return
    trials = design.trials(outcomes)
    messages = [outcomes[t.trial_id]["message"] for t in trials if t.trial_id in outcomes]
    failed = [message for message in messages if message]
    if failed:
        line(
            f"failed, and fitted nowhere: {len(failed)} of {len(trials)} trials; "
            f"the first: {failed[0]}; --retry-failed runs them again"
        )
