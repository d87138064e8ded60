"""The agenda hands out what the design lists, in its order, whatever comes back when."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.agenda import Agenda
from study.design import Design
from study.lane import Lane, PlannedTrial
from study.outcomes import Outcomes
from study.probe_plan import ProbeDesign

from .studies import design, resolved_config, row

SWEEPS = st.fixed_dictionaries(
    {
        "batch_sizes": st.lists(st.sampled_from([1, 2, 4, 8]), min_size=1, max_size=3, unique=True),
        "learning_rates": st.lists(st.sampled_from([0.1, 0.2, 0.4]), min_size=1, max_size=3, unique=True),
        "seeds": st.lists(st.integers(0, 4), min_size=1, max_size=3, unique=True),
        "budget": st.sampled_from([{"steps": 40}, {"examples": 80}, {"examples": 80, "steps": 15}]),
        "extend": st.builds(lambda n: {"max_steps_per_side": n}, st.integers(0, 2)),
        "probes": st.none() | st.just({"fractions": [0.5, 1.0], "draws": 3}),
    }
)


@settings(deadline=None, max_examples=200)
@given(
    sweeps=st.lists(SWEEPS, min_size=1, max_size=2),
    best=st.floats(0.05, 2.0),
    unstable_above=st.floats(0.05, 4.0),
    failing=st.integers(2, 9),
    already=st.floats(0.0, 1.0),
    running=st.integers(1, 5),
    choose=st.randoms(use_true_random=False),
)
def test_the_order_is_that_of_the_design(
    sweeps: list[dict[str, Any]],
    best: float,
    unstable_above: float,
    failing: int,
    already: float,
    running: int,
    choose: Any,
) -> None:
    named = [{**sweep, "name": f"s{n}", "workload": f"w{n}"} for n, sweep in enumerate(sweeps)]
    study = Design(resolved_config(*named))

    def outcome(trial: PlannedTrial) -> dict[str, Any]:
        rate = trial.spec.learning_rate
        if int(trial.trial_id, 16) % 10 >= failing:
            return row(trial, status="failed")
        if rate > unstable_above:
            return row(trial, status="diverged")
        return row(trial, steps=10 + math.log2(rate / best) ** 2)

    rows = {t.trial_id: outcome(t) for t in study.trials({}) if choose.random() < already}
    agenda = Agenda(study, rows)
    open_trials: list[PlannedTrial] = []
    while not agenda.finished:
        while len(open_trials) < running:
            handed_out = {trial.trial_id for trial in open_trials}
            expected = next((t for t in study.missing(rows) if t.trial_id not in handed_out), None)
            trial = agenda.next()
            assert trial == expected
            if trial is None:
                break
            open_trials.append(trial)
        ended = open_trials.pop(choose.randrange(len(open_trials)))
        rows[ended.trial_id] = outcome(ended)
        agenda.stored(ended.trial_id)
    assert study.missing(rows) == []
    assert agenda.next() is None


def test_nothing_to_run_is_finished_at_once() -> None:
    study = design(batch_sizes=[2], learning_rates=[0.1], seeds=[0])
    agenda = Agenda(study, {t.trial_id: row(t, steps=5) for t in study.trials({})})
    assert agenda.finished
    assert agenda.next() is None


def test_it_waits_for_what_runs_and_may_ask_for_more() -> None:
    study = design(batch_sizes=[2], learning_rates=[0.1], seeds=[0], extend={"max_steps_per_side": 1})
    rows: dict[str, Any] = {}
    agenda = Agenda(study, rows)
    trial = agenda.next()
    assert trial is not None
    assert agenda.next() is None
    assert not agenda.finished
    rows[trial.trial_id] = row(trial, steps=5)
    agenda.stored(trial.trial_id)
    more = [agenda.next(), agenda.next()]
    assert [t.spec.learning_rate for t in more if t] == [0.05, 0.2]


def test_given_runs_come_in_the_given_order() -> None:
    runs = design(batch_sizes=[2, 4], learning_rates=[0.1], seeds=[0]).trials({})
    agenda = Agenda(ProbeDesign("given", [*reversed(runs)]), {runs[0].trial_id: {}})
    assert agenda.next() == runs[1]
    assert agenda.next() is None


def test_many_trials_cost_little_and_the_last_as_little_as_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    count, rates = 10_000, [k / 100 for k in range(1, 51)]
    study = design(batch_sizes=list(range(1, 21)), learning_rates=rates, seeds=list(range(10)))
    ids, plain = [0], Lane.trial_id

    def counted(self: Lane, index: int, seed: int) -> str:
        ids[0] += 1
        return plain(self, index, seed)

    tracemalloc.start()
    outcomes = Outcomes()
    agenda = Agenda(study, outcomes)
    monkeypatch.setattr(Lane, "trial_id", counted)
    work: list[int] = []
    while (trial := agenda.next()) is not None:
        before = ids[0]
        outcomes.add(row(trial, status="exhausted"))
        agenda.stored(trial.trial_id)
        work.append(ids[0] - before)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(work) == len(outcomes) == count
    assert agenda.finished
    assert held / count < 250
    assert peak / count < 400
    # A lane is looked at only when it is complete, and lanes are as large however many there are.
    assert sum(cost > 0 for cost in work) == 20
    assert max(work) <= 5 * count / 20
