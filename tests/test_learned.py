"""The table of what workloads learn: which cell is run, and what a margin is."""

import math

import pytest

from benchmarks.learned import Learned, Run, find_sweep, main, middle_cell, spoiled
from benchmarks.learned_cases import CASES, Case, Failure
from study.errors import ConfigError
from trainers.settings import TrainSettings
from trainers.workloads import WORKLOADS, load_workload


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_workload_has_a_preset_with_a_cell_to_run(workload):
    _, sweep = find_sweep(workload)
    spec = middle_cell(sweep)
    assert spec["workload"] == workload
    assert spec["budget"]["stop_at_target"] is False
    assert spec["batch_size"] == sorted(sweep.batch_sizes)[len(sweep.batch_sizes) // 2]
    assert TrainSettings.from_dict(spec).total_steps >= 1


def test_the_cell_is_the_middle_of_the_quick_studys_grid():
    preset, sweep = find_sweep("bert-mlm")
    assert (preset, sweep.name) == ("quick", "bert-mlm-adamw")
    spec = middle_cell(sweep)
    # center · (64/90)^½ = 3.37e-3, and the nearest rate of the lattice center · 2^k is the center itself
    assert (spec["batch_size"], spec["learning_rate"]) == (64, 4.0e-3)


def test_a_workload_without_a_preset_is_named():
    with pytest.raises(ConfigError, match=r"no preset trains the workload mine; add study/presets/mine\.yaml"):
        find_sweep("mine")


@pytest.mark.parametrize("workload", WORKLOADS)
def test_what_is_asked_of_a_workload_is_about_its_own_outcome(workload):
    case, (_, sweep) = CASES[workload], find_sweep(workload)
    spec = middle_cell(sweep)
    own = load_workload(workload, spec["workload_settings"])
    assert spec["target"]["metric"] == own.target.metric
    assert case.failure.metric in (*own.metrics, "status")
    assert case.failure.metric == "status" or math.isfinite(case.failure.at_most) != math.isfinite(
        case.failure.at_least
    )
    assert case.margin > 0
    # Settings of the failing run are read, and change something.
    changed = spoiled(spec, case.failure)
    load_workload(workload, changed["workload_settings"])
    assert TrainSettings.from_dict(changed)
    assert changed != spec


def a_run(*, value, status="exhausted"):
    return Run(first=0.25, value=value, metrics={"score": value, "spread": 0.12345}, status=status, seconds=12.4)


def learned(
    *, trained, baselines, more_is_better=True, asked=0.1, failure="spread", failed_status="exhausted", at_most=0.1
):
    return Learned(
        workload="mine",
        cell="mine/sgd, B = 8, η = 0.1",
        metric="score",
        more_is_better=more_is_better,
        run=a_run(value=trained),
        failed=a_run(value=0.5, status=failed_status),
        baselines=baselines,
        case=Case(
            baseline="a", margin=asked, failure=Failure(name="faster", metric=failure, at_most=at_most, rate_factor=8.0)
        ),
    )


def test_margins_are_in_the_direction_of_better_and_over_each_baseline():
    up = learned(trained=0.9, baselines={"a": 0.5, "b": 0.7})
    assert (up.hardest, up.learns) == ("b", True)
    assert up.margin_over("a") == pytest.approx(0.4)
    assert up.margin_over("b") == pytest.approx(0.2)
    down = learned(trained=3.0, baselines={"a": 3.05, "b": 2.9}, more_is_better=False)
    assert (down.hardest, down.learns) == ("b", False)  # better than a, not by the margin asked for
    assert down.margin_over("b") == pytest.approx(-0.1)
    assert not learned(trained=math.nan, baselines={"a": 0.0}).learns


def test_a_line_says_all_of_it():
    assert learned(trained=0.9, baselines={"a": 0.5, "b": 0.7}).row() == (
        "| `mine` | mine/sgd, B = 8, η = 0.1 | score ↑ | **0.9** | a 0.5 | +0.1 | +0.4 | yes | b 0.7: +0.2 "
        "| spread 0.123 | 12 |"
    )


def test_a_failure_is_shown_beside_the_run_that_learned():
    assert learned(trained=0.9, baselines={"a": 0.5}).failure_row() == (
        "| `mine` | faster | spread ≤ 0.1 | spread 0.123 | spread 0.123 | **no** | 0.9 | 0.5 |"
    )
    assert learned(trained=0.9, baselines={"a": 0.5}, at_most=0.2).fails
    assert learned(trained=0.9, baselines={"a": 0.5}, failed_status="diverged").failure_row() == (
        "| `mine` | faster | spread ≤ 0.1 | spread 0.123 | diverged | yes | 0.9 | – |"
    )


def test_a_workload_that_is_not_there_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["learned", "bert-mln"])
    with pytest.raises(SystemExit):
        main()
    assert "bert-mln is unknown; there are: quadratic" in capsys.readouterr().err


def test_a_workload_is_trained_twice_and_compared(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("benchmarks.learned.WORKLOADS", {"quadratic": WORKLOADS["quadratic"]})
    monkeypatch.setattr("benchmarks.learned.TABLE", tmp_path / "workloads.md")
    # It would set this process's arithmetic and threads for all tests that follow.
    monkeypatch.setattr("benchmarks.learned.prepare_process", lambda *, threads: None)
    monkeypatch.setattr("sys.argv", ["learned"])
    main()
    assert "1 of 1: quadratic" in capsys.readouterr().out
    lines = [
        line for line in (tmp_path / "workloads.md").read_text(encoding="utf-8").splitlines() if "`quadratic`" in line
    ]
    learned_line, failed_line = ([cell.strip() for cell in line.split("|")] for line in lines)
    assert learned_line[8] == "yes"
    assert (failed_line[3], failed_line[6]) == ("loss ≥ 1000", "yes")
