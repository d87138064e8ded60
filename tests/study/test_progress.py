import io
import math

import pytest
from rich.console import Console

from study.cost import CostModel
from study.design import Design
from study.display import PLAIN_SECONDS, Display, duration, progress_line, show_progress
from study.outcomes import Outcomes
from study.progress import Progress

from .studies import design, resolved_config, row


def two_seeds() -> Design:
    return design(batch_sizes=[2], learning_rates=[0.1, 0.2], seeds=[0, 1])


def test_a_snapshot_counts_what_happened() -> None:
    study = two_seeds()
    a, b, c, d = study.trials({})
    progress = Progress(study, Outcomes.of({a.trial_id: row(a, steps=30)}))
    progress.started(b)
    progress.started(c)
    progress.stored(row(b, status="diverged"))
    snapshot = progress.snapshot()

    assert (snapshot.trials, snapshot.stored, snapshot.running, snapshot.waiting) == (4, 2, 1, 1)
    assert (snapshot.diverged, snapshot.failed) == (1, 0)
    assert snapshot.batches[0].best_rate == 0.1
    assert snapshot.batches[0].best_outcome == 30
    assert d.trial_id not in {a.trial_id, b.trial_id, c.trial_id}


def test_the_time_left_counts_what_running_trials_have_done() -> None:
    study = two_seeds()
    a, b, c, _ = study.trials({})
    progress = Progress(study, Outcomes())
    assert progress.snapshot().seconds_left is None
    progress.stored(row(a))  # took 2 seconds
    progress.started(b)
    progress.started(c)
    progress.advanced(b, step=20)  # half of 40
    # (1 + 2 + 2) seconds of work on the two workers seen
    assert progress.snapshot().seconds_left == pytest.approx(2.5)


def test_the_best_value_of_a_metric_to_maximise_keeps_its_sign() -> None:
    target = {"metric": "accuracy", "mode": "max", "value": None}
    study = design(batch_sizes=[2], learning_rates=[0.1], seeds=[0], outcome="value_at_budget", target=target)
    (trial,) = study.trials({})
    progress = Progress(study, {trial.trial_id: row(trial, status="exhausted", value=0.8)})
    assert progress.snapshot().batches[0].best_outcome == 0.8


def test_cost_is_a_set_up_and_steps_of_trials_at_the_same_batch_size_or_scaled_from_the_nearest() -> None:
    study = design(batch_sizes=[2, 8], learning_rates=[0.1, 0.2], seeds=[0])
    small = [t for t in study.trials({}) if t.spec.batch_size == 2]
    large = next(t for t in study.trials({}) if t.spec.batch_size == 8)
    cost = CostModel([row(small[0])])  # 0.5 s of set-up, 1.5 s for 40 steps and their evaluations
    assert cost.seconds(small[1]) == 2.0
    assert cost.seconds(large) == pytest.approx(0.5 + 1.5 * 4)  # as many steps of four times the size
    assert CostModel([row(small[0], status="failed")]).seconds(small[1]) is None
    other = Design(resolved_config({"workload": "quadratic"})).trials({})[0]
    assert cost.seconds(other) is None


def test_cost_follows_the_steps_and_not_the_trials_that_ended_early() -> None:
    short, long = (
        design(batch_sizes=[2], learning_rates=[0.1], seeds=[0, 1, 2], budget={"steps": n}) for n in (40, 400)
    )
    rows = [row(t) for t in short.trials({})]
    trial = long.trials({})[0]
    assert CostModel(rows).seconds(trial) == pytest.approx(0.5 + 1.5 * 10)
    # A run that diverges at once has spent most of its second on the first evaluation.
    diverged = [{**r, "status": "diverged", "steps": 1} for r in rows]
    assert CostModel([*diverged, *diverged, *rows]).seconds(trial) == pytest.approx(0.5 + 1.5 * 10)
    assert CostModel(diverged).seconds(trial) == pytest.approx(0.5 + 1.5 * 400)
    # Runs that reach their target cost as much a step, however early they stop.
    early = [{**r, "steps": 20, "train_seconds": 0.5, "evaluate_seconds": 0.25} for r in rows]
    assert CostModel(early).seconds(trial) == pytest.approx(0.5 + 1.5 * 10)


def test_plain_output_is_a_line_now_and_then() -> None:
    study = two_seeds()
    console = Console(file=io.StringIO(), force_terminal=False)
    now = [0.0]
    progress = Progress(study, Outcomes())
    lines: list[str] = []
    display = Display(progress, lambda s: lines.append(progress_line(s)), seconds=PLAIN_SECONDS, clock=lambda: now[0])
    for moment in (1.0, 9.9, 10.0, 10.1, 20.0):
        now[0] = moment
        display.tick()
    assert lines == ["0 of 4 trials stored, 0 running, 4 waiting"] * 2
    with show_progress(progress, console, quiet=True) as quiet:
        quiet.tick()
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]


def test_drawing_takes_a_small_share_of_the_time_however_long_it_takes() -> None:
    now, drawn = [0.0], []

    def draw(_: object) -> None:
        now[0] += 2.0
        drawn.append(now[0])

    display = Display(Progress(two_seeds(), Outcomes()), draw, seconds=0.5, clock=lambda: now[0])
    while now[0] < 100:
        now[0] += 0.1
        display.tick()
    assert drawn == pytest.approx([2.5, 44.5, 86.5], abs=0.5)


def test_a_lost_trial_waits_again() -> None:
    study = two_seeds()
    progress = Progress(study, Outcomes())
    first = study.trials({})[0]
    progress.started(first)
    progress.lost(first)
    assert (progress.snapshot().running, progress.snapshot().waiting) == (0, 4)


def test_a_terminal_shows_a_live_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.display.LIVE_SECONDS", 0.0)
    study = two_seeds()
    first = study.trials({})[0]
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with show_progress(
        Progress(study, Outcomes.of({first.trial_id: row(first, steps=12)})), console, quiet=False
    ) as display:
        display.tick()
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "1 of 4 trials stored" in shown
    assert "12 steps" in shown


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (40, "40 s"), (600, "10 min"), (9000, "2.5 h")])
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text
    assert math.isfinite(seconds)
