import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.design import Design, PlannedTrial
from study.extension import CellScore, open_sides, score_cell

from .studies import design, row

INF = math.inf

# Scores of increasing rates (D: diverged, F: failed), and whether the grid must grow below and above.
SIDES = {
    "interior": ([3, 1, 2], (False, False)),
    "best is lowest": ([1, 2, 3], (True, False)),
    "best is highest": ([3, 2, 1], (False, True)),
    "a tie with the edge": ([1, 1, 2], (True, False)),
    "a flat row": ([1, 1, 1], (True, True)),
    "one rate": ([1], (True, True)),
    "divergence brackets": ([3, 1, "D"], (False, False)),
    "a missed target brackets": ([INF, 1, 2], (False, False)),
    "all diverged": (["D", "D"], (True, False)),
    "none reached": ([INF, INF], (False, True)),
    "missed below, diverged above": ([INF, "D"], (False, False)),
    "a failure below brackets nothing": (["F", 1, 2], (True, False)),
    "a failure above brackets nothing": ([2, 1, "F"], (False, True)),
    "failures at both edges, all diverged between": (["F", "D", "D", "F"], (True, False)),
    "all failed": (["F", "F"], (False, False)),
}


@pytest.mark.parametrize("case", SIDES)
def test_the_open_sides_of_a_row(case: str) -> None:
    scores, expected = SIDES[case]
    cells = [CellScore(score=INF if s in ("D", "F") else float(s), diverged=s == "D", known=s != "F") for s in scores]
    assert open_sides(cells) == expected


def test_a_cell_is_the_mean_over_its_seeds() -> None:
    first, second = design(batch_sizes=[2], learning_rates=[0.1], seeds=[0, 1]).trials({})
    good, slow, lost, gone = (
        row(first, steps=10),
        row(second, steps=20),
        row(second, status="exhausted"),
        row(second, status="failed"),
    )
    fast = {"outcome": "steps_to_target", "mode": "min"}
    assert score_cell([good, slow], **fast).score == 15
    assert score_cell([good, lost], **fast).score == INF
    assert score_cell([good, gone], **fast).score == 10
    assert score_cell([gone], **fast) == CellScore(score=INF, diverged=False, known=False)
    assert score_cell([lost, gone], **fast) == CellScore(score=INF, diverged=False, known=True)


def test_a_metric_to_maximise_scores_in_reverse() -> None:
    (trial,) = design(batch_sizes=[2], learning_rates=[0.1], seeds=[0]).trials({})
    low, high = row(trial, status="exhausted", value=0.5), row(trial, status="exhausted", value=0.9)
    up = {"outcome": "value_at_budget", "mode": "max"}
    assert score_cell([high], **up).score < score_cell([low], **up).score
    assert score_cell([row(trial, status="exhausted", value=math.nan)], **up).score == INF


def finish(study: Design, outcome_of: Any) -> dict[str, dict[str, Any]]:
    """Run the study to its end as a sampler would, one trial at a time."""
    rows: dict[str, dict[str, Any]] = {}
    while missing := study.missing(rows):
        rows[missing[0].trial_id] = outcome_of(missing[0])
    return rows


def rates(study: Design, rows: dict[str, Any], batch_size: int = 2) -> list[float]:
    return sorted({t.spec.learning_rate for t in study.trials(rows) if t.spec.batch_size == batch_size})


def bowl(best: float) -> Any:
    return lambda trial: row(trial, steps=10 + math.log2(trial.spec.learning_rate / best) ** 2)


def test_the_grid_grows_until_the_best_rate_is_inside() -> None:
    study = design(batch_sizes=[2], learning_rates=[0.1, 0.2], extend={"max_steps_per_side": 5})
    rows = finish(study, bowl(best=0.8))
    assert rates(study, rows) == [0.1, 0.2, 0.4, 0.8, 1.6]
    assert {t.spec.learning_rate for t in study.trials(rows) if t.extension} == {0.4, 0.8, 1.6}


def test_the_grid_grows_past_a_cell_that_failed() -> None:
    study = design(batch_sizes=[2], learning_rates=[0.1, 0.2, 0.4], seeds=[0], extend={"max_steps_per_side": 3})

    def outcome(trial: PlannedTrial) -> dict[str, Any]:
        return row(trial, status="failed") if trial.spec.learning_rate == 0.4 else bowl(best=0.8)(trial)

    assert rates(study, finish(study, outcome)) == [0.1, 0.2, 0.4, 0.8, 1.6]


def test_the_grid_grows_no_further_than_allowed() -> None:
    study = design(batch_sizes=[2], learning_rates=[0.1, 0.2], extend={"max_steps_per_side": 2})
    assert rates(study, finish(study, bowl(best=1e-4))) == [0.025, 0.05, 0.1, 0.2]


def test_nothing_grows_unasked() -> None:
    study = design(batch_sizes=[2], learning_rates=[0.1, 0.2])
    assert rates(study, finish(study, bowl(best=100.0))) == [0.1, 0.2]


def test_nothing_grows_before_every_seed_is_stored() -> None:
    study = design(batch_sizes=[2], learning_rates=[0.1, 0.2], seeds=[0, 1], extend={"max_steps_per_side": 3})
    rows = {t.trial_id: bowl(best=10.0)(t) for t in study.trials({})[:-1]}
    assert [t.extension for t in study.missing(rows)] == [False]


@settings(deadline=None)
@given(
    best=st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=2),
    unstable_above=st.floats(0.01, 100.0),
    bound=st.integers(0, 4),
    order=st.randoms(use_true_random=False),
)
def test_the_final_grid_depends_on_the_results_alone(
    best: list[float], unstable_above: float, bound: int, order: Any
) -> None:
    def outcome(trial: PlannedTrial) -> dict[str, Any]:
        if trial.spec.learning_rate > unstable_above:
            return row(trial, status="diverged")
        return bowl(best[trial.spec.batch_size // 4])(trial)

    def run(pick: Any) -> tuple[Design, dict[str, Any]]:
        study = design(learning_rates=[0.5, 1.0, 2.0], extend={"max_steps_per_side": bound})
        rows: dict[str, Any] = {}
        while missing := study.missing(rows):
            trial = pick(missing)
            rows[trial.trial_id] = outcome(trial)
        return study, rows

    study, rows = run(lambda missing: missing[0])
    _, shuffled = run(order.choice)
    assert set(rows) == set(shuffled)
    for batch_size, optimum in zip((2, 4), best, strict=True):
        tried = rates(study, rows, batch_size)
        assert 0.5 / 2**bound <= tried[0] <= 0.5
        assert 2.0 <= tried[-1] <= 2.0 * 2**bound
        # Unless a bound stops it, the best stable rate has a neighbour on both sides.
        stable = [rate for rate in tried if rate <= unstable_above]
        if stable and tried[0] > 0.5 / 2**bound:
            assert min(stable, key=lambda rate: abs(math.log(rate / optimum))) > tried[0]
